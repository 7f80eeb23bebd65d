//! The one HTTP client towards providers.
//!
//! It goes to a provider's own hosts only, by https, follows no redirect, and ends in time
//! whatever the other side does. A deployment may put another base URL in a provider's place, for
//! a proxy or a sandbox; a person cannot.

use std::{collections::HashMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_http::http::header;
use reqwest::{
    Method, Response, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{Answer, Cause, Refusal, Service, answer::clean, field};
use crate::lambda::{Env, EnvError};

/// A host in the same world answers a connection within tens of milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A call takes less than a verification may, so that the message can say which call it was; what
/// providers answer to most questions asked here takes kilobytes.
const SMALL: Bounds = Bounds { max_bytes: 1024 * 1024, timeout: Duration::from_secs(8) };
/// GitHub keeps payloads of up to 25 MB for us, and sends them wrapped.
const LARGE: Bounds = Bounds { max_bytes: 32 * 1024 * 1024, timeout: Duration::from_secs(30) };
/// Longer messages are cut; what providers say of an error fits.
const MESSAGE_MAX_CHARS: usize = 300;
/// Some providers refuse callers that do not say who they are.
const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
/// The names that `PROVIDER_ENDPOINTS` knows.
const ENDPOINTS: [&str; 8] = ["google", "meta", "shopify", "stripe", "github", "supabase", "smtp", "twilio"];
const ENDPOINTS_VARIABLE: &str = "PROVIDER_ENDPOINTS";

/// Calls providers. Made once; connections are opened when they are needed.
pub struct Client {
    http: reqwest::Client,
    endpoints: HashMap<&'static str, Url>,
    authorities: Vec<CertificateDer<'static>>,
}

impl Client {
    /// Reads `PROVIDER_ENDPOINTS`: `name=url` separated by commas, each URL standing in for that
    /// provider's own base. Only loopback may go without encryption.
    pub fn load(env: &Env) -> Result<Self, EnvError> {
        let text: String = env.optional(ENDPOINTS_VARIABLE)?.unwrap_or_default();
        let endpoints = text
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(|one| endpoint(one).ok_or(EnvError::Malformed(ENDPOINTS_VARIABLE)))
            .collect::<Result<_, _>>()?;
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| EnvError::Malformed(ENDPOINTS_VARIABLE))?;
        Ok(Self { http, endpoints, authorities: Vec::new() })
    }

    /// Trusts one more authority of SMTP servers' certificates, beside the public ones.
    #[must_use]
    pub fn trusting(mut self, authority: CertificateDer<'static>) -> Self {
        self.authorities.push(authority);
        self
    }

    /// Who may sign SMTP servers' certificates, beside the public authorities.
    pub(super) fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// What the deployment put in the place of a provider's base URL.
    pub(super) fn endpoint(&self, name: &str) -> Option<&Url> {
        self.endpoints.get(name)
    }

    /// A call that reads.
    pub(super) fn get(&self, service: &'static Service, base: &str, path: &str) -> Call<'_> {
        self.call(service, Method::GET, base, path)
    }

    /// A call that sends something.
    pub(super) fn post(&self, service: &'static Service, base: &str, path: &str) -> Call<'_> {
        self.call(service, Method::POST, base, path)
    }

    /// `base` is the provider's own, such as `https://api.stripe.com`; `path` begins with a slash.
    fn call(&self, service: &'static Service, method: Method, base: &str, path: &str) -> Call<'_> {
        let pinned = || {
            let url: Url = format!("{base}{path}").parse().ok()?;
            let host = url.host_str()?;
            (url.scheme() == "https" && url.port().is_none() && (service.owns)(host)).then_some(url)
        };
        let url = match self.endpoint(service.endpoint) {
            Some(endpoint) => format!("{}{path}", endpoint.as_str().trim_end_matches('/')).parse().ok(),
            None => pinned(),
        };
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))]);
        Call {
            http: &self.http,
            service,
            method,
            url,
            headers,
            body: None,
            secrets: Vec::new(),
            bounds: SMALL,
        }
    }
}

fn endpoint(text: &str) -> Option<(&'static str, Url)> {
    let (name, url) = text.split_once('=')?;
    let name = ENDPOINTS.into_iter().find(|known| *known == name.trim())?;
    let url: Url = url.trim().parse().ok()?;
    let loopback = matches!(url.host_str()?, "localhost" | "127.0.0.1" | "[::1]");
    let safe = match (name, url.scheme()) {
        ("smtp", "smtps") => true,
        ("smtp", "smtp") => loopback || url.query() == Some("tls=required"),
        ("smtp", _) => false,
        (_, "https") => true,
        (_, "http") => loopback,
        _ => false,
    };
    safe.then_some((name, url))
}

/// A call being put together.
pub(super) struct Call<'a> {
    http: &'a reqwest::Client,
    service: &'static Service,
    method: Method,
    /// None where the host is not the provider's.
    url: Option<Url>,
    headers: HeaderMap,
    body: Option<String>,
    /// What is sent and must not come back in a message.
    secrets: Vec<SecretString>,
    bounds: Bounds,
}

/// What an answer may take.
#[derive(Clone, Copy)]
struct Bounds {
    max_bytes: usize,
    /// Its body included.
    timeout: Duration,
}

impl Call<'_> {
    /// Adds to the query string.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        if let Some(url) = &mut self.url {
            url.query_pairs_mut().append_pair(name, value);
        }
        self
    }

    /// Sets a header whose value is known here.
    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// Sets a header that holds a secret.
    pub(super) fn secret_header(mut self, name: &'static str, secret: &SecretString) -> Self {
        self.insert_secret(HeaderName::from_static(name), secret.expose_secret());
        self.hide(secret)
    }

    /// `Authorization: Bearer`.
    pub(super) fn bearer(mut self, token: &SecretString) -> Self {
        self.insert_secret(header::AUTHORIZATION, &format!("Bearer {}", token.expose_secret()));
        self.hide(token)
    }

    /// `Authorization: Basic`.
    pub(super) fn basic(mut self, user: &str, password: &SecretString) -> Self {
        let encoded = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        self.insert_secret(header::AUTHORIZATION, &format!("Basic {encoded}"));
        self.hide(password).hide(&SecretString::from(encoded))
    }

    fn insert_secret(&mut self, name: HeaderName, value: &str) {
        match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            // Not to be sent without it.
            Err(_) => self.url = None,
        }
    }

    /// Notes what must not come back in a message.
    pub(super) fn hide(mut self, secret: &SecretString) -> Self {
        self.secrets.push(secret.clone());
        self
    }

    /// Sends a form.
    pub(super) fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body = Some(form);
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    /// Sends JSON.
    pub(super) fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string());
        self.header("content-type", "application/json")
    }

    /// Takes an answer of up to 32 MiB, within 30 seconds.
    pub(super) fn large(mut self) -> Self {
        self.bounds = LARGE;
        self
    }

    /// Makes the call. Whatever is not a success with a JSON body is a refusal.
    pub(super) async fn send(self) -> Result<Answer, Refusal> {
        let name = self.service.name;
        let Some(url) = self.url else {
            return Err(Refusal::new(Cause::Format, format!("this is not an address of {name}")));
        };
        let mut request =
            self.http.request(self.method, url).headers(self.headers).timeout(self.bounds.timeout);
        if let Some(body) = self.body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(|error| unreached(name, self.bounds, &error))?;
        let body = read(name, self.bounds, &mut response).await?;
        let answer = Answer::new(response.status(), response.headers().clone(), &body);
        answer.judged(self.service).map_err(|mut refusal| {
            if self.secrets.iter().any(|secret| field::repeats(&refusal.message, secret.expose_secret())) {
                refusal.message = format!("{name}'s message repeats the credential and is not shown");
            }
            // Only now, as half a secret would go unnoticed.
            refusal.message = clean(&refusal.message, MESSAGE_MAX_CHARS);
            refusal
        })
    }
}

/// The body, as far as it is of a size that can be meant.
async fn read(name: &str, bounds: Bounds, response: &mut Response) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreached(name, bounds, &error))? {
        if body.len() + chunk.len() > bounds.max_bytes {
            let message = format!("{name} answered with more than {} bytes", bounds.max_bytes);
            return Err(Refusal::new(Cause::Provider, message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error itself may hold a URL, and so a secret: only its kind is told.
fn unreached(name: &str, bounds: Bounds, error: &reqwest::Error) -> Refusal {
    let message = if error.is_timeout() {
        format!("{name} did not answer within {} seconds", bounds.timeout.as_secs())
    } else if error.is_connect() {
        format!("{name} cannot be reached")
    } else {
        format!("{name} broke off its answer")
    };
    Refusal::new(Cause::Network, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_deployment_sends_calls_elsewhere_and_not_in_the_clear() {
        for (case, text, accepted) in [
            ("none", "", true),
            ("a fake on this machine", "stripe=http://127.0.0.1:9", true),
            ("two", " stripe=http://localhost:9/base , google=https://proxy.example ", true),
            ("in the clear over the network", "stripe=http://proxy.example", false),
            ("looks like loopback", "stripe=http://127.0.0.1.example", false),
            ("unknown name", "stripes=https://proxy.example", false),
            ("no URL", "stripe", false),
            ("not a URL", "stripe=proxy", false),
            ("a file", "stripe=file:///etc/passwd", false),
            ("mail on this machine", "smtp=smtp://127.0.0.1:1025", true),
            ("mail encrypted", "smtp=smtps://relay.example", true),
            ("mail encrypted by STARTTLS", "smtp=smtp://relay.example?tls=required", true),
            ("mail in the clear over the network", "smtp=smtp://relay.example", false),
            ("mail encrypted if it happens to be", "smtp=smtp://relay.example?tls=opportunistic", false),
            ("mail by the web", "smtp=https://relay.example", false),
            ("the web by mail", "stripe=smtps://relay.example", false),
        ] {
            let loaded = Client::load(&Env::of([(ENDPOINTS_VARIABLE, text)]));
            assert_eq!(loaded.is_ok(), accepted, "{case}");
        }
    }

    #[tokio::test]
    async fn calls_stay_with_the_providers_own_hosts() {
        let client = Client::load(&Env::of([("", "")])).unwrap();
        for base in [
            "https://api.stripe.com.evil.example",
            "https://evil.example",
            "http://api.stripe.com",
            "https://api.stripe.com:8443",
            "https://api.stripe.com@evil.example",
            "https://169.254.169.254",
        ] {
            let refusal =
                client.get(&super::super::stripe::STRIPE, base, "/v1/account").send().await.err().unwrap();
            assert_eq!(refusal.cause, Cause::Format, "{base}: {refusal:?}");
        }
    }
}
