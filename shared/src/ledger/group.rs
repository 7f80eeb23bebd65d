//! Packs the changes of a call into transactions. Pure.

use std::collections::{BTreeSet, VecDeque};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{
    Outcome,
    change::{Change, Known},
    counter::Deltas,
    entity::{Entity, Rank, Stored},
};

/// Rows of a transaction at most, as DynamoDB takes. Bytes need no count: no entity that is
/// accepted has more than 40 KB, so 100 rows stay below its 4 MB.
const ROWS_MAX: usize = 100;

/// The versions of one entity that a call brings, with their places in it. Without versions the
/// entity is only brought up to date.
pub(super) struct Pending<E> {
    pub(super) id: String,
    pub(super) versions: VecDeque<(usize, Rank, E)>,
    /// Whether each version gets a transaction of its own, as one of them is to be rejected.
    apart: bool,
}

impl<E: Entity> Pending<E> {
    /// Sorts a call's versions by entity.
    pub(super) fn by_entity(versions: Vec<E>) -> Vec<Self> {
        let mut all = Vec::<Self>::new();
        for (at, version) in versions.into_iter().enumerate() {
            let id = version.id();
            let known = all.iter().position(|one| one.id == id);
            let place = known.unwrap_or_else(|| {
                all.push(Self { id: id.to_owned(), versions: VecDeque::new(), apart: false });
                all.len() - 1
            });
            all[place].versions.push_back((at, Rank::of(&version), version));
        }
        all
    }

    /// An entity that is only brought up to date.
    pub(super) fn of_due(id: String) -> Self {
        Self { id, versions: VecDeque::new(), apart: false }
    }
}

/// What one transaction does to one entity.
pub(super) struct Step<E> {
    pending: Pending<E>,
    outcomes: Vec<Outcome>,
    /// The version of the row that was read: the transaction's condition.
    pub(super) read: Option<u64>,
    /// The row that it leaves.
    pub(super) row: Option<Stored<E>>,
    /// The versions that go into the history.
    pub(super) past: Vec<(Rank, E)>,
    deltas: Deltas,
}

impl<E: Entity> Step<E> {
    /// Takes as many versions, in order, as one transaction can. What time changed until `now`
    /// is counted with them.
    pub(super) fn of(pending: Pending<E>, mut known: Known<E>, zone: Tz, now: DateTime<Utc>) -> Self {
        let read = known.current.as_ref().map(|(_, row)| row.version);
        let mut step = Self {
            pending,
            outcomes: Vec::new(),
            read,
            row: None,
            past: Vec::new(),
            deltas: Deltas::default(),
        };
        if known.current.as_ref().and_then(|(_, row)| row.due_at()).is_some_and(|due| due <= now) {
            step.deltas.merge(known.recount(now), 1);
        }
        for (_, rank, version) in &step.pending.versions {
            let mut next = known.clone();
            let Change { outcome, past, deltas } = next.take(*rank, version, zone, now);
            let rows = 1 + step.past.len() + usize::from(past.is_some());
            // One alone always fits: see the most that a subscription may hold.
            let fits = step.deltas.rows_with(&deltas).is_some_and(|counters| rows + counters <= ROWS_MAX);
            if (!fits || step.pending.apart) && !step.outcomes.is_empty() {
                break;
            }
            known = next;
            step.outcomes.push(outcome);
            step.past.extend(past);
            step.deltas.merge(deltas, 1);
        }
        step.row = known.current.map(|(_, row)| row).filter(|row| Some(row.version) != read);
        step
    }

    /// Notes the outcomes of what was done; what is left of the call goes on.
    pub(super) fn settle(mut self, done: bool, outcomes: &mut [Outcome]) -> Option<Pending<E>> {
        if done {
            let taken = self.pending.versions.drain(..self.outcomes.len());
            for ((at, ..), outcome) in taken.zip(self.outcomes) {
                outcomes[at] = outcome;
            }
        }
        (!done || !self.pending.versions.is_empty()).then_some(self.pending)
    }

    /// Notes that the step cannot be done: the version is rejected. Of several, the one that it
    /// is has to be found.
    pub(super) fn reject(mut self, outcomes: &mut [Outcome]) -> Option<Pending<E>> {
        if self.outcomes.len() > 1 {
            self.pending.apart = true;
            return Some(self.pending);
        }
        self.outcomes = vec![Outcome::Rejected];
        self.settle(true, outcomes)
    }

    /// Names of the counters that it needs. What time alone changes needs none that were not
    /// booked ahead.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        if self.outcomes.is_empty() { BTreeSet::new() } else { self.deltas.names().collect() }
    }

    fn rows(&self) -> usize {
        usize::from(self.row.is_some()) + self.past.len()
    }
}

/// What one transaction does.
pub(super) struct Group<E> {
    pub(super) steps: Vec<Step<E>>,
    pub(super) deltas: Deltas,
    rows: usize,
}

impl<E: Entity> Group<E> {
    /// Packs steps into as few transactions as hold them: the fewer there are, the fewer meet at
    /// a counter.
    pub(super) fn pack(steps: Vec<Step<E>>) -> Vec<Self> {
        let mut groups = Vec::<Self>::new();
        for step in steps {
            let place = groups.iter().position(|group| {
                let counters = group.deltas.rows_with(&step.deltas);
                counters.is_some_and(|counters| group.rows + step.rows() + counters <= ROWS_MAX)
            });
            let place = place.unwrap_or_else(|| {
                groups.push(Self::new());
                groups.len() - 1
            });
            groups[place].push(step);
        }
        groups
    }

    /// Parts the steps at these places from the others, which remain a group.
    pub(super) fn part(self, places: &BTreeSet<usize>) -> (Self, Vec<Step<E>>) {
        let (mut group, mut parted) = (Self::new(), Vec::new());
        for (place, step) in self.steps.into_iter().enumerate() {
            if places.contains(&place) {
                parted.push(step);
            } else {
                group.push(step);
            }
        }
        (group, parted)
    }

    fn new() -> Self {
        Self { steps: Vec::new(), deltas: Deltas::default(), rows: 0 }
    }

    fn push(&mut self, step: Step<E>) {
        self.rows += step.rows();
        self.deltas.merge(step.deltas.clone(), 1);
        self.steps.push(step);
    }
}
