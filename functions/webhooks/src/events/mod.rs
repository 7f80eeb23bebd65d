//! `/api/webhooks/events`: lists events, shows one whole, and has them processed again.

pub mod list;
pub mod read;
pub mod replay;
pub mod replay_many;

use serde_json::Value;
use shared::{
    fields::{Fields, id, one_of, text, timestamp},
    webhooks::{Source, Status, store::Filter},
};

/// What picks events out, of the list and of a replay.
fn filter(fields: &mut Fields) -> Filter {
    let filter = Filter {
        source: fields.optional("source", one_of(Source::WORDS)),
        kind: fields.optional("type", text(1, 100)),
        status: fields.optional("status", one_of(Status::WORDS)),
        endpoint: fields.optional("endpoint", id),
        from: fields.optional("from", timestamp),
        to: fields.optional("to", timestamp),
    };
    if filter.from.zip(filter.to).is_some_and(|(from, to)| to <= from) {
        fields.refuse("to", "must be after `from`");
    }
    filter
}

/// A cursor of the list, whose own rules it must meet yet.
fn cursor(value: &Value) -> Result<String, String> {
    text(1, 1024)(value)
}
