//! `GET /api/openapi.json` and `GET /api/docs`: the description of this API, for programs and
//! for people.
//!
//! `openapi.json` is written by hand and embedded; the page is made from it, so there is one
//! text to keep true. The tests of this crate hold it against the template, and the suite holds
//! every live answer against it.

mod node;
mod page;

use std::sync::{Arc, OnceLock};

use aws_config::SdkConfig;
use lambda_http::{
    Body, Request, Response,
    http::{HeaderValue, StatusCode, header},
};
use shared::{
    Error,
    http::{self, Answer},
    lambda::{Env, EnvError, Function},
};

/// The document, as it is served.
const DOCUMENT: &str = include_str!("../openapi.json");

/// What this function may touch: nothing but what it embeds.
struct Deps {
    document: Content,
    page: OnceLock<Content>,
}

/// What is served, the same to everyone.
struct Content {
    kind: &'static str,
    text: String,
    tag: String,
    security_policy: String,
}

impl Content {
    fn document() -> Self {
        Self {
            kind: "application/json",
            text: DOCUMENT.to_owned(),
            tag: http::tag(DOCUMENT.as_bytes()),
            security_policy: "default-src 'none'; frame-ancestors 'none'".to_owned(),
        }
    }

    fn page() -> Result<Self, Error> {
        let document = serde_json::from_str(DOCUMENT)
            .map_err(|error| Error::Unavailable("the page", Box::new(error)))?;
        let text = page::render(&document);
        Ok(Self {
            kind: "text/html; charset=utf-8",
            tag: http::tag(text.as_bytes()),
            text,
            security_policy: page::security_policy(),
        })
    }
}

impl Deps {
    #[expect(clippy::unnecessary_wraps, reason = "the shape of every function's load")]
    fn load(_env: &Env, _sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { document: Content::document(), page: OnceLock::new() })
    }

    /// Rendered when first asked for: who wants the document does not wait for the page.
    fn page(&self) -> Result<&Content, Error> {
        if let Some(page) = self.page.get() {
            return Ok(page);
        }
        let page = Content::page()?;
        Ok(self.page.get_or_init(|| page))
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    let path = request.uri().path();
    let content = if path.ends_with("/api/openapi.json") {
        &deps.document
    } else if path.ends_with("/api/docs") {
        deps.page()?
    } else {
        return Err(Error::NotFound("page"));
    };
    Ok(answer(&request, content))
}

fn answer(request: &Request, content: &Content) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    if http::has(request, &content.tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Body::Text(content.text.clone());
    }
    for (name, value) in [
        (header::CONTENT_TYPE, content.kind),
        (header::ETAG, &content.tag),
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::CONTENT_SECURITY_POLICY, &content.security_policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        // All of them are ours, and ASCII.
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests;
