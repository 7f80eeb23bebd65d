//! Credentials and their providers, each against a fake that behaves as the provider does.
//!
//! [`subjects`] has one file a provider, which says what a good verification looks like and which
//! faults are the provider's own; [`faults`] adds those that any provider can have, to every call
//! of each.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fake;
mod faults;
mod format;
mod smtp;
mod smtp_fake;
mod subjects;

use shared::{
    lambda::Env,
    providers::{Client, Credential},
};

use self::subjects::Subject;

/// A client that finds the provider at `url`.
fn client(endpoint: &str, url: &str) -> Client {
    Client::load(&Env::of([("PROVIDER_ENDPOINTS", format!("{endpoint}={url}"))])).unwrap()
}

/// The credential of a subject.
fn credential(subject: &Subject) -> Credential {
    let parsed = Credential::parse(subject.provider, "credential.", subject.credential.clone());
    parsed.unwrap_or_else(|errors| panic!("{}: {errors:?}", subject.name))
}
