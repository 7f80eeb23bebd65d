//! Reading requests and shaping answers.

use chrono::{DateTime, Utc};
use lambda_http::{
    Body, Request, RequestExt, Response,
    http::{HeaderValue, StatusCode, header},
    request::RequestContext,
};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Error, fields::Fields, time};

/// What a handler returns.
pub type Answer = Result<Response<Body>, Error>;

/// The body as it came.
#[must_use]
pub fn bytes(request: &Request) -> &[u8] {
    match request.body() {
        Body::Text(text) => text.as_bytes(),
        Body::Binary(bytes) => bytes,
        _ => &[],
    }
}

/// Reads the body as JSON.
pub fn value(request: &Request) -> Result<Value, Error> {
    serde_json::from_slice(bytes(request)).map_err(|error| {
        // Only the place: serde's own message can repeat what was sent.
        Error::Malformed(format!("line {}, column {}", error.line(), error.column()))
    })
}

/// Reads the body as a JSON object; an empty body is an empty object.
pub fn body(request: &Request) -> Result<Fields, Error> {
    if bytes(request).is_empty() {
        return Ok(Fields::default());
    }
    Fields::of("", value(request)?).map_err(Error::Invalid)
}

/// As [`body`], of at most `limit` bytes.
pub fn body_within(request: &Request, limit: usize) -> Result<Fields, Error> {
    if request.body().len() > limit { Err(Error::TooLarge(limit)) } else { body(request) }
}

/// Reads the query string; values are text. A repeated parameter has no one value: it becomes a
/// list, which every rule refuses.
#[must_use]
pub fn query(request: &Request) -> Fields {
    let parameters = request.query_string_parameters();
    let mut fields = serde_json::Map::new();
    for (name, value) in parameters.iter() {
        let repeated = fields.contains_key(name);
        let value = if repeated { Value::Array(Vec::new()) } else { Value::from(value) };
        fields.insert(name.to_owned(), value);
    }
    Fields::from(fields)
}

/// The route that the gateway matched, as the template spells it: `GET /api/devops/keys/{id}`.
#[must_use]
pub fn route(request: &Request) -> &str {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.route_key.as_deref().unwrap_or_default(),
        _ => "",
    }
}

/// A parameter of the route's path; the gateway has matched it, so it is there.
#[must_use]
pub fn path(request: &Request, name: &str) -> String {
    request.path_parameters().first(name).unwrap_or_default().to_owned()
}

/// An answer with a JSON body.
pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Response<Body> {
    json_text(status, text_of(body))
}

fn text_of<T: Serialize>(body: &T) -> String {
    // Our own answer types hold nothing that JSON cannot.
    serde_json::to_string(body).unwrap_or_default()
}

fn json_text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 200 with a JSON body.
pub fn ok<T: Serialize>(body: &T) -> Response<Body> {
    json(StatusCode::OK, body)
}

/// 201 with a JSON body.
pub fn created<T: Serialize>(body: &T) -> Response<Body> {
    json(StatusCode::CREATED, body)
}

/// 200 with an `ETag` over `body`, an object with members, or 304 when the caller already has it.
///
/// The `timestamp` of the answer is its first member and not part of the tag.
pub fn tagged<T: Serialize>(request: &Request, timestamp: DateTime<Utc>, body: &T) -> Response<Body> {
    let content = text_of(body);
    let tag = tag(content.as_bytes());
    let mut response = if has(request, &tag) {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let rest = content.get(1..).unwrap_or_default();
        json_text(StatusCode::OK, format!(r#"{{"timestamp":"{}",{rest}"#, time::rfc3339(timestamp)))
    };
    let headers = response.headers_mut();
    // Private: the answer depends on the key, and any cache must ask again.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// The `ETag` of this content.
#[must_use]
pub fn tag(content: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(content)[..16]))
}

/// Whether the caller already has the content with this `ETag`.
#[must_use]
pub fn has(request: &Request, tag: &str) -> bool {
    request.headers().get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value.to_str().is_ok_and(|value| {
            value.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[derive(Serialize)]
    struct Total {
        total: u64,
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_repeated_parameter_is_refused_and_not_chosen_from() {
        for (case, sent, accepted) in [("once", vec!["1"], true), ("twice", vec!["1", "1"], false)] {
            let sent = sent.into_iter().map(str::to_owned).collect::<Vec<_>>();
            let parameters = HashMap::from([("limit".to_owned(), sent)]);
            let request = Request::default().with_query_string_parameters(parameters);
            let mut query = query(&request);
            let limit = query.optional("limit", crate::fields::digits(crate::fields::integer(1, 100)));
            assert_eq!((limit.is_some(), query.finish().is_ok()), (accepted, accepted), "{case}");
        }
    }

    #[test]
    fn a_tag_follows_the_content_and_not_the_time() {
        let tag = |seconds, total| {
            let response = tagged(&Request::default(), at(seconds), &Total { total });
            response.headers()[header::ETAG].clone()
        };
        assert_eq!(tag(1, 10), tag(2, 10));
        assert_ne!(tag(1, 10), tag(1, 11));
    }

    #[test]
    fn the_time_and_what_is_tagged_are_one_object() {
        let answer = tagged(&Request::default(), at(1), &Total { total: 10 });
        assert_eq!(answer.body().as_ref(), br#"{"timestamp":"1970-01-01T00:00:01Z","total":10}"#);
    }

    #[test]
    fn a_known_tag_saves_the_body() {
        let first = tagged(&Request::default(), at(1), &Total { total: 10 });
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        for (case, sent, status) in [
            ("same", tag.to_owned(), 304),
            ("weak", format!("W/{tag}"), 304),
            ("one of several", format!("\"other\", {tag}"), 304),
            ("any", "*".to_owned(), 304),
            ("other", "\"other\"".to_owned(), 200),
        ] {
            let mut request = Request::default();
            request.headers_mut().insert(header::IF_NONE_MATCH, sent.parse().unwrap());
            let answer = tagged(&request, at(2), &Total { total: 10 });
            assert_eq!(answer.status(), status, "{case}");
            assert_eq!(answer.body().is_empty(), status == 304, "{case}");
        }
    }
}
