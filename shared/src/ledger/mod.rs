//! What a workspace has: entities, and totals that are kept while they are written.
//!
//! `change(old, new)` of an entity says by how much each counter moves; one transaction puts the
//! entity, on condition that the old version is still there, and adds the differences to a
//! counter shard. Nothing else touches counters, so the same change twice, or two changes in the
//! wrong order, leave the same totals, and reading them costs the same at any size.

pub mod commissions;
pub mod money;
pub mod policy;
pub mod subscriptions;
pub mod transactions;
pub mod users;

mod counter;
mod read;
mod store;
mod word;
mod write;

pub use read::{UserPage, UserTotals, Window};
pub use store::Ledger;

use serde::Serialize;

/// What became of one change of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The entity was not there before.
    Created,
    /// It was, and is now as the change says.
    Updated,
    /// It was just so already.
    Unchanged,
    /// What is stored is newer; nothing changes.
    Stale,
}
