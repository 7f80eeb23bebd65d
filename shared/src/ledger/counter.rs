//! Counters: rows of numbers that only ever move by differences.
//!
//! A counter row holds *tallies*. In the row of the sum they count what is so now, in the row of
//! a day what has its own day then (what joined, was paid, was earned). With [`moved`] before
//! their names, in rows of days and months, they count what changed then: all movements up to a
//! day add up to the tally as of its end.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use chrono::NaiveDate;

use super::{
    money::Currency,
    policy::{Component, Policy, Priced},
    subscriptions::SubscriptionStatus,
    transactions::TransactionKind,
};
use crate::store::key::{Book, Counter};

/// What a number in a counter row counts. Amounts are minor units unless something else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tally<'a> {
    /// Users.
    Users,
    /// … by role.
    Role(&'a str),
    /// … by status.
    Status(&'a str),

    /// Net amount of transactions.
    Net(Currency, TransactionKind),
    /// … of those for subscriptions, by plan; those that name none are [`UNASSIGNED`].
    PlanNet(Currency, &'a str),
    /// What of it was given back.
    Refunded(Currency),
    /// Transactions that succeeded.
    Succeeded(Currency),
    /// Transactions that failed.
    Failed(Currency),

    /// Subscriptions.
    Subscriptions(SubscriptionStatus, Priced),
    /// … by plan.
    Planned(SubscriptionStatus, Priced, &'a str),
    /// A component of what they bring in a month, in millionths of a minor unit.
    Monthly(Currency, SubscriptionStatus, Component),
    /// Subscriptions that became active, as a policy says; only in movements, and never taken back.
    New(Policy),
    /// Subscriptions that ceased to be active; likewise.
    Churned(Policy),

    /// Amount of commissions.
    Earned(Currency),
    /// Commissions.
    Commissions(Currency),
    /// Amount of commissions by tier.
    TierEarned(Currency, &'a str),
    /// Commissions by tier.
    TierCommissions(Currency, &'a str),

    /// Sum, modulo 2^96, of the digests of the versions that are in force; only in movements.
    Digest,
}

/// The plan of transactions that name none.
pub(crate) const UNASSIGNED: &str = "unassigned";

/// The name of the attribute. Words, labels and codes contain no `:`.
impl fmt::Display for Tally<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Users => write!(f, "total"),
            Self::Role(role) => write!(f, "role:{role}"),
            Self::Status(status) => write!(f, "status:{status}"),
            Self::Net(currency, kind) => write!(f, "net:{currency}:{}", kind.word()),
            Self::PlanNet(currency, plan) => write!(f, "plan:{currency}:{plan}"),
            Self::Refunded(currency) => write!(f, "refunded:{currency}"),
            Self::Succeeded(currency) => write!(f, "ok:{currency}"),
            Self::Failed(currency) => write!(f, "failed:{currency}"),
            Self::Subscriptions(status, priced) => write!(f, "subs:{}:{}", status.word(), priced.word()),
            Self::Planned(status, priced, plan) => {
                write!(f, "planned:{}:{}:{plan}", status.word(), priced.word())
            }
            Self::Monthly(currency, status, component) => {
                write!(f, "mrr:{currency}:{}:{}", status.word(), component.word())
            }
            Self::New(policy) => write!(f, "new:{}", policy.word()),
            Self::Churned(policy) => write!(f, "churned:{}", policy.word()),
            Self::Earned(currency) => write!(f, "total:{currency}"),
            Self::Commissions(currency) => write!(f, "count:{currency}"),
            Self::TierEarned(currency, tier) => write!(f, "tier:{currency}:{tier}"),
            Self::TierCommissions(currency, tier) => write!(f, "tiers:{currency}:{tier}"),
            Self::Digest => write!(f, "digest"),
        }
    }
}

impl<'a> Tally<'a> {
    /// The tally of this name.
    pub(crate) fn of(name: &'a str) -> Option<Self> {
        let mut parts = name.split(':');
        let kind = parts.next()?;
        let parts: Vec<_> = parts.collect();
        let status = SubscriptionStatus::of;
        Some(match (kind, parts.as_slice()) {
            ("total", []) => Self::Users,
            ("role", [role]) => Self::Role(role),
            ("status", [status]) => Self::Status(status),
            ("net", [currency, kind]) => Self::Net(currency.parse().ok()?, TransactionKind::of(kind)?),
            ("plan", [currency, plan]) => Self::PlanNet(currency.parse().ok()?, plan),
            ("refunded", [currency]) => Self::Refunded(currency.parse().ok()?),
            ("ok", [currency]) => Self::Succeeded(currency.parse().ok()?),
            ("failed", [currency]) => Self::Failed(currency.parse().ok()?),
            ("subs", [state, priced]) => Self::Subscriptions(status(state)?, Priced::of(priced)?),
            ("planned", [state, priced, plan]) => Self::Planned(status(state)?, Priced::of(priced)?, plan),
            ("mrr", [currency, state, component]) => {
                Self::Monthly(currency.parse().ok()?, status(state)?, Component::of(component)?)
            }
            ("new", [policy]) => Self::New(Policy::of(policy)?),
            ("churned", [policy]) => Self::Churned(Policy::of(policy)?),
            ("total", [currency]) => Self::Earned(currency.parse().ok()?),
            ("count", [currency]) => Self::Commissions(currency.parse().ok()?),
            ("tier", [currency, tier]) => Self::TierEarned(currency.parse().ok()?, tier),
            ("tiers", [currency, tier]) => Self::TierCommissions(currency.parse().ok()?, tier),
            ("digest", []) => Self::Digest,
            _ => return None,
        })
    }
}

/// Before the names of movements.
const MOVED: &str = "m:";

/// The name of a tally's movements.
pub(crate) fn moved(tally: Tally) -> String {
    format!("{MOVED}{tally}")
}

/// The tally whose movements have this name.
pub(crate) fn of_moved(name: &str) -> Option<Tally<'_>> {
    Tally::of(name.strip_prefix(MOVED)?)
}

/// What a performer earned, in minor units: the sort key of the index of performers.
pub(crate) const PERFORMER_EARNED: &str = "gsi2sk";
/// … on a day.
pub(crate) const PERFORMER_DAY_EARNED: &str = "total";
/// How many commissions it was, in both rows.
pub(crate) const PERFORMER_COUNT: &str = "count";

/// A row that counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Totals of a book, in one of its shards.
    Total(Book, Counter),
    /// What a performer earned in a currency.
    Performer(Currency, String),
    /// … of what was earned on a day.
    PerformerDay(NaiveDate, Currency, String),
}

impl Row {
    /// Whose counters it holds.
    pub(super) fn book(&self) -> Book {
        match self {
            Self::Total(book, _) => *book,
            Self::Performer(..) | Self::PerformerDay(..) => Book::Commissions,
        }
    }
}

/// As its key spells it, without the shard.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total(book, Counter::Sum) => write!(f, "{}#SUM", book.name()),
            Self::Total(book, Counter::Day(day)) => write!(f, "{}#DAY#{day}", book.name()),
            Self::Total(book, Counter::Month(first)) => {
                write!(f, "{}#MONTH#{}", book.name(), first.format("%Y-%m"))
            }
            Self::Performer(currency, username) => write!(f, "PERFORMER#{currency}#{username}"),
            Self::PerformerDay(day, currency, username) => {
                write!(f, "PERFORMERDAY#{day}#{currency}#{username}")
            }
        }
    }
}

/// Attributes of one row that a transaction moves at most: DynamoDB takes expressions of 4 KB.
pub(super) const ATTRIBUTES_MAX: usize = 250;

/// How far counters move: by row and attribute. Adding deltas of several changes is what one
/// transaction applies for all of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Deltas(BTreeMap<Row, BTreeMap<String, i128>>);

impl Deltas {
    /// Moves a counter. What comes back to where it was is left away.
    pub(super) fn add(&mut self, row: &Row, attribute: String, by: i128) {
        if by == 0 {
            return;
        }
        if !self.0.contains_key(row) {
            self.0.insert(row.clone(), BTreeMap::new());
        }
        if let Some(attributes) = self.0.get_mut(row) {
            match attributes.entry(attribute) {
                Entry::Vacant(vacant) => {
                    vacant.insert(by);
                }
                Entry::Occupied(mut occupied) => {
                    *occupied.get_mut() += by;
                    if *occupied.get() == 0 {
                        occupied.remove();
                    }
                }
            }
            if attributes.is_empty() {
                self.0.remove(row);
            }
        }
    }

    /// Adds what another change moves, `times` times.
    pub(super) fn merge(&mut self, other: Self, times: i128) {
        for (row, attributes) in other.0 {
            for (attribute, by) in attributes {
                self.add(&row, attribute, by * times);
            }
        }
    }

    /// How many rows move with `other` beside, at most; `None` if that is too much for one of
    /// them.
    pub(super) fn rows_with(&self, other: &Self) -> Option<usize> {
        let mut rows = self.0.len();
        for (row, attributes) in &other.0 {
            match self.0.get(row) {
                None => rows += 1,
                Some(own) => {
                    let more = attributes.keys().filter(|name| !own.contains_key(*name)).count();
                    if own.len() + more > ATTRIBUTES_MAX {
                        return None;
                    }
                }
            }
        }
        Some(rows)
    }

    /// How far one counter moves.
    pub(super) fn get(&self, row: &Row, attribute: &str) -> i128 {
        self.0.get(row).and_then(|attributes| attributes.get(attribute)).copied().unwrap_or_default()
    }

    /// How many rows move.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Leaves away the rows that `keeps` does not pick.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Row) -> bool) {
        self.0.retain(|row, _| keeps(row));
    }

    /// Names of the tallies that move in totals; those of their movements are the same.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let totals = self.0.iter().filter(|(row, _)| matches!(row, Row::Total(..)));
        let attributes = totals.flat_map(|(_, attributes)| attributes.keys());
        attributes.map(|name| name.strip_prefix(MOVED).unwrap_or(name))
    }

    /// The rows that move, each with its attributes.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Row, &BTreeMap<String, i128>)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_it_counts() {
        let usd = Currency::default();
        let (status, priced) = (SubscriptionStatus::PastDue, Priced::Paid);
        let tallies = [
            Tally::Users,
            Tally::Role("admin"),
            Tally::Status("active"),
            Tally::Net(usd, TransactionKind::Tripwire),
            Tally::PlanNet(usd, "pro.2"),
            Tally::Refunded(usd),
            Tally::Succeeded(usd),
            Tally::Failed(usd),
            Tally::Subscriptions(status, priced),
            Tally::Planned(status, Priced::Free, "pro"),
            Tally::Monthly(usd, status, Component::Once),
            Tally::New(Policy::Default),
            Tally::Churned(Policy::ProfitWell),
            Tally::Earned(usd),
            Tally::Commissions(usd),
            Tally::TierEarned(usd, "gold"),
            Tally::TierCommissions(usd, "gold"),
            Tally::Digest,
        ];
        for tally in tallies {
            let name = tally.to_string();
            assert_eq!(Tally::of(&name), Some(tally), "{name}");
            assert_eq!(of_moved(&moved(tally)), Some(tally), "{name}");
            assert_eq!(of_moved(&name), None, "{name}");
        }
        for name in ["", "pk", "12", "net:USD", "net:XYZ:other", "subs:gone:paid", "m:new"] {
            assert_eq!(Tally::of(name), None, "{name}");
        }
    }
}
