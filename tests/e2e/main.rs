//! The whole over HTTP, one file a resource. Runs against either engine: see the crate's
//! documentation for how it learns where the server is.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod activity;
mod authorizers;
mod commissions;
mod credentials;
mod ingest;
mod ingest_money;
mod integrations;
mod keys;
mod limits;
mod metrics;
mod operations;
mod overview;
mod revenue;
mod runner_only;
mod settings;
mod story;
mod sync_users;
mod webhooks_endpoints;
mod webhooks_events;
mod webhooks_process;
mod webhooks_receive;
