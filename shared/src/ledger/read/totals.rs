//! What counter rows say, added up.

use std::collections::BTreeMap;

use super::super::{
    counter::{Tally, of_moved},
    money::Currency,
    policy::{Policy, Term},
};
use crate::store::{Item, number};

/// Tallies, by their names.
#[derive(Debug, Default, Clone)]
pub(super) struct Totals(BTreeMap<String, i128>);

impl Totals {
    /// Adds what a row counts: what is so, or had its day then.
    pub(super) fn add_tallies(&mut self, row: &Item) {
        for name in row.keys().filter(|name| Tally::of(name).is_some()) {
            *self.0.entry(name.clone()).or_default() += number::<i128>(row, name);
        }
    }

    /// Adds what a row says that changed then.
    pub(super) fn add_movements(&mut self, row: &Item) {
        for name in row.keys() {
            if let Some(tally) = of_moved(name) {
                *self.0.entry(tally.to_string()).or_default() += number::<i128>(row, name);
            }
        }
    }

    /// Adds other totals.
    pub(super) fn merge(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            *self.0.entry(name.clone()).or_default() += value;
        }
    }

    /// Every tally that is not zero, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Tally<'_>, i128)> {
        self.0
            .iter()
            .filter(|(_, value)| **value != 0)
            .filter_map(|(name, value)| Some((Tally::of(name)?, *value)))
    }

    /// One tally.
    pub(super) fn get(&self, tally: Tally) -> i128 {
        self.0.get(&tally.to_string()).copied().unwrap_or_default()
    }

    /// All tallies that `counts` picks, together.
    pub(super) fn sum(&self, counts: impl Fn(Tally) -> bool) -> i128 {
        self.iter().filter(|(tally, _)| counts(*tally)).map(|(_, value)| value).sum()
    }

    /// MRR in millionths of a minor unit.
    pub(super) fn monthly(&self, policy: Policy, currency: Currency) -> i128 {
        self.sum(|tally| match tally {
            Tally::Monthly(of, status, component) => {
                of == currency && policy.counts(Term::Monthly(status, component))
            }
            _ => false,
        })
    }

    /// Active subscriptions.
    pub(super) fn active(&self, policy: Policy) -> u64 {
        count(self.sum(|tally| match tally {
            Tally::Subscriptions(status, priced) => policy.counts(Term::Active(status, priced)),
            _ => false,
        }))
    }
}

/// A counter of things, which are never fewer than none.
pub(super) fn count(sum: i128) -> u64 {
    u64::try_from(sum).unwrap_or_default()
}
