//! Keys of the table `Webhooks`.
//!
//! | Row               | pk                            | sk                            | Read by |
//! |-------------------|-------------------------------|-------------------------------|---------|
//! | event             | `EVENT#<w>#<event id>`        | `EVENT`                       | get; batch get |
//! | … list            | gsi1 `EVENTS#<w>#<shard>`     | `<received_at>#<event id>`    | newest first, the shards merged |
//! | … pending         | gsi2 `PENDING#<bucket>`       | unix seconds                  | what is due, of all workspaces; only what is not done |
//! | piece of a body   | that of its event             | `BODY#<digest>#<number>`      | with its event, when the body is large |
//! | endpoint          | `ENDPOINTS#<w>`               | `ENDPOINT#<id>`               | get; list |
//! | path of one       | `PATH#<path>`                 | `PATH`                        | get, by `webhook-receive` |
//! | refusals of an hour | `REFUSED#<w>#<taker>`       | `HOUR#<hour>`                 | range of hours |
//! | figures of an hour | `STATS#<w>#<source>`         | `HOUR#<hour>#<shard>`         | range of hours |
//! | facts of a payment | `FACTS#<w>#<source>#<key>`   | `FACTS`                       | get, by handlers |
//! | operations        | `DEVOPS#<w>#<kind>`           | `<time>#<event id>`           | newest first |
//! | completeness of an hour | `COMPLETENESS#<w>#<source>` | `HOUR#<hour>`             | range of hours |
//! | place of healing  | `HEALING#<w>`                 | `<source>`                    | get, by `webhook-heal` |
//!
//! An hour is spelt `2026-01-31T12`, in UTC. Events, their pieces, refusals, figures and operations
//! end at `expires_at`.
//!
//! Ceilings, in write units, of which a partition takes 1,000 a second; a write takes one for each
//! kilobyte.
//! - An event is its own partition, and so are facts: nothing is shared.
//! - `EVENTS#<w>#<shard>` takes a unit when an event comes and one for each change of its state: with
//!   [`EVENT_SHARDS`] of them 2,000 events a second in one workspace.
//! - `PENDING#<bucket>` takes a unit when an event comes and one when it is done: with
//!   [`PENDING_BUCKETS`] of them 4,000 events a second in all workspaces together.
//! - `REFUSED#<w>#<taker>` is one row an hour: 1,000 refusals a second of one taker; what is beyond
//!   is refused all the same, and not counted.
//! - `STATS#` has [`STATS_SHARDS`] rows an hour, and a batch of events is one update: 2,000
//!   transactions a second for one source.
//! - Nothing else is written more than once an event.

use chrono::{DateTime, Utc};

use super::{Key, SHARDS, by_time, sortable};
use crate::identity::Workspace;

/// Partitions among which the list of a workspace's events is spread.
pub(crate) const EVENT_SHARDS: u8 = 4;

/// Partitions among which the events are spread that are to be processed.
pub const PENDING_BUCKETS: u8 = 8;

/// Rows among which the figures of an hour are spread.
pub(crate) const STATS_SHARDS: u8 = SHARDS / 2;

impl Key {
    pub(crate) fn event(workspace: &Workspace, id: &str) -> Self {
        Self { pk: format!("EVENT#{workspace}#{id}"), sk: "EVENT".to_owned() }
    }

    /// A piece of an event's body; `digest` is of the whole.
    pub(crate) fn body_piece(workspace: &Workspace, id: &str, digest: &str, number: usize) -> Self {
        Self { sk: format!("{}{number:02}", body_pieces(digest)), ..Self::event(workspace, id) }
    }

    /// Whose event a row of [`Key::event`] is, and its id.
    pub(crate) fn of_event(&self) -> Option<(Workspace, &str)> {
        let (workspace, id) = self.pk.strip_prefix("EVENT#")?.split_once('#')?;
        Some((workspace.parse().ok()?, id))
    }

    /// What was refused in the hour of `at`. `taker` is a source's word or an endpoint's id.
    pub(crate) fn refusals(workspace: &Workspace, taker: &str, at: DateTime<Utc>) -> Self {
        Self { pk: format!("REFUSED#{workspace}#{taker}"), sk: hour(at) }
    }

    /// Figures of the hour of `at`.
    pub(crate) fn stats(workspace: &Workspace, source: &str, at: DateTime<Utc>, shard: u8) -> Self {
        Self { pk: format!("STATS#{workspace}#{source}"), sk: format!("{}#{shard:02}", hour(at)) }
    }

    pub(crate) fn facts(workspace: &Workspace, source: &str, key: &str) -> Self {
        Self { pk: format!("FACTS#{workspace}#{source}#{key}"), sk: "FACTS".to_owned() }
    }

    /// A deployment, an alert or a measurement; `at` is when it was.
    pub(crate) fn operation(workspace: &Workspace, kind: &str, at: DateTime<Utc>, event: &str) -> Self {
        Self { pk: format!("DEVOPS#{workspace}#{kind}"), sk: by_time(at, event) }
    }

    /// How complete the hour of `at` is.
    pub(crate) fn completeness(workspace: &Workspace, source: &str, at: DateTime<Utc>) -> Self {
        Self { pk: completeness(workspace, source), sk: hour(at) }
    }

    /// Up to where a source's own list was compared.
    pub(crate) fn healing(workspace: &Workspace, source: &str) -> Self {
        Self { pk: format!("HEALING#{workspace}"), sk: source.to_owned() }
    }
}

/// How the sort keys of a body's pieces begin.
pub(crate) fn body_pieces(digest: &str) -> String {
    format!("BODY#{digest}#")
}

/// The partition of the hours of a source.
pub(crate) fn completeness(workspace: &Workspace, source: &str) -> String {
    format!("COMPLETENESS#{workspace}#{source}")
}

/// Sort key of an hour.
pub(crate) fn hour(at: DateTime<Utc>) -> String {
    at.format("HOUR#%Y-%m-%dT%H").to_string()
}

/// A partition in `gsi1` of a workspace's events.
pub(crate) fn events(workspace: &Workspace, shard: u8) -> String {
    format!("EVENTS#{workspace}#{shard}")
}

/// The partition in `gsi1` in which one event stands.
pub(crate) fn events_of(workspace: &Workspace, id: &str) -> String {
    events(workspace, spread(id, EVENT_SHARDS))
}

/// The bounds in `gsi1` of the events from one time until before another.
pub(crate) fn event_times(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> (String, String) {
    // Before and after every time; keys go on with `#` after one.
    let end = |time: Option<_>, otherwise: &str| time.map_or_else(|| otherwise.to_owned(), sortable);
    (end(from, "0"), end(to, "~"))
}

/// A partition in `gsi2` of the events to be processed.
pub(crate) fn pending(bucket: u8) -> String {
    format!("PENDING#{bucket}")
}

/// The partition in `gsi2` in which one event stands.
pub(crate) fn pending_of(id: &str) -> String {
    pending(spread(id, PENDING_BUCKETS))
}

fn spread(id: &str, partitions: u8) -> u8 {
    u8::try_from(crc32fast::hash(id.as_bytes()) % u32::from(partitions)).unwrap_or_default()
}

/// The partition of one kind of operations.
pub(crate) fn operations(workspace: &Workspace, kind: &str) -> String {
    format!("DEVOPS#{workspace}#{kind}")
}

// Endpoints.

/// How the sort key of every endpoint begins.
pub(crate) const ENDPOINT: &str = "ENDPOINT#";

impl Key {
    pub(crate) fn endpoint(workspace: &Workspace, id: &str) -> Self {
        Self { pk: endpoints(workspace), sk: format!("{ENDPOINT}{id}") }
    }

    /// What receives at a path: of all workspaces, a path has one endpoint.
    pub(crate) fn endpoint_path(path: &str) -> Self {
        Self { pk: format!("PATH#{path}"), sk: "PATH".to_owned() }
    }
}

/// The partition of a workspace's endpoints.
pub(crate) fn endpoints(workspace: &Workspace) -> String {
    format!("ENDPOINTS#{workspace}")
}
