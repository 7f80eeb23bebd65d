//! An event: a delivery that was accepted, and what became of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Source;
use crate::{id, identity::Workspace, word::words};

words! {
    /// What became of an event so far.
    Status {
        /// Stored, and to be processed.
        Received = "received",
        /// All that it changes is changed.
        Processed = "processed",
        /// Processing failed and is tried again.
        Failed = "failed",
        /// Processing failed for good; it can be replayed.
        Dead = "dead",
    }
}

words! {
    /// How an event came to us.
    Via {
        /// Its provider delivered it.
        Delivery = "delivery",
        /// We asked its provider for it, as no delivery had come.
        Healing = "healing",
        /// An admin tried an endpoint.
        Test = "test",
    }
}

/// An attempt at processing an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Why it failed; for people, without secrets. None if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An event without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `evt_` and 32 hexadecimal digits; see [`event_id`].
    pub id: String,
    /// Whose it is.
    pub source: Source,
    /// The endpoint that took it, `whe_…`; none for a source's own route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What happened, in the provider's words, such as `invoice.paid`. Empty if it does not say.
    #[serde(rename = "type")]
    pub kind: String,
    /// The provider's own id of it, or what stands for one.
    pub provider_id: String,
    /// How it came.
    pub via: Via,
    /// What became of it.
    pub status: Status,
    /// When it came first.
    pub received_at: DateTime<Utc>,
    /// Bytes of its body.
    pub size: u64,
    /// Headers, lower case, secrets replaced.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Attempts at processing it since it came or was replayed last.
    #[serde(default)]
    pub attempts: u32,
    /// The latest of all its attempts, oldest first; at most ten.
    #[serde(default)]
    pub log: Vec<Attempt>,
    /// When it will be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was processed first: what may happen once only has happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processed_at: Option<DateTime<Utc>>,
}

/// The id of an event: the same for every delivery of it, as it is made of the workspace, who took
/// it in (the source's word, or the endpoint's id) and the provider's id.
#[must_use]
pub fn event_id(workspace: &Workspace, taker: &str, provider_id: &str) -> String {
    let digest = Sha256::digest(format!("{workspace}\n{taker}\n{provider_id}"));
    format!("evt_{}", id::hex(&digest[..16]))
}
