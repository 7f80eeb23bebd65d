//! What a workspace has: entities, and totals that are kept while they are written.
//!
//! What partners tell is a *version* of an entity: how it was at its `updated_at`. The latest one
//! is the entity's row, earlier ones are its history. From these alone follows where every
//! counter must stand ([`change`]), so a change moves counters by the difference that it makes
//! to them. One transaction puts the rows, on condition that the entity is as it was read, and
//! adds the differences to a shard of the counters. Nothing else touches counters, so the same
//! change twice, or changes in any order, leave the same totals, and reading them costs the same
//! at any size.

pub mod commissions;
pub mod money;
pub mod policy;
pub mod subscriptions;
pub mod transactions;
pub mod users;

mod change;
mod counter;
mod due;
mod entity;
mod group;
mod names;
mod read;
mod store;
mod verify;
mod write;

pub use due::{Due, Recounted};
pub use entity::Entity;
pub use names::COUNTERS_MAX;
pub use read::{
    AsOf, CommissionShown, CommissionTotals, Commissions, CommissionsDay, CurrencyRevenue, Explained,
    ExplainedLine, Explanation, ExplanationQuery, History, HistoryQuery, Metric, Performer, PlanTotals,
    Query, Revenue, RevenueAsOf, RevenueDay, RevenueTotals, Series, TierTotals, TransactionShown, Turnover,
    UserPage, UserQuery, UserTotals, UsersDay, Window, query,
};
pub use store::Ledger;
pub use verify::{Difference, Progress, Rebuild, Report, Tell};

pub use crate::store::key::Kind;

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
    /// What is stored is newer; it goes into the history, so it changes totals of past days at most.
    Stale,
    /// It needs counters beyond [`COUNTERS_MAX`]; nothing changes.
    Rejected,
}
