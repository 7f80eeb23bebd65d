//! `GET /api/webhooks/events/{id}`

use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_http::Request;
use serde::Serialize;
use shared::{
    Error,
    fields::{digits, integer},
    http::{self, Answer},
    identity::Person,
    time,
    webhooks::Event,
};

use crate::Deps;

/// Bytes of a body that one answer tells. As JSON they are twice as many at most, and Lambda's
/// answers have 6 MB.
const PART: usize = 2 * 1024 * 1024;

/// An event with its body, or a part of that.
#[derive(Serialize)]
struct Output {
    #[serde(flatten)]
    event: Event,
    /// The body, if all of it is here and text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Otherwise its bytes from `offset` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Where the bytes go on that did not fit.
    next_offset: Option<usize>,
}

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let mut query = http::query(request);
    let offset = query.optional("offset", digits(integer(0, u64::from(u32::MAX)))).unwrap_or(0);
    query.finish().map_err(Error::Invalid)?;
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let stored = deps.events.get(&person.workspace, &http::path(request, "id"), time::now()).await?;
    Ok(http::ok(&shown(stored.event, stored.body, offset)))
}

fn shown(event: Event, mut body: Vec<u8>, offset: usize) -> Output {
    if offset == 0 && body.len() <= PART {
        let text = String::from_utf8(body);
        // Other control characters would be six times as long.
        let plain = |text: &str| !text.chars().any(|one| one.is_control() && !"\t\r\n".contains(one));
        body = match text {
            Ok(text) if plain(&text) => {
                return Output { event, body: Some(text), body_base64: None, next_offset: None };
            }
            Ok(text) => text.into_bytes(),
            Err(binary) => binary.into_bytes(),
        };
    }
    let rest = body.get(offset..).unwrap_or_default();
    let part = &rest[..rest.len().min(PART)];
    let next_offset = (part.len() < rest.len()).then_some(offset + part.len());
    Output { event, body: None, body_base64: Some(STANDARD.encode(part)), next_offset }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &[u8], offset: usize) -> Value {
        let event = json!({
            "id": "evt_1", "source": "custom", "type": "", "provider_id": "1", "via": "delivery",
            "status": "received", "received_at": "2026-11-21T12:00:00Z", "size": body.len(),
        });
        let event = serde_json::from_value(event).unwrap();
        serde_json::to_value(shown(event, body.to_vec(), offset)).unwrap()
    }

    #[test]
    fn a_body_is_told_byte_for_byte() {
        for (case, body) in [
            ("empty", &b""[..]),
            ("text", b"{\"a\": \"\xc3\xa4\"}\r\n"),
            ("binary", b"\xff\x00\xfe"),
            ("text with a zero", b"a\x00b"),
        ] {
            let told = read(body, 0);
            let bytes = match told["body"].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => STANDARD.decode(told["body_base64"].as_str().unwrap()).unwrap(),
            };
            assert_eq!(bytes, body, "{case}: {told}");
            assert_eq!(told["next_offset"], Value::Null, "{case}");
        }
    }

    #[test]
    fn a_large_body_comes_in_parts_that_add_up() {
        for size in [PART, PART + 1, 2 * PART, 2 * PART + 7] {
            let body: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let (mut told, mut offset) = (Vec::new(), Some(0));
            while let Some(at) = offset {
                let part = read(&body, usize::try_from(at).unwrap());
                assert!(part.to_string().len() < 6_000_000);
                told.extend(STANDARD.decode(part["body_base64"].as_str().unwrap()).unwrap());
                offset = part["next_offset"].as_u64();
            }
            assert!(told == body, "{size}");
        }
        assert_eq!(read(b"abc", 9)["body_base64"], "", "beyond the end");
    }
}
