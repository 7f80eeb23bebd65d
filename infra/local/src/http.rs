//! The front: what API Gateway's HTTP API does between a client and a function.
//!
//! size → CORS → route → authorizer → function → answer, each with the gateway's own limits and
//! its own short error bodies.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts,
    },
};
use serde_json::{Value, json, value::to_raw_value};

use tokio::time::timeout;

use crate::{
    authorize::{self, Cache, Refusal},
    event,
    functions::{Failure, Functions},
    routes::{self, Match, Routes},
    template::{Cors, Template},
};

/// The most a client may send.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// Request line and headers together.
const MAX_HEAD: usize = 10_240;
/// How long a client may take to send its body.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Where the development issuer publishes its keys.
pub const JWKS_PATH: &str = "/_dev/jwks.json";

/// The HTTP API.
pub struct Gateway {
    template: Arc<Template>,
    functions: Arc<Functions>,
    routes: Routes,
    authorized: Cache,
    jwks: Option<Value>,
}

impl Gateway {
    /// `jwks` are the development issuer's keys, where it may exist.
    pub fn new(template: Arc<Template>, functions: Arc<Functions>, jwks: Option<Value>) -> Self {
        let routes = Routes::new(&template.routes);
        Self { template, functions, routes, authorized: Cache::default(), jwks }
    }

    /// As an axum service; it needs to know who connects.
    pub fn router(self) -> Router {
        Router::new().fallback(handle).with_state(Arc::new(self))
    }

    async fn answer(&self, request: Request<Body>, client: SocketAddr) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if head_size(&parts) > MAX_HEAD {
            return message(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large");
        }
        if let Some(jwks) = self.jwks.as_ref().filter(|_| parts.uri.path() == JWKS_PATH) {
            return json_response(StatusCode::OK, jwks);
        }
        let cors = self.template.cors.as_ref();
        let origin = parts.headers.get(header::ORIGIN).cloned();
        if let Some(cors) = cors
            && parts.method == Method::OPTIONS
            && origin.is_some()
            && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return preflight(cors, origin.as_ref());
        }
        let request = event::Request::new(&parts, client.ip());
        let route = self.routes.find(parts.method.as_str(), &request.path);
        let mut response = match &route {
            None => message(StatusCode::NOT_FOUND, "Not Found"),
            Some(route) => match timeout(SEND_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
                Err(_) => message(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
                Ok(Err(_)) => message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
                Ok(Ok(body)) => self.run(&request, route, &body).await,
            },
        };
        if let Ok(id) = HeaderValue::from_str(&request.id) {
            response.headers_mut().insert(HeaderName::from_static("apigw-requestid"), id);
        }
        if let Some(cors) = cors {
            actual(cors, origin.as_ref(), response.headers_mut());
        }
        let route = route.map_or_else(|| "none".to_owned(), |route| routes::key(route.route));
        tracing::debug!(route, status = response.status().as_u16(), "answered");
        response
    }

    async fn run(&self, request: &event::Request, route: &Match<'_>, body: &Bytes) -> Response<Body> {
        let mut caller = None;
        if let Some(name) = &route.route.authorizer
            && let Some(authorizer) = self.template.authorizers.get(name)
        {
            let parts = authorize::Parts { headers: &request.headers, query: &request.query };
            let event = |identity: &[String]| request.authorizer_event(route, identity);
            match self.authorized.authorize(&self.functions, name, authorizer, &parts, event).await {
                Ok(context) => caller = Some(context),
                Err(Refusal::Unidentified) => return message(StatusCode::UNAUTHORIZED, "Unauthorized"),
                Err(Refusal::Denied) => return message(StatusCode::FORBIDDEN, "Forbidden"),
                Err(Refusal::Failed) => return failed(),
            }
        }
        let Ok(event) = to_raw_value(&request.function_event(route, caller, body)) else { return failed() };
        if event.get().len() > crate::functions::MAX_PAYLOAD {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        }
        let limit = route.route.timeout;
        match self.functions.invoke(&route.route.function, event, Some(limit)).await {
            Ok(answer) => event::response(&answer).unwrap_or_else(|| {
                tracing::error!(
                    function = route.route.function,
                    "the answer is not one API Gateway can read"
                );
                failed()
            }),
            // The gateway's own limit; a function that reaches its own `Timeout` has failed.
            Err(Failure::TimedOut(after)) if after >= limit => {
                message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
            }
            Err(_) => failed(),
        }
    }
}

async fn handle(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    gateway.answer(request, client).await
}

fn head_size(parts: &Parts) -> usize {
    let line = parts.method.as_str().len() + parts.uri.path_and_query().map_or(0, |uri| uri.as_str().len());
    // Two spaces, the version and the line's end; then colon, space and end for each header.
    let headers = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    line + 12 + headers.sum::<usize>()
}

fn failed() -> Response<Body> {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

fn message(status: StatusCode, text: &str) -> Response<Body> {
    json_response(status, &json!({"message": text}))
}

fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The origin that may be named to the browser, if any.
fn allowed(cors: &Cors, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    let origin = origin?;
    let text = origin.to_str().ok()?;
    if cors.allow_origins.iter().any(|allowed| allowed == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    let scheme = |allowed: &String| matches!(allowed.as_str(), "http://*" | "https://*");
    let matches = |allowed: &String| {
        allowed.eq_ignore_ascii_case(text)
            || (scheme(allowed) && allowed.strip_suffix('*').is_some_and(|scheme| text.starts_with(scheme)))
    };
    cors.allow_origins.iter().any(matches).then(|| origin.clone())
}

fn list(headers: &mut HeaderMap, name: HeaderName, values: &[String]) {
    if !values.is_empty()
        && let Ok(value) = HeaderValue::from_str(&values.join(","))
    {
        headers.insert(name, value);
    }
}

fn credentials(cors: &Cors, headers: &mut HeaderMap) {
    if cors.allow_credentials {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// API Gateway answers preflights itself when CORS is configured.
fn preflight(cors: &Cors, origin: Option<&HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if let Some(origin) = allowed(cors, origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        list(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods);
        list(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers);
        if let Some(age) = cors.max_age {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, age.into());
        }
        credentials(cors, headers);
    }
    response
}

/// The configured headers replace what a function says about CORS.
fn actual(cors: &Cors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ] {
        headers.remove(name);
    }
    if let Some(origin) = allowed(cors, origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        list(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
        credentials(cors, headers);
    }
}
