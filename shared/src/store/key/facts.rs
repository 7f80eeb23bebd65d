//! Keys of what handlers of events keep; see the table in [`super`].

use chrono::{DateTime, Utc};

use super::{Key, sortable};
use crate::{identity::Workspace, webhooks::Source};

impl Key {
    /// What is known of one payment, invoice or order of a source.
    pub(crate) fn facts(workspace: &Workspace, source: Source, of: &str) -> Self {
        Self { pk: format!("FACTS#{workspace}#{}#{of}", source.word()), sk: "FACTS".to_owned() }
    }

    /// What a tool told of operations.
    pub(crate) fn operation(workspace: &Workspace, kind: &str, at: DateTime<Utc>, event: &str) -> Self {
        Self { pk: operations(workspace, kind), sk: format!("{}#{event}", sortable(at)) }
    }
}

/// The partition of one kind of operations.
pub(crate) fn operations(workspace: &Workspace, kind: &str) -> String {
    format!("DEVOPS#{workspace}#{kind}")
}
