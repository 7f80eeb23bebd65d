//! The stores against an embedded DynamoDB, where conditions and transactions really run.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod activity;
mod counters;
mod credentials;
mod due;
mod endpoints;
mod faults;
mod handlers;
mod integrations;
mod keys;
mod ledger;
mod metrics;
mod processing;
mod secrets;
mod services;
mod users;
mod vault;
mod verify;
mod webhooks;
mod webhooks_receive;
mod wire;
mod writers;

use chrono::{DateTime, Utc};
use shared::identity::{Person, Role};

/// An admin of a workspace.
fn admin(workspace: &str) -> Person {
    Person {
        workspace: workspace.parse().unwrap(),
        subject: "user_1".to_owned(),
        role: Role::Admin,
        expires_at: DateTime::<Utc>::MAX_UTC,
    }
}

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}
