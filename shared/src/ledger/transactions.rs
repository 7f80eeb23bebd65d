//! Transactions: what customers paid, got back, or failed to pay.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Entity,
    counter::{Deltas, Row, Tally, UNASSIGNED},
    money::Currency,
};
use crate::{
    FieldError,
    fields::{self, Fields, label, minor_units, one_of, past},
    store::key::{Book, Counter, Kind},
    word::words,
};

words! {
    /// What a transaction paid for.
    TransactionKind {
        /// A period of a subscription.
        Subscription = "subscription",
        /// A one-time offer that leads to more.
        Tripwire = "tripwire",
        /// Anything else.
        Other = "other",
    }
}

words! {
    /// Whether the money came.
    TransactionStatus {
        /// It did.
        Succeeded = "succeeded",
        /// It did not; nothing of the amount counts.
        Failed = "failed",
    }
}

/// A transaction, as partners tell of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The partner's own id of it.
    pub id: String,
    /// What it paid for.
    pub kind: TransactionKind,
    /// The plan of the subscription that it paid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Who paid.
    pub customer: String,
    /// Minor units that were captured, or, where it failed, asked for.
    pub amount: i64,
    /// Minor units of them that were given back.
    pub refunded: i64,
    /// What both are counted in.
    pub currency: Currency,
    /// Whether the money came.
    pub status: TransactionStatus,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When all this was so.
    pub updated_at: DateTime<Utc>,
}

impl Entity for Transaction {
    const KIND: Kind = Kind::Transaction;
    const BOOK: Book = Book::Revenue;
    const LABEL: &str = "plan";

    /// Reads one item of a call; `path` is where it stands there.
    fn parse(path: &str, item: Value, now: DateTime<Utc>) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::of(path, item)?;
        let transaction = Self {
            id: fields.required("id", fields::id),
            kind: fields.required("kind", one_of(TransactionKind::WORDS)),
            plan: fields.optional("plan", label),
            customer: fields.required("customer", fields::id),
            amount: fields.required("amount", minor_units),
            refunded: fields.optional("refunded", minor_units).unwrap_or_default(),
            currency: fields.required("currency", Currency::field),
            status: fields.required("status", one_of(TransactionStatus::WORDS)),
            occurred_at: fields.required("occurred_at", past(now)),
            updated_at: fields.required("updated_at", past(now)),
        };
        if transaction.refunded > transaction.amount && fields.is_good("amount") {
            fields.refuse("refunded", "must be at most `amount`");
        }
        fields.finish()?;
        Ok(transaction)
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
        let currency = self.currency;
        if self.status == TransactionStatus::Failed {
            return vec![(Tally::Failed(currency), 1)];
        }
        let net = self.net().into();
        let mut tallies = vec![
            (Tally::Succeeded(currency), 1),
            (Tally::Net(currency, self.kind), net),
            (Tally::Refunded(currency), self.refunded.into()),
        ];
        if self.kind == TransactionKind::Subscription {
            tallies.push((Tally::PlanNet(currency, self.plan.as_deref().unwrap_or(UNASSIGNED)), net));
        }
        tallies
    }

    fn book(&self, day: NaiveDate, times: i128, deltas: &mut Deltas) {
        for (tally, by) in self.tallies(self.occurred_at) {
            deltas.add(&Row::Total(Self::BOOK, Counter::Day(day)), tally.to_string(), by * times);
        }
    }
}

impl Transaction {
    /// Minor units that were captured and not given back.
    #[must_use]
    pub fn net(&self) -> i64 {
        match self.status {
            TransactionStatus::Succeeded => self.amount - self.refunded,
            TransactionStatus::Failed => 0,
        }
    }
}
