//! The embedded runner: reads `template.yaml` and hosts the system's function libraries in one
//! process, on a laptop or on a small company's single machine.
//!
//! ```text
//! client → http (API Gateway) → authorize → functions ─┐
//!          queues, schedules ───────────────→ functions ┤ AWS SDK
//!                                                       ▼
//!                                            aws → dynamodb, …  (state directory)
//! ```
//!
//! The functions cannot tell: the AWS SDK's endpoint is all that differs.

mod authorize;
mod aws;
pub mod cli;
mod database;
pub mod dev_issuer;
mod dynamodb;
pub mod embedded;
mod event;
pub mod functions;
mod http;
mod intrinsics;
mod kms;
mod listener;
mod queues;
mod random;
mod reader;
mod routes;
pub mod runner;
mod schedules;
mod secrets;
mod sqs;
mod state;
mod template;
mod yaml;

pub use state::Running;
pub use template::SYSTEM as TEMPLATE;
