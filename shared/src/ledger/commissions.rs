//! Commissions: what affiliates earn by transactions.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::money::Currency;
use crate::{
    FieldError,
    fields::{self, Fields, label, minor_units, past, text},
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

impl Commission {
    /// Reads one item of a call; `path` is where it stands there.
    pub fn parse(path: &str, item: Value, now: DateTime<Utc>) -> Result<Self, Vec<FieldError>> {
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
}
