//! What the ledger needs to know of each kind of entity, and the row that it keeps of one.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::counter::{Deltas, Tally};
use crate::{
    FieldError,
    store::key::{Book, Kind},
    time,
};

/// A kind of entity. A value is one version of an entity: how it was at a time.
pub trait Entity: Clone + Serialize + DeserializeOwned + Send + Sync {
    /// Which kind.
    const KIND: Kind;
    /// Where its totals stand.
    const BOOK: Book;
    /// The field whose words counters go by.
    const LABEL: &str;
    /// Whether time alone changes what one counts for.
    const TURNS: bool = false;

    /// Reads one item of a call; `path` is where it stands there.
    fn parse(path: &str, item: Value, now: DateTime<Utc>) -> Result<Self, Vec<FieldError>>;

    /// The partner's own id.
    fn id(&self) -> &str;

    /// When all that the version says was so.
    fn updated_at(&self) -> DateTime<Utc>;

    /// When the entity began to be. Totals as of earlier days have nothing of it.
    fn began_at(&self) -> DateTime<Utc>;

    /// What it counts for at a time from its beginning on.
    fn tallies(&self, at: DateTime<Utc>) -> Vec<(Tally<'_>, i128)>;

    /// When time alone changes what it counts for, in order; the first is its beginning.
    fn turns(&self) -> Vec<DateTime<Utc>> {
        vec![self.began_at()]
    }

    /// Books what it counts for on its own day, `times` times.
    fn book(&self, _day: NaiveDate, _times: i128, _deltas: &mut Deltas) {}

    /// Where it stands in the list of its kind by time.
    fn listed_at(&self) -> Option<DateTime<Utc>> {
        Some(self.began_at())
    }
}

/// Where a version stands among those of its entity.
///
/// The later one holds. Two different versions of the same time cannot both hold, and which one
/// does must not depend on which came first; so the greater digest decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) updated_at: DateTime<Utc>,
    /// The first 96 bits of the SHA-256 of all that the version says.
    pub(super) digest: u128,
}

impl Rank {
    pub(super) fn of<E: Entity>(version: &E) -> Self {
        let mut hash = Sha256::new_with_prefix(E::KIND.name());
        // Entities hold nothing that JSON cannot, and their fields have one order.
        hash.update(serde_json::to_vec(version).unwrap_or_default());
        let digest = hash.finalize()[..12].iter().fold(0, |digest, byte| digest << 8 | u128::from(*byte));
        Self { updated_at: version.updated_at(), digest }
    }
}

/// An entity's row: its latest version, and what the ledger needs beside.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "E: Entity")]
pub(super) struct Stored<E> {
    #[serde(flatten)]
    pub(super) entity: E,
    /// The day that counts it. Kept, so that counting it off hits the same row even after the
    /// deployment's time zone was changed.
    pub(super) day: NaiveDate,
    /// Whose days its movements are booked on, for the same reason.
    pub(super) zone: Tz,
    /// Counts the changes of this row and of the entity's history.
    pub(super) version: u64,
    /// The time whose tallies the sum has, where time changes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counted_until: Option<DateTime<Utc>>,
}

impl<E: Entity> Stored<E> {
    /// The row that makes `entity` hold where `old` is stored.
    pub(super) fn after(old: Option<&Self>, entity: E, zone: Tz, now: DateTime<Utc>) -> Self {
        Self {
            day: time::day_in(zone, entity.began_at()),
            zone: old.map_or(zone, |old| old.zone),
            version: old.map_or(0, |old| old.version) + 1,
            counted_until: E::TURNS.then_some(now),
            entity,
        }
    }

    /// When its totals have to be counted again, because time alone changes them.
    pub(super) fn due_at(&self) -> Option<DateTime<Utc>> {
        let counted = self.counted_until?;
        self.entity.turns().into_iter().filter(|turn| *turn > counted).min()
    }
}
