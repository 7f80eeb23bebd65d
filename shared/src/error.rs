//! The one error type of every handler, and how each case looks from outside.

use std::iter::successors;

use lambda_http::{
    Body, Response,
    http::{HeaderValue, StatusCode, header},
};
use serde::Serialize;
use serde_json::Value;

/// What went wrong underneath: logged, never sent.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// One field of the request that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where: a JSON path such as `items[3].email`, or the name of a query parameter.
    pub field: String,
    /// What would be accepted, for the person who reads it.
    pub message: String,
}

impl FieldError {
    /// A fault of `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Why a request has no ordinary answer. `Display` is public; causes live in `source`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is not JSON at all.
    #[error("the request body is not valid JSON: {0}")]
    Malformed(String),
    /// The request was understood, and these fields of it are refused.
    #[error("the request has invalid fields")]
    Invalid(Vec<FieldError>),
    /// Nobody is established, or no longer: the reason says why.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller is known and may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// Absent, or owned by another workspace; callers cannot tell which.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// What is stored does not allow this now.
    #[error("{0}")]
    Conflict(String),
    /// What the caller wanted to change was changed by somebody else; this is how it stands now.
    #[error("it was changed by someone else meanwhile: `current` is how it stands now")]
    Superseded(Box<Value>),
    /// A change that had to pass a test did not.
    #[error("the test failed and nothing was changed: {message}")]
    Unproven {
        /// What kind of fault it was, by its word on the wire.
        cause: &'static str,
        /// What happened, for people.
        message: String,
    },
    /// A delivery is not proven to be from whom it says.
    #[error("{message}")]
    Unverified {
        /// Why, by its word on the wire.
        cause: &'static str,
        /// What that means, for people; nothing that helps to forge one.
        message: &'static str,
    },
    /// The body is larger than the operation takes.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    /// The caller used up its allowance.
    #[error("{message}; retry in {} seconds", quota.reset_seconds)]
    RateLimited {
        /// Which limit was reached.
        message: String,
        /// The limit that was reached.
        quota: Quota,
    },
    /// Somebody has to set this up first; all that does not need it works.
    #[error("{service} is not configured, it lacks: {}", missing.join(", "))]
    NotConfigured {
        /// What would have been used.
        service: &'static str,
        /// What it lacks.
        missing: Vec<&'static str>,
    },
    /// Something this service depends on did not do its part.
    #[error("{0} is unavailable, try again later")]
    Unavailable(&'static str, #[source] Source),
}

/// A caller's allowance in the current window, told in `RateLimit-*` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Calls allowed in the window.
    pub limit: u64,
    /// Calls left in the window.
    pub remaining: u64,
    /// Seconds until the window ends.
    pub reset_seconds: u64,
}

impl Quota {
    /// Adds `RateLimit-Limit`, `-Remaining` and `-Reset`
    /// (draft-ietf-httpapi-ratelimit-headers-06, the last with separate fields).
    pub fn apply(self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        for (name, value) in [
            ("ratelimit-limit", self.limit),
            ("ratelimit-remaining", self.remaining),
            ("ratelimit-reset", self.reset_seconds),
        ] {
            headers.insert(name, HeaderValue::from(value));
        }
    }
}

/// RFC 9457 problem details.
#[derive(Serialize)]
struct Problem {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// With `superseded`: the newer state.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<Box<Value>>,
    /// With `unproven` and `unverified`: the kind of fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    /// With `not-configured`: what somebody has to set up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<&'static str>,
}

impl Error {
    /// A single refused field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// Exhaustive on purpose: a new variant does not compile until someone decides how it
    /// looks from outside.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::Malformed(_) => (S::BAD_REQUEST, "malformed", "Malformed request"),
            Self::Invalid(_) => (S::UNPROCESSABLE_ENTITY, "invalid", "Invalid request"),
            Self::Unauthenticated(_) => (S::UNAUTHORIZED, "unauthenticated", "Unauthenticated"),
            Self::Forbidden(_) => (S::FORBIDDEN, "forbidden", "Forbidden"),
            Self::NotFound(_) => (S::NOT_FOUND, "not-found", "Not found"),
            Self::Conflict(_) => (S::CONFLICT, "conflict", "Conflict"),
            Self::Superseded(_) => (S::CONFLICT, "superseded", "Superseded"),
            Self::Unproven { .. } => (S::CONFLICT, "unproven", "Unproven"),
            Self::Unverified { .. } => (S::UNAUTHORIZED, "unverified", "Unverified delivery"),
            Self::TooLarge(_) => (S::PAYLOAD_TOO_LARGE, "too-large", "Request too large"),
            Self::RateLimited { .. } => (S::TOO_MANY_REQUESTS, "rate-limited", "Too many requests"),
            Self::NotConfigured { .. } => (S::SERVICE_UNAVAILABLE, "not-configured", "Not configured"),
            Self::Unavailable(..) => (S::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
        }
    }

    /// All that stands behind this error, for the log: an SDK error by itself says little.
    #[must_use]
    pub fn causes(&self) -> String {
        let first = std::error::Error::source(self);
        let causes: Vec<_> = successors(first, |&cause| cause.source()).map(ToString::to_string).collect();
        causes.join(": ")
    }

    /// The answer as `application/problem+json`; server faults are logged here, once.
    pub fn into_response(self) -> Response<Body> {
        let (status, slug, title) = self.kind();
        if status.is_server_error() {
            tracing::error!(causes = self.causes(), "request failed: {self}");
        }
        let detail = self.to_string();
        // Waiting does not set anything up.
        let passing = matches!(self, Self::Unavailable(..));
        let mut problem = Problem {
            r#type: format!("/problems/{slug}"),
            title,
            status: status.as_u16(),
            detail,
            errors: Vec::new(),
            current: None,
            cause: None,
            missing: Vec::new(),
        };
        let mut quota = None;
        match self {
            Self::Invalid(errors) => problem.errors = errors,
            Self::RateLimited { quota: reached, .. } => quota = Some(reached),
            Self::Superseded(newer) => problem.current = Some(newer),
            Self::Unproven { cause, .. } | Self::Unverified { cause, .. } => problem.cause = Some(cause),
            Self::NotConfigured { missing, .. } => problem.missing = missing,
            _ => {}
        }
        let mut response = crate::http::json(status, &problem);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(quota) = quota {
            quota.apply(&mut response);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(quota.reset_seconds));
        }
        if passing {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
