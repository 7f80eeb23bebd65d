//! HTTP requests as API Gateway's payload 2.0, and a function's answer as an HTTP response.

use std::net::IpAddr;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts},
};
use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::Utc;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    intrinsics::{ACCOUNT, arn},
    random,
    routes::{self, Match},
};

/// The id that the one HTTP API of this engine has.
pub const API_ID: &str = "tidegate";

/// What every event of one request shares.
pub struct Request {
    /// The path, decoded as API Gateway decodes it.
    pub path: String,
    /// By lower-cased name; repeated ones are joined by commas, cookies are apart.
    pub headers: Map<String, Value>,
    /// Decoded; repeated ones are joined by commas.
    pub query: Map<String, Value>,
    /// Of this request.
    pub id: String,
    method: String,
    raw_query: String,
    cookies: Vec<String>,
    context: Value,
}

impl Request {
    /// Reads everything but the body.
    pub fn new(parts: &Parts, source: IpAddr) -> Self {
        let path = decoded_path(parts.uri.path());
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        let mut query = Map::new();
        for (name, value) in form_urlencoded::parse(raw_query.as_bytes()) {
            append(&mut query, &name, &value);
        }
        let mut cookies = Vec::new();
        let mut headers = Map::new();
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            if name == header::COOKIE {
                cookies.extend(value.split(';').map(|cookie| cookie.trim().to_owned()));
            } else {
                append(&mut headers, name.as_str(), &value);
            }
        }
        // What stands here comes from the gateway, whatever the client claims.
        let scheme = "http";
        let host = header_text(&parts.headers, header::HOST);
        let port = host.rsplit_once(':').map_or("80", |(_, port)| port).to_owned();
        let id = random::letters(15) + "=";
        let now = Utc::now();
        let trace = format!("Root=1-{:08x}-{}", now.timestamp(), random::hex::<12>());
        for (name, value) in [
            ("x-amzn-trace-id", trace),
            ("x-forwarded-for", source.to_string()),
            ("x-forwarded-port", port),
            ("x-forwarded-proto", scheme.to_owned()),
        ] {
            headers.insert(name.to_owned(), value.into());
        }
        if !headers.contains_key("content-length") {
            headers.insert("content-length".to_owned(), "0".into());
        }
        let context = json!({
            "accountId": ACCOUNT,
            "apiId": API_ID,
            "domainName": host,
            "domainPrefix": host.split(['.', ':']).next().unwrap_or_default(),
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": format!("{:?}", parts.version),
                "sourceIp": source.to_string(),
                "userAgent": header_text(&parts.headers, header::USER_AGENT),
            },
            "requestId": id,
            "stage": "$default",
            "time": now.format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.timestamp_millis(),
        });
        let method = parts.method.as_str().to_owned();
        Self { path, headers, query, id, method, raw_query, cookies, context }
    }

    /// What an authorizer gets.
    pub fn authorizer_event(&self, route: &Match<'_>, identity: &[String]) -> Value {
        let mut event = self.event(route);
        event.insert("type".into(), "REQUEST".into());
        event.insert("identitySource".into(), identity.into());
        let path = format!("{API_ID}/$default/{}{}", self.method, self.path);
        event.insert("routeArn".into(), arn("execute-api", &path).into());
        event.into()
    }

    /// What the function behind the route gets; `caller` is what the authorizer established.
    pub fn function_event(
        &self,
        route: &Match<'_>,
        caller: Option<Map<String, Value>>,
        body: &Bytes,
    ) -> Value {
        let mut event = self.event(route);
        if let Some(caller) = caller {
            event["requestContext"]["authorizer"] = json!({"lambda": caller});
        }
        let content_type = self.headers.get("content-type").and_then(Value::as_str);
        let text = std::str::from_utf8(body).ok().filter(|_| is_text(content_type.unwrap_or("text/plain")));
        event.insert("isBase64Encoded".into(), (text.is_none() && !body.is_empty()).into());
        if !body.is_empty() {
            let body = text.map_or_else(|| BASE64_STANDARD.encode(body), str::to_owned);
            event.insert("body".into(), body.into());
        }
        event.into()
    }

    fn event(&self, route: &Match<'_>) -> Map<String, Value> {
        let key = routes::key(route.route);
        let mut context = self.context.clone();
        context["routeKey"] = key.as_str().into();
        let mut event = Map::new();
        event.insert("version".into(), "2.0".into());
        event.insert("routeKey".into(), key.into());
        event.insert("rawPath".into(), self.path.as_str().into());
        event.insert("rawQueryString".into(), self.raw_query.as_str().into());
        event.insert("headers".into(), self.headers.clone().into());
        event.insert("requestContext".into(), context);
        // API Gateway leaves out what is empty.
        if !self.cookies.is_empty() {
            event.insert("cookies".into(), self.cookies.as_slice().into());
        }
        if !self.query.is_empty() {
            event.insert("queryStringParameters".into(), self.query.clone().into());
        }
        if !route.parameters.is_empty() {
            event.insert("pathParameters".into(), json!(route.parameters));
        }
        event
    }
}

/// HTTP APIs match, and hand on, the decoded path, and end it at a `?` that was encoded.
pub fn decoded_path(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    decoded.split('?').next().unwrap_or_default().to_owned()
}

fn append(map: &mut Map<String, Value>, name: &str, value: &str) {
    match map.get_mut(name) {
        Some(Value::String(joined)) => {
            joined.push(',');
            joined.push_str(value);
        }
        _ => {
            map.insert(name.to_owned(), value.into());
        }
    }
}

fn header_text(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// Bodies of these types reach a function as text, all others in base64; forms are among those.
fn is_text(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media.starts_with("text/")
        || matches!(media.as_str(), "application/json" | "application/javascript" | "application/xml")
}

/// A function's answer as a response; `None` when API Gateway could not read it either.
pub fn response(answer: &RawValue) -> Option<Response<Body>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        status_code: u16,
        #[serde(default)]
        headers: Option<Map<String, Value>>,
        #[serde(default)]
        cookies: Option<Vec<String>>,
        #[serde(default)]
        body: Option<String>,
        #[serde(default)]
        is_base64_encoded: bool,
    }

    let value: Value = serde_json::from_str(answer.get()).ok()?;
    if value.get("statusCode").is_none() {
        // Anything else is the body of a success.
        let mut response = Response::new(Body::from(answer.get().to_owned()));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        return Some(response);
    }
    let answer: Answer = serde_json::from_value(value).ok()?;
    let body = match answer.body.unwrap_or_default() {
        body if answer.is_base64_encoded => BASE64_STANDARD.decode(body).ok()?,
        body => body.into_bytes(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status_code).ok()?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
    for (name, value) in answer.headers.unwrap_or_default() {
        let name: HeaderName = name.parse().ok()?;
        // The connection is the gateway's affair.
        let own = [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE];
        if own.contains(&name) {
            continue;
        }
        let value = match value {
            Value::String(text) => text,
            value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
            _ => return None,
        };
        headers.insert(name, HeaderValue::from_str(&value).ok()?);
    }
    for cookie in answer.cookies.unwrap_or_default() {
        headers.append(header::SET_COOKIE, HeaderValue::from_str(&cookie).ok()?);
    }
    Some(response)
}
