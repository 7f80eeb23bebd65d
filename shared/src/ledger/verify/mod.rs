//! Proves that every counter stands where the entities put it.
//!
//! A round reads all counters, then all entities with their history, then the counters again, and
//! compares. Pages are strongly consistent, an entity is read as it stood at one moment, and only
//! totals are kept; where performers are too many for that, they are taken in slices.
//!
//! Writers need not stop. What is written during a round is seen by the counters that moved, so a
//! difference is told only
//! - if no counter of its book moved during the round: nothing was written then; or
//! - if two rounds, one after the other, find the very same numbers and the counter itself did
//!   not move in the second.
//!
//! What still moves in the last round is told as undecided, and never as a difference.

mod found;
mod rebuild;
mod recompute;
mod slice;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use self::slice::Slice;
use super::{
    Ledger,
    commissions::Commission,
    counter::{Deltas, Row},
    subscriptions::Subscription,
    transactions::Transaction,
    users::User,
};
use crate::{Error, identity::Workspace, store::key::Kind};

pub use rebuild::Rebuild;

/// Rounds at most. A second one settles what a writer crossed in the first.
const ROUNDS: u32 = 4;

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// From 1 on. A round that finds nothing to look at again is the last.
    pub round: u32,
    /// What is being read.
    pub kind: Kind,
    /// How many of the kind were read in this round.
    pub entities: u64,
}

/// Told after every page.
pub type Tell<'a> = &'a mut (dyn FnMut(Progress) + Send + Sync);

/// What a verification found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// How many entities were read, by kind.
    pub entities: BTreeMap<&'static str, u64>,
    /// How many earlier versions of them.
    pub earlier_versions: u64,
    /// Numbers that were compared.
    pub counters: u64,
    /// Rounds that it took.
    pub rounds: u32,
    /// Subscriptions that time changed and that wait for `ledger-due`. Their totals are as of
    /// before, which is no difference.
    pub overdue: u64,
    /// Counters that do not stand where the entities put them.
    pub differences: Vec<Difference>,
    /// Counters that were written through all rounds, and did not agree when they were read.
    pub undecided: Vec<Difference>,
}

impl Report {
    /// Whether every counter stands where it must.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.undecided.is_empty()
    }
}

/// A counter, all shards together, and what it holds. JSON has the numbers as text: they may be
/// longer than its readers can hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// As the row's key spells it.
    pub row: String,
    /// The number's name.
    pub attribute: String,
    /// What the entities come to.
    #[serde(serialize_with = "text")]
    pub expected: i128,
    /// What the counter holds.
    #[serde(serialize_with = "text")]
    pub found: i128,
}

fn text<S: Serializer>(number: &i128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// Numbers that did not agree, as expected and as found.
type Seen = BTreeMap<(Row, String), (i128, i128)>;

/// What one round found in a slice.
struct Round {
    read: Read,
    found: Deltas,
    /// How far to move the counters.
    corrections: Deltas,
    /// How far they moved meanwhile.
    moved: Deltas,
}

/// What was read in a round.
#[derive(Default)]
struct Read {
    entities: BTreeMap<Kind, u64>,
    earlier_versions: u64,
    overdue: u64,
}

/// What is settled of a slice.
#[derive(Default)]
struct Settled {
    read: Read,
    counters: u64,
    rounds: u32,
    /// How far to move the counters that differ.
    corrections: Deltas,
    differences: Vec<Difference>,
    undecided: Vec<Difference>,
}

impl Ledger {
    /// Compares every counter of a workspace with what its entities come to. Changes nothing.
    pub async fn verify(
        &self,
        workspace: &Workspace,
        now: DateTime<Utc>,
        tell: Tell<'_>,
    ) -> Result<Report, Error> {
        let mut report = Report::default();
        let mut slices = vec![Slice::WHOLE];
        while let Some(mut slice) = slices.pop() {
            let settled = self.settled(workspace, &mut slice, now, tell).await?;
            slices.extend(slice.rest());
            report.add(settled);
        }
        Ok(report)
    }

    /// Rounds over a slice, until all of it is settled or none is left.
    async fn settled(
        &self,
        workspace: &Workspace,
        slice: &mut Slice,
        now: DateTime<Utc>,
        tell: Tell<'_>,
    ) -> Result<Settled, Error> {
        let mut last = Seen::new();
        for rounds in 1.. {
            let round = self.round(workspace, slice, rounds, now, tell).await?;
            let (settled, seen) = round.settle(rounds, &last);
            if settled.undecided.is_empty() || rounds == ROUNDS {
                return Ok(settled);
            }
            last = seen;
        }
        Ok(Settled::default())
    }

    async fn round(
        &self,
        workspace: &Workspace,
        slice: &mut Slice,
        round: u32,
        now: DateTime<Utc>,
        tell: Tell<'_>,
    ) -> Result<Round, Error> {
        let mut moved = self.found(workspace, slice).await?;
        let mut corrections = Deltas::default();
        let mut reader = recompute::Reader {
            ledger: self,
            workspace,
            now,
            round,
            slice: &mut *slice,
            expected: &mut corrections,
            read: Read::default(),
            tell,
        };
        if reader.slice.has_totals() {
            reader.all::<User>().await?;
            reader.all::<Subscription>().await?;
            reader.all::<Transaction>().await?;
        }
        reader.all::<Commission>().await?;
        let read = reader.read;
        let found = self.found(workspace, slice).await?;
        // The slice may have become smaller on the way.
        moved.retain(|row| slice.has(row));
        corrections.retain(|row| slice.has(row));
        moved.merge(found.clone(), -1);
        corrections.merge(found.clone(), -1);
        Ok(Round { read, found, corrections, moved })
    }
}

impl Round {
    /// Tells what differs from what a writer may have crossed; see the module's documentation.
    fn settle(self, rounds: u32, last: &Seen) -> (Settled, Seen) {
        let counters = self.found.rows().map(|(_, attributes)| attributes.len() as u64).sum();
        let mut settled = Settled { read: self.read, counters, rounds, ..Settled::default() };
        let mut seen = Seen::new();
        for (row, attributes) in self.corrections.rows() {
            let is_quiet = !self.moved.rows().any(|(moved, _)| moved.book() == row.book());
            for (attribute, by) in attributes {
                let found = self.found.get(row, attribute);
                let (place, numbers) = ((row.clone(), attribute.clone()), (found + by, found));
                let stands = self.moved.get(row, attribute) == 0;
                let difference = Difference {
                    row: row.to_string(),
                    attribute: attribute.clone(),
                    expected: numbers.0,
                    found,
                };
                if is_quiet || (stands && last.get(&place) == Some(&numbers)) {
                    settled.corrections.add(row, attribute.clone(), *by);
                    settled.differences.push(difference);
                } else {
                    settled.undecided.push(difference);
                }
                seen.insert(place, numbers);
            }
        }
        (settled, seen)
    }
}

impl Report {
    fn add(&mut self, settled: Settled) {
        // Later slices read the same commissions again.
        if self.rounds == 0 {
            let Read { entities, earlier_versions, overdue } = settled.read;
            self.entities = entities.into_iter().map(|(kind, count)| (kind.plural(), count)).collect();
            (self.earlier_versions, self.overdue) = (earlier_versions, overdue);
        }
        self.counters += settled.counters;
        self.rounds = self.rounds.max(settled.rounds);
        self.differences.extend(settled.differences);
        self.undecided.extend(settled.undecided);
    }
}
