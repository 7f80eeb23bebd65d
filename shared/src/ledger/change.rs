//! Where counters must stand for an entity, and by how much a change moves them. Pure.
//!
//! A version is in force from its `updated_at`, the first one from the entity's beginning, until
//! the next one is. *Movements* are the steps of what an entity counts for along this line, each
//! booked on its day. A version that comes between two others changes the line between them and
//! nowhere else; so the difference that its neighbours show is the difference to the whole, and
//! differences in any order of arrival add up to the movements of all versions together.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{
    Outcome,
    counter::{Deltas, Row, Tally, moved},
    entity::{Entity, Rank, Stored},
    policy::{Policy, Term},
};
use crate::{
    store::key::{Book, Counter},
    time,
};

/// What an entity's latest version counts for: in the sum, and on its own day.
pub(super) fn standing<E: Entity>(stored: &Stored<E>) -> Deltas {
    let mut deltas = Deltas::default();
    let entity = &stored.entity;
    let sum = Row::Total(E::BOOK, Counter::Sum);
    for (tally, by) in entity.tallies(stored.counted_until.unwrap_or_else(|| entity.updated_at())) {
        deltas.add(&sum, tally.to_string(), by);
    }
    entity.book(stored.day, 1, &mut deltas);
    deltas
}

/// The movements of an entity that had these versions, in order.
pub(super) fn movements<'a, E: Entity + 'a>(
    versions: impl IntoIterator<Item = (Rank, &'a E)>,
    zone: Tz,
) -> Deltas {
    let mut deltas = Deltas::default();
    let mut versions = versions.into_iter().peekable();
    let mut before = None;
    while let Some((rank, version)) = versions.next() {
        let start = before.map(|_| rank.updated_at);
        let end = versions.peek().map(|(next, _)| next.updated_at);
        let mut turns = version.turns();
        turns.retain(|turn| start.is_none_or(|start| *turn > start) && end.is_none_or(|end| *turn <= end));
        let mut last = before.zip(start).and_then(|((rank, version), start)| State::of(rank, version, start));
        for at in start.into_iter().chain(turns) {
            let state = State::of(rank, version, at);
            step(last.as_ref(), state.as_ref(), at, zone, &mut deltas);
            last = state;
        }
        before = Some((rank, version));
    }
    deltas
}

/// What an entity counts for at a time, by one version.
struct State<'a> {
    tallies: Vec<(Tally<'a>, i128)>,
    digest: u128,
    book: Book,
}

impl<'a> State<'a> {
    /// There is none before the beginning.
    fn of<E: Entity>(rank: Rank, version: &'a E, at: DateTime<Utc>) -> Option<Self> {
        (at >= version.began_at()).then(|| Self {
            tallies: version.tallies(at),
            digest: rank.digest,
            book: E::BOOK,
        })
    }
}

impl State<'_> {
    /// Whether it is a subscription that a policy takes for an active one.
    fn is_active(&self, policy: Policy) -> bool {
        self.tallies.iter().any(|(tally, _)| match tally {
            Tally::Subscriptions(status, priced) => policy.counts(Term::Active(*status, *priced)),
            _ => false,
        })
    }
}

/// Books what one state differs from the one before.
fn step(from: Option<&State>, to: Option<&State>, at: DateTime<Utc>, zone: Tz, deltas: &mut Deltas) {
    let day = time::day_in(zone, at);
    let mut moves = BTreeMap::<Tally, i128>::new();
    for (state, times) in from.map(|from| (from, -1)).into_iter().chain(to.map(|to| (to, 1))) {
        for (tally, by) in &state.tallies {
            *moves.entry(*tally).or_default() += by * times;
        }
        *moves.entry(Tally::Digest).or_default() += state.digest.cast_signed() * times;
    }
    for (_, policy) in Policy::WORDS {
        let is_active = |state: Option<&State>| state.is_some_and(|state| state.is_active(*policy));
        match (is_active(from), is_active(to)) {
            (false, true) => *moves.entry(Tally::New(*policy)).or_default() += 1,
            (true, false) => *moves.entry(Tally::Churned(*policy)).or_default() += 1,
            _ => {}
        }
    }
    let Some(State { book, .. }) = from.or(to) else { return };
    for row in [Counter::Day(day), Counter::month_of(day)].map(|counter| Row::Total(*book, counter)) {
        for (tally, by) in &moves {
            deltas.add(&row, moved(*tally), *by);
        }
    }
}

/// An entity as far as a change needs to know it: its row, and of its history at least the
/// neighbours of the versions that come.
#[derive(Clone)]
pub(super) struct Known<E> {
    pub(super) current: Option<(Rank, Stored<E>)>,
    pub(super) history: BTreeMap<Rank, E>,
}

/// Nothing is known of an entity that is not there.
impl<E> Default for Known<E> {
    fn default() -> Self {
        Self { current: None, history: BTreeMap::new() }
    }
}

/// What one version changes.
pub(super) struct Change<E> {
    pub(super) outcome: Outcome,
    /// The version that goes into the history.
    pub(super) past: Option<(Rank, E)>,
    pub(super) deltas: Deltas,
}

impl<E: Entity> Known<E> {
    /// Takes a version, and says what it changes.
    pub(super) fn take(&mut self, rank: Rank, version: &E, zone: Tz, now: DateTime<Utc>) -> Change<E> {
        let nothing = |outcome| Change { outcome, past: None, deltas: Deltas::default() };
        let Some((held, current)) = &mut self.current else {
            let new = Stored::after(None, version.clone(), zone, now);
            let mut deltas = standing(&new);
            deltas.merge(movements([(rank, version)], new.zone), 1);
            self.current = Some((rank, new));
            return Change { outcome: Outcome::Created, past: None, deltas };
        };
        if rank == *held {
            return nothing(Outcome::Unchanged);
        }
        if self.history.contains_key(&rank) {
            return nothing(Outcome::Stale);
        }
        let mut deltas = Deltas::default();
        let (outcome, past) = if rank > *held {
            let new = Stored::after(Some(current), version.clone(), zone, now);
            deltas.merge(standing(&new), 1);
            deltas.merge(standing(current), -1);
            let old = (*held, &current.entity);
            deltas.merge(movements([old, (rank, version)], new.zone), 1);
            deltas.merge(movements([old], new.zone), -1);
            let old = (*held, current.entity.clone());
            (*held, *current) = (rank, new);
            (Outcome::Updated, old)
        } else {
            let before = self.history.range(..rank).next_back();
            let after = self
                .history
                .range(rank..)
                .next()
                .map_or((*held, &current.entity), |(rank, one)| (*rank, one));
            let before = before.map(|(rank, version)| (*rank, version));
            let around = before.into_iter().chain([after]);
            let with = before.into_iter().chain([(rank, version), after]);
            deltas.merge(movements(with, current.zone), 1);
            deltas.merge(movements(around, current.zone), -1);
            current.version += 1;
            (Outcome::Stale, (rank, version.clone()))
        };
        self.history.insert(past.0, past.1.clone());
        Change { outcome, past: Some(past), deltas }
    }

    /// Counts the entity's totals again as of `now`.
    pub(super) fn recount(&mut self, now: DateTime<Utc>) -> Deltas {
        let mut deltas = Deltas::default();
        if let Some((_, current)) = &mut self.current {
            deltas.merge(standing(current), -1);
            current.counted_until = Some(now);
            current.version += 1;
            deltas.merge(standing(current), 1);
        }
        deltas
    }
}

#[cfg(test)]
mod tests;
