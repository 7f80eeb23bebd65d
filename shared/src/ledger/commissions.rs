//! Commissions: what affiliates earn by transactions.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Entity,
    counter::{Deltas, PERFORMER_COUNT, PERFORMER_DAY_EARNED, PERFORMER_EARNED, Row, Tally},
    money::Currency,
};
use crate::{
    FieldError,
    fields::{self, Fields, label, minor_units, past, text},
    store::key::{Book, Counter, Kind},
};

/// A commission, as partners tell of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commission {
    /// The partner's own id of it.
    pub id: String,
    /// The affiliate who earns it, by the name they show.
    pub username: String,
    /// The affiliate's tier when they earned it.
    pub tier: String,
    /// Minor units.
    pub amount: i64,
    /// What they are counted in.
    pub currency: Currency,
    /// The transaction that it was earned by.
    pub transaction: String,
    /// When it was earned.
    pub occurred_at: DateTime<Utc>,
    /// When all this was so.
    pub updated_at: DateTime<Utc>,
}

/// Tells commissions apart; whom they are paid to is personal and stays out of logs.
impl fmt::Debug for Commission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, tier, amount, currency, occurred_at, updated_at, .. } = self;
        write!(f, "Commission({id} {tier} {amount} {currency} {occurred_at} {updated_at})")
    }
}

impl Entity for Commission {
    const KIND: Kind = Kind::Commission;
    const BOOK: Book = Book::Commissions;
    const LABEL: &str = "tier";

    /// Reads one item of a call; `path` is where it stands there.
    fn parse(path: &str, item: Value, now: DateTime<Utc>) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::of(path, item)?;
        let commission = Self {
            id: fields.required("id", fields::id),
            username: fields.required("username", text(1, 100)),
            tier: fields.required("tier", label),
            amount: fields.required("amount", minor_units),
            currency: fields.required("currency", Currency::field),
            transaction: fields.required("transaction", fields::id),
            occurred_at: fields.required("occurred_at", past(now)),
            updated_at: fields.required("updated_at", past(now)),
        };
        fields.finish()?;
        Ok(commission)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn updated_at(&self) -> DateTime<Utc> {
        self.updated_at
    }

    fn began_at(&self) -> DateTime<Utc> {
        self.occurred_at
    }

    fn tallies(&self, _: DateTime<Utc>) -> Vec<(Tally<'_>, i128)> {
        let amount = self.amount.into();
        vec![
            (Tally::Earned(self.currency), amount),
            (Tally::Commissions(self.currency), 1),
            (Tally::TierEarned(self.currency, &self.tier), amount),
            (Tally::TierCommissions(self.currency, &self.tier), 1),
        ]
    }

    fn book(&self, day: NaiveDate, times: i128, deltas: &mut Deltas) {
        for (tally, by) in self.tallies(self.occurred_at) {
            deltas.add(&Row::Total(Self::BOOK, Counter::Day(day)), tally.to_string(), by * times);
        }
        let amount = i128::from(self.amount) * times;
        let ever = Row::Performer(self.currency, self.username.clone());
        deltas.add(&ever, PERFORMER_EARNED.to_owned(), amount);
        deltas.add(&ever, PERFORMER_COUNT.to_owned(), times);
        let on_day = Row::PerformerDay(day, self.currency, self.username.clone());
        deltas.add(&on_day, PERFORMER_DAY_EARNED.to_owned(), amount);
        deltas.add(&on_day, PERFORMER_COUNT.to_owned(), times);
    }
}
