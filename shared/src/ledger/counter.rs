//! Counters: rows of numbers that only ever move by differences.

use std::collections::BTreeMap;

use crate::store::key::Counter;

/// How far counters move: by counter and attribute. Adding deltas of several changes is what one
/// transaction applies for all of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Deltas(BTreeMap<(Counter, String), i64>);

impl Deltas {
    /// Moves a counter.
    pub(super) fn add(&mut self, counter: Counter, attribute: impl Into<String>, by: i64) {
        *self.0.entry((counter, attribute.into())).or_default() += by;
    }

    /// Adds what another change moves.
    pub(super) fn merge(&mut self, other: Self) {
        for ((counter, attribute), by) in other.0 {
            self.add(counter, attribute, by);
        }
    }

    /// The rows that move, each with its attributes. What cancels out is left away.
    pub(super) fn rows(&self) -> BTreeMap<Counter, Vec<(&str, i64)>> {
        let mut rows = BTreeMap::<_, Vec<_>>::new();
        for ((counter, attribute), by) in self.0.iter().filter(|(_, by)| **by != 0) {
            rows.entry(*counter).or_default().push((attribute.as_str(), *by));
        }
        rows
    }
}
