//! What other services tell us: webhooks, from the raw bytes to what they change.
//!
//! Receiving and processing are two things. [`receive`] verifies the raw bytes, stores the delivery
//! once, wakes the worker up and answers; the stored row is the truth, the queue only a wake-up.

pub mod endpoints;
pub mod event;
pub mod handle;
pub mod heal;
pub mod operations;
pub mod process;
pub mod queue;
pub mod receive;
pub mod refusals;
pub mod replay;
pub mod scheme;
pub mod source;
pub mod store;
pub mod sweep;

pub use endpoints::Endpoints;
pub use event::{Event, Status};
pub use queue::{DeadQueue, Queue};
pub use scheme::Scheme;
pub use source::Source;
pub use store::Webhooks;
