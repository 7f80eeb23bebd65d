//! What a provider answered, and which refusal it amounts to.

use std::{fmt::Display, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::{
    StatusCode,
    header::{self, HeaderMap},
};
use serde_json::Value;

use super::{Cause, Refusal};
use crate::time;

/// Longer names are cut.
const TEXT_MAX_CHARS: usize = 256;
/// A provider that asks for more patience than this is asked again all the same.
const RETRY_MAX: Duration = Duration::from_hours(24);

/// How a provider is reached and how it tells what is wrong.
pub(super) struct Service {
    /// Its name in messages.
    pub(super) name: &'static str,
    /// Its name in `PROVIDER_ENDPOINTS`.
    pub(super) endpoint: &'static str,
    /// Whether a host is the provider's own.
    pub(super) owns: fn(host: &str) -> bool,
    /// The cause, where the status alone does not tell it, also of errors that come as a success.
    pub(super) cause: fn(&Answer) -> Option<Cause>,
    /// What the provider says of an error.
    pub(super) detail: fn(&Value) -> Option<&str>,
    /// When the provider wants to be asked again; `Retry-After` is read in any case.
    pub(super) retry_after: fn(&Answer) -> Option<Duration>,
}

/// An answer whose body was read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `Null` where the body is not JSON, which a success cannot be.
    pub(super) body: Value,
    /// Why `body` is `Null`.
    unreadable: Option<&'static str>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, body: &[u8]) -> Self {
        let (body, unreadable) = if is_json(&headers) {
            match serde_json::from_slice(body) {
                Ok(body) => (body, None),
                Err(_) => (Value::Null, Some("what is not valid JSON")),
            }
        } else {
            (Value::Null, Some("something other than JSON"))
        };
        Self { status, headers, body, unreadable }
    }

    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Text at a JSON pointer; without it the answer is not what was asked for. Cut to a length
    /// that can be shown.
    pub(super) fn text(&self, service: &Service, pointer: &str) -> Result<String, Refusal> {
        let text = self.body.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(|text| clean(text, TEXT_MAX_CHARS)).ok_or_else(|| unexpected(service, pointer))
    }

    /// A list at a JSON pointer; without it the answer is not what was asked for.
    pub(super) fn list(&self, service: &Service, pointer: &str) -> Result<&[Value], Refusal> {
        let list = self.body.pointer(pointer).and_then(Value::as_array);
        list.map(Vec::as_slice).ok_or_else(|| unexpected(service, pointer))
    }

    /// The answer, if it is the success that was asked for.
    pub(super) fn judged(self, service: &Service) -> Result<Self, Refusal> {
        let name = service.name;
        let status = self.status;
        if status.is_redirection() {
            let message =
                format!("{name} answered with a redirect ({}), which is not followed", status.as_u16());
            return Err(Refusal::new(Cause::Provider, message));
        }
        let Some(cause) = (service.cause)(&self).or_else(|| by_status(status)) else {
            return match self.unreadable {
                Some(what) => Err(Refusal::new(Cause::Provider, format!("{name} answered with {what}"))),
                None => Ok(self),
            };
        };
        let what = match cause {
            Cause::Format => format!("{name} does not accept the credential"),
            Cause::Auth => format!("{name} refuses the credential"),
            Cause::Scope => format!("{name} does not allow this to the credential"),
            Cause::RateLimited => format!("{name} limits the rate of calls"),
            Cause::Network | Cause::Provider => format!("{name} failed"),
        };
        let detail = (service.detail)(&self.body).map(|detail| clean(detail, usize::MAX));
        let detail = detail.filter(|detail| !detail.is_empty());
        let message = match &detail {
            Some(detail) => format!("{what} ({}): {detail}", status.as_u16()),
            None => format!("{what} ({})", status.as_u16()),
        };
        let retry_after = (service.retry_after)(&self).or_else(|| self.retry_after(time::now()));
        Err(Refusal { cause, message, retry_after: retry_after.map(|wait| wait.min(RETRY_MAX)) })
    }

    /// `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3).
    fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        let text = self.header(header::RETRY_AFTER.as_str())?;
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
        Some((at - now).to_std().unwrap_or_default())
    }

    /// How long until a time that a header gives in seconds since 1970.
    pub(super) fn until(&self, header: &str) -> Option<Duration> {
        let at = DateTime::from_timestamp(self.header(header)?.parse().ok()?, 0)?;
        Some((at - time::now()).to_std().unwrap_or_default())
    }
}

/// What a status says by itself.
fn by_status(status: StatusCode) -> Option<Cause> {
    match status.as_u16() {
        200..=299 => None,
        401 => Some(Cause::Auth),
        403 => Some(Cause::Scope),
        429 => Some(Cause::RateLimited),
        _ => Some(Cause::Provider),
    }
}

/// The answer is a success and does not hold what was asked for.
pub(super) fn unexpected(service: &Service, what: impl Display) -> Refusal {
    Refusal::new(Cause::Provider, format!("{} answered without {what}", service.name))
}

/// Text without control characters, cut to `max` characters.
pub(super) fn clean(text: &str, max: usize) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(max)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Meta's Graph API calls its JSON JavaScript.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json"
        || kind == "text/javascript"
        || (kind.starts_with("application/") && kind.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn patience_is_asked_for_in_seconds_or_as_a_date() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        for (case, text, seconds) in [
            ("seconds", "120", Some(120)),
            ("a date", "Sat, 21 Nov 2026 12:01:00 GMT", Some(60)),
            ("a date that has passed", "Sat, 21 Nov 2026 11:00:00 GMT", Some(0)),
            ("negative", "-1", None),
            ("junk", "soon", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]);
            let answer = Answer::new(StatusCode::TOO_MANY_REQUESTS, headers, b"");
            assert_eq!(answer.retry_after(now), seconds.map(Duration::from_secs), "{case}");
        }
    }
}
