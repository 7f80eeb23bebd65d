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
    /// The text at a path such as `org` or `o.id`; `sub` is a path too. A claim with dots in its
    /// name, as those named by a URL have, goes before the path.
    fn text(&self, path: &str) -> Option<&str> {
        if path == "sub" {
            return Some(&self.sub);
        }
        if let Some(claim) = self.other.get(path) {
            return claim.as_str();
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer,
        rsa::{KeyPair as RsaKeyPair, KeySize},
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
    };
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    /// A signing key and how the issuer publishes it.
    struct Signer {
        algorithm: Algorithm,
        private: EncodingKey,
        published: Key,
        public: Vec<u8>,
    }

    impl Signer {
        fn rsa() -> Self {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let pkcs8: Vec<u8> = pair.as_der().unwrap().as_ref().to_vec();
            // The encoding key wants the PKCS#1 key, which PKCS#8 wraps behind 26 bytes.
            Self::of(Algorithm::RS256, EncodingKey::from_rsa_der(&pkcs8[26..]))
        }

        fn ec() -> Self {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            Self::of(Algorithm::ES256, EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()))
        }

        fn of(algorithm: Algorithm, private: EncodingKey) -> Self {
            let mut jwk = Jwk::from_encoding_key(&private, algorithm).unwrap();
            jwk.common.key_id = Some("k1".to_owned());
            let public = serde_json::to_vec(&jwk).unwrap();
            let (_, published) = usable(&jwk).unwrap();
            Self { algorithm, private, published, public }
        }

        fn sign(&self, claims: &Value) -> String {
            encode(&Header::new(self.algorithm), claims, &self.private).unwrap()
        }
    }

    fn policy() -> Policy {
        Policy {
            issuer: "https://issuer.example".to_owned(),
            audiences: vec!["tidegate".to_owned()],
            authorized_parties: vec!["https://app.example".to_owned()],
            workspace_claim: "org".to_owned(),
            workspace: None,
            role_claim: "role".to_owned(),
        }
    }

    fn claims(change: &Value) -> Value {
        let now = time::now().timestamp();
        let mut claims = json!({
            "iss": "https://issuer.example", "aud": "tidegate", "sub": "user_1", "org": "acme",
            "role": "admin", "iat": now, "exp": now + 60,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    #[test]
    fn a_token_made_for_us_establishes_its_person() {
        for signer in [Signer::rsa(), Signer::ec()] {
            let person = policy().check(&signer.sign(&claims(&json!({}))), &signer.published).unwrap();
            assert_eq!(person.workspace.to_string(), "acme");
            assert_eq!((person.subject.as_str(), person.role), ("user_1", Role::Admin));
        }
    }

    #[test]
    fn claims_decide_who_gets_in() {
        let signer = Signer::ec();
        let now = time::now().timestamp();
        for (case, change, reason) in [
            ("wrong issuer", json!({"iss": "https://other.example"}), "wrong issuer"),
            ("issuer with a slash more", json!({"iss": "https://issuer.example/"}), "wrong issuer"),
            ("no issuer", json!({"iss": null}), "a required claim is missing"),
            ("wrong audience", json!({"aud": "other"}), "not made for this service"),
            ("wrong audiences", json!({"aud": ["other", "more"]}), "not made for this service"),
            ("no audience, no party", json!({"aud": null}), "not made for this service"),
            ("wrong party", json!({"azp": "https://evil.example"}), "not made for this service"),
            ("expired", json!({"exp": now - 1}), "expired"),
            ("never expires", json!({"exp": null}), "malformed"),
            ("not yet valid", json!({"nbf": now + 60}), "not yet valid"),
            ("pending session", json!({"sts": "pending"}), "the session is pending"),
            ("no workspace", json!({"org": null}), "no workspace claim"),
            ("forged workspace", json!({"org": "acme#KEY"}), "no workspace claim"),
            ("forged subject", json!({"sub": "a#b"}), "malformed subject"),
        ] {
            let refused = policy().check(&signer.sign(&claims(&change)), &signer.published);
            assert!(
                matches!(&refused, Err(TokenError::Refused(why)) if *why == reason),
                "{case}: {refused:?}"
            );
        }
    }

    #[test]
    fn claims_that_are_as_good() {
        let signer = Signer::ec();
        for (case, change, role) in [
            ("one of several audiences", json!({"aud": ["other", "tidegate"]}), Role::Admin),
            ("party instead of audience", json!({"aud": null, "azp": "https://app.example"}), Role::Admin),
            ("active session", json!({"sts": "active"}), Role::Admin),
            ("unknown role", json!({"role": "owner"}), Role::Member),
            ("no role", json!({"role": null}), Role::Member),
        ] {
            let person = policy().check(&signer.sign(&claims(&change)), &signer.published);
            assert_eq!(person.unwrap_or_else(|error| panic!("{case}: {error}")).role, role, "{case}");
        }
    }

    #[test]
    fn only_the_published_key_with_its_own_algorithm_signs() {
        let (rsa, other) = (Signer::rsa(), Signer::rsa());
        let good = claims(&json!({}));
        let hmac = EncodingKey::from_secret(&rsa.public);
        let confused = encode(&Header::new(Algorithm::HS256), &good, &hmac).unwrap();
        let none = format!("eyJhbGciOiJub25lIn0.{}.", rsa.sign(&good).split('.').nth(1).unwrap());
        let altered = {
            let token = rsa.sign(&good);
            let parts: Vec<_> = token.split('.').collect();
            let forged = rsa.sign(&claims(&json!({"org": "other"})));
            format!("{}.{}.{}", parts[0], forged.split('.').nth(1).unwrap(), parts[2])
        };
        for (case, token) in [
            ("another key", other.sign(&good)),
            ("public key as an HMAC secret", confused),
            ("no signature", none),
            ("altered claims", altered),
            ("another algorithm", Signer::ec().sign(&good)),
            ("junk", "a.b.c".to_owned()),
        ] {
            assert!(policy().check(&token, &rsa.published).is_err(), "{case}");
        }
    }

    #[test]
    fn claims_are_found_by_path() {
        let signer = Signer::ec();
        let token = signer.sign(&claims(&json!({"o": {"id": "org_9", "rol": "admin"}, "role": "member"})));
        let native =
            Policy { workspace_claim: "o.id".to_owned(), role_claim: "o.rol".to_owned(), ..policy() };
        let person = native.check(&token, &signer.published).unwrap();
        assert_eq!((person.workspace.to_string().as_str(), person.role), ("org_9", Role::Admin));

        let named = signer.sign(&claims(&json!({"https://app.example/workspace": "acme_2"})));
        let by_url = Policy { workspace_claim: "https://app.example/workspace".to_owned(), ..policy() };
        assert_eq!(by_url.check(&named, &signer.published).unwrap().workspace.to_string(), "acme_2");

        let alone = Policy { workspace_claim: "sub".to_owned(), ..policy() };
        assert_eq!(alone.check(&token, &signer.published).unwrap().workspace.to_string(), "user_1");

        let fixed = Policy { workspace: Some("only".parse().unwrap()), ..policy() };
        assert_eq!(fixed.check(&token, &signer.published).unwrap().workspace.to_string(), "only");
    }
}
