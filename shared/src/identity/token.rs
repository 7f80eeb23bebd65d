//! Bearer tokens: JSON Web Tokens checked against the issuer's published keys.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use super::{Person, Role, seconds, unexpired};
use crate::{
    error::Source,
    fields::is_id,
    lambda::{Env, EnvError},
    time,
};

/// Keys are fetched anew after this time, as issuers rotate them.
const KEYS_LIVE: Duration = Duration::from_hours(1);
/// Tokens that name unknown keys cannot make us ask the issuer more often than this.
const FETCH_PAUSE: Duration = Duration::from_secs(10);
/// Half of what API Gateway gives an authorizer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Real key sets take a few kilobytes.
const KEYS_MAX_BYTES: usize = 256 * 1024;
/// Clocks differ; `exp` is held to the second all the same, here and on every later call.
const NOT_BEFORE_LEEWAY_SECONDS: u64 = 5;

/// Why a token establishes nobody.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The token is at fault.
    #[error("the bearer token is refused: {0}")]
    Refused(&'static str),
    /// The issuer's keys cannot be had, so nothing can be said of the token.
    #[error("the issuer's keys cannot be read")]
    Issuer(#[source] Source),
}

/// What this deployment asks of a token.
struct Policy {
    issuer: String,
    audiences: Vec<String>,
    authorized_parties: Vec<String>,
    /// Path of the claim that names the workspace, such as `org` or `o.id`.
    workspace_claim: String,
    /// The one workspace of a one-company deployment, instead of the claim.
    workspace: Option<super::Workspace>,
    role_claim: String,
}

/// Checks bearer tokens, keeping the issuer's keys between calls.
pub struct Verifier {
    policy: Policy,
    jwks_url: reqwest::Url,
    client: reqwest::Client,
    keys: Mutex<Keys>,
}

/// A published key, with the one algorithm it may be used with.
#[derive(Clone)]
struct Key {
    algorithm: Algorithm,
    key: Arc<DecodingKey>,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, Key>,
    asked_at: Option<Instant>,
    fetched_at: Option<Instant>,
}

impl Verifier {
    /// Reads `OIDC_ISSUER`, `OIDC_JWKS_URL`, `OIDC_AUDIENCES`, `OIDC_AUTHORIZED_PARTIES`,
    /// `WORKSPACE_CLAIM`, `WORKSPACE` and `ROLE_CLAIM`.
    pub fn load(env: &Env) -> Result<Self, EnvError> {
        let list = |name| -> Result<Vec<String>, EnvError> {
            let text: String = env.optional(name)?.unwrap_or_default();
            Ok(text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect())
        };
        let policy = Policy {
            issuer: env.required("OIDC_ISSUER")?,
            audiences: list("OIDC_AUDIENCES")?,
            authorized_parties: list("OIDC_AUTHORIZED_PARTIES")?,
            workspace_claim: env.required("WORKSPACE_CLAIM")?,
            workspace: env.optional("WORKSPACE")?,
            role_claim: env.required("ROLE_CLAIM")?,
        };
        if policy.audiences.is_empty() && policy.authorized_parties.is_empty() {
            // Else a token that the same issuer made for any other service would do.
            return Err(EnvError::Missing("OIDC_AUDIENCES"));
        }
        let jwks_url: reqwest::Url = env.required("OIDC_JWKS_URL")?;
        let loopback = matches!(jwks_url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if jwks_url.scheme() != "https" && !loopback {
            return Err(EnvError::Malformed("OIDC_JWKS_URL"));
        }
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| EnvError::Malformed("OIDC_JWKS_URL"))?;
        Ok(Self { policy, jwks_url, client, keys: Mutex::default() })
    }

    /// The person behind an `Authorization` header. No round trip while the keys are known.
    pub async fn verify(&self, authorization: &str) -> Result<Person, TokenError> {
        let (scheme, token) = authorization.split_once(' ').ok_or(TokenError::Refused("no bearer token"))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(TokenError::Refused("no bearer token"));
        }
        let header = decode_header(token).map_err(|_| TokenError::Refused("malformed"))?;
        let id = header.kid.ok_or(TokenError::Refused("no key id"))?;
        let key = self.key(&id).await?.ok_or(TokenError::Refused("unknown key"))?;
        self.policy.check(token, &key)
    }

    async fn key(&self, id: &str) -> Result<Option<Key>, TokenError> {
        let mut keys = self.keys.lock().await;
        let fresh = keys.fetched_at.is_some_and(|at| at.elapsed() < KEYS_LIVE);
        let paused = keys.asked_at.is_some_and(|at| at.elapsed() < FETCH_PAUSE);
        let known = fresh && keys.by_id.contains_key(id);
        if !known && !paused {
            keys.asked_at = Some(Instant::now());
            match self.fetch().await {
                Ok(by_id) => {
                    keys.by_id = by_id;
                    keys.fetched_at = Some(Instant::now());
                }
                Err(error) if keys.by_id.contains_key(id) => {
                    // Old keys serve on while the issuer is away.
                    tracing::warn!(cause = %error, "the issuer's keys cannot be refreshed");
                }
                Err(error) => return Err(TokenError::Issuer(error)),
            }
        }
        if keys.fetched_at.is_none() {
            return Err(TokenError::Issuer("asked a moment ago without success".into()));
        }
        Ok(keys.by_id.get(id).cloned())
    }

    async fn fetch(&self) -> Result<HashMap<String, Key>, Source> {
        let mut response = self.client.get(self.jwks_url.clone()).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > KEYS_MAX_BYTES {
                return Err("the key set is too large".into());
            }
            body.extend_from_slice(&chunk);
        }
        let set: JwkSet = serde_json::from_slice(&body)?;
        Ok(set.keys.iter().filter_map(usable).collect())
    }
}

/// A key that can verify, and only with the algorithm of its kind: that is what keeps a public
/// key from being taken for an HMAC secret.
fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        _ => return None,
    };
    let key = Arc::new(DecodingKey::from_jwk(jwk).ok()?);
    Some((jwk.common.key_id.clone()?, Key { algorithm, key }))
}

/// The claims that have a fixed meaning; the rest is read by path.
#[derive(Deserialize)]
struct Claims {
    exp: i64,
    sub: String,
    aud: Option<Value>,
    azp: Option<String>,
    sts: Option<String>,
    #[serde(flatten)]
    other: serde_json::Map<String, Value>,
}

impl Policy {
    fn check(&self, token: &str, key: &Key) -> Result<Person, TokenError> {
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.validate_nbf = true;
        validation.validate_aud = false; // checked below, together with `azp`
        validation.leeway = NOT_BEFORE_LEEWAY_SECONDS;
        let claims = decode::<Claims>(token, &key.key, &validation)
            .map_err(|error| TokenError::Refused(reason(&error)))?
            .claims;
        if !self.is_for_us(&claims) {
            return Err(TokenError::Refused("not made for this service"));
        }
        if claims.sts.as_deref() == Some("pending") {
            return Err(TokenError::Refused("the session is pending"));
        }
        let expires_at = seconds(claims.exp);
        unexpired(expires_at, time::now(), "expired").map_err(|_| TokenError::Refused("expired"))?;
        if !is_id(&claims.sub) {
            return Err(TokenError::Refused("malformed subject"));
        }
        let workspace = match &self.workspace {
            Some(workspace) => workspace.clone(),
            None => claims
                .text(&self.workspace_claim)
                .and_then(|text| text.parse().ok())
                .ok_or(TokenError::Refused("no workspace claim"))?,
        };
        let role = match claims.text(&self.role_claim) {
            // Clerk's native claim reads `admin`, its older one `org:admin`.
            Some("admin" | "org:admin") => Role::Admin,
            _ => Role::Member,
        };
        Ok(Person { workspace, subject: claims.sub, role, expires_at })
    }

    /// Every list that is configured and that the token speaks to must match, and one at least.
    fn is_for_us(&self, claims: &Claims) -> bool {
        let audience = match &claims.aud {
            Some(Value::String(one)) => Some(self.audiences.contains(one)),
            Some(Value::Array(many)) => {
                Some(many.iter().filter_map(Value::as_str).any(|one| self.audiences.iter().any(|a| a == one)))
            }
            Some(_) => Some(false),
            None => None,
        }
        .filter(|_| !self.audiences.is_empty());
        let party = claims
            .azp
            .as_ref()
            .map(|party| self.authorized_parties.contains(party))
            .filter(|_| !self.authorized_parties.is_empty());
        match (audience, party) {
            (None, None) => false,
            (audience, party) => audience.unwrap_or(true) && party.unwrap_or(true),
        }
    }
}

impl Claims {
    /// The text at a path such as `org` or `o.id`; `sub` is a path too.
    fn text(&self, path: &str) -> Option<&str> {
        if path == "sub" {
            return Some(&self.sub);
        }
        let mut parts = path.split('.');
        let first = self.other.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))?.as_str()
    }
}

fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind as K;
    match error.kind() {
        K::ExpiredSignature => "expired",
        K::ImmatureSignature => "not yet valid",
        K::InvalidIssuer => "wrong issuer",
        K::InvalidSignature => "wrong signature",
        K::InvalidAlgorithm => "wrong algorithm",
        K::MissingRequiredClaim(_) => "a required claim is missing",
        _ => "malformed",
    }
}
