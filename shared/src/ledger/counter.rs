//! Counters: rows of numbers that only ever move by differences.

use std::collections::BTreeMap;

use chrono::NaiveDate;

/// Which counter row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// The days' rows, in the workspace's time zone.
    Day(NaiveDate),
    /// Everything.
    Sum,
}

/// How far counters move: by row and attribute. Adding deltas of several changes is what one
/// transaction applies for all of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Deltas(BTreeMap<(Row, String), i64>);

impl Deltas {
    /// Moves a counter.
    pub(super) fn add(&mut self, row: Row, attribute: impl Into<String>, by: i64) {
        *self.0.entry((row, attribute.into())).or_default() += by;
    }

    /// Adds what another change moves.
    pub(super) fn merge(&mut self, other: Self) {
        for ((row, attribute), by) in other.0 {
            self.add(row, attribute, by);
        }
    }

    /// The rows that move, each with its attributes. What cancels out is left away.
    pub(super) fn rows(&self) -> BTreeMap<Row, Vec<(&str, i64)>> {
        let mut rows = BTreeMap::<_, Vec<_>>::new();
        for ((row, attribute), by) in self.0.iter().filter(|(_, by)| **by != 0) {
            rows.entry(*row).or_default().push((attribute.as_str(), *by));
        }
        rows
    }
}
