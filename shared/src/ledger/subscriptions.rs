//! Subscriptions: what customers agreed to pay, again and again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Entity,
    counter::Tally,
    money::Currency,
    policy::{self, State},
};
use crate::{
    FieldError,
    fields::{self, Fields, label, minor_units, one_of, past, timestamp},
    store::key::{Book, Kind},
    word::words,
};

/// Items of a subscription at most.
const ITEMS_MAX: usize = 100;
/// Discounts of a subscription at most. Each can end on a day of its own, whose counters must fit
/// into the subscription's transaction.
const DISCOUNTS_MAX: usize = 20;
/// Units of an item, and intervals of a period, at most.
const QUANTITY_MAX: u64 = 1_000_000;
/// Intervals of a period at most.
const INTERVAL_COUNT_MAX: u64 = 1_000;

words! {
    /// How a subscription stands; the words are Stripe's.
    SubscriptionStatus {
        /// Paid for.
        Active = "active",
        /// The last payment failed and is tried again.
        PastDue = "past_due",
        /// Free of charge for a while.
        Trialing = "trialing",
        /// Waits for its first payment.
        Incomplete = "incomplete",
        /// … which never came.
        IncompleteExpired = "incomplete_expired",
        /// Payments failed and are given up.
        Unpaid = "unpaid",
        /// Interrupted.
        Paused = "paused",
        /// Ended.
        Canceled = "canceled",
    }
}

words! {
    /// What a period is counted in.
    Interval {
        /// Months, twelve a year.
        Month = "month",
        /// Years.
        Year = "year",
        /// Weeks, 52 a year.
        Week = "week",
        /// Days, 365 a year.
        Day = "day",
    }
}

words! {
    /// What an item's price is multiplied with.
    UsageType {
        /// Its quantity, agreed before.
        Licensed = "licensed",
        /// What was used, known after.
        Metered = "metered",
    }
}

words! {
    /// For how long a discount holds.
    DiscountDuration {
        /// As long as the subscription.
        Forever = "forever",
        /// One payment.
        Once = "once",
        /// Some months.
        Repeating = "repeating",
    }
}

/// A subscription, as partners tell of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The partner's own id of it.
    pub id: String,
    /// Who pays.
    pub customer: String,
    /// What it is sold as.
    pub plan: String,
    /// How it stood at `updated_at`.
    pub status: SubscriptionStatus,
    /// What all its amounts are counted in.
    pub currency: Currency,
    /// What is paid for.
    pub items: Vec<SubscriptionItem>,
    /// What is deducted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<Discount>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When its trial ends or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_ends_at: Option<DateTime<Utc>>,
    /// When it ends or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canceled_at: Option<DateTime<Utc>>,
    /// When all this was so.
    pub updated_at: DateTime<Utc>,
}

/// One price of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionItem {
    /// Minor units for one unit and one period.
    pub unit_amount: i64,
    /// Units.
    pub quantity: i64,
    /// What the period is counted in.
    pub interval: Interval,
    /// How many of them make the period.
    pub interval_count: i64,
    /// What the price is multiplied with.
    pub usage_type: UsageType,
}

/// A deduction from a subscription's price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discount {
    /// How much.
    #[serde(flatten)]
    pub off: Off,
    /// For how long.
    pub duration: DiscountDuration,
    /// When it ends or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
}

/// How much a discount deducts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Off {
    /// A part of the price, in millionths: 125 000 is 12.5 %.
    #[serde(rename = "off_ppm")]
    Ppm(i64),
    /// Minor units a period.
    #[serde(rename = "off_amount")]
    Amount(i64),
}

impl Entity for Subscription {
    const KIND: Kind = Kind::Subscription;
    const BOOK: Book = Book::Revenue;
    const LABEL: &str = "plan";
    const TURNS: bool = true;

    /// Reads one item of a call; `path` is where it stands there.
    fn parse(path: &str, item: Value, now: DateTime<Utc>) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::of(path, item)?;
        let subscription = Self {
            id: fields.required("id", fields::id),
            customer: fields.required("customer", fields::id),
            plan: fields.required("plan", label),
            status: fields.required("status", one_of(SubscriptionStatus::WORDS)),
            currency: fields.required("currency", Currency::field),
            items: fields.list("items", 1, ITEMS_MAX, SubscriptionItem::parse),
            discounts: fields.list("discounts", 0, DISCOUNTS_MAX, Discount::parse),
            started_at: fields.required("started_at", past(now)),
            trial_ends_at: fields.optional("trial_ends_at", timestamp),
            canceled_at: fields.optional("canceled_at", timestamp),
            updated_at: fields.required("updated_at", past(now)),
        };
        fields.finish()?;
        Ok(subscription)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn updated_at(&self) -> DateTime<Utc> {
        self.updated_at
    }

    fn began_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    fn turns(&self) -> Vec<DateTime<Utc>> {
        policy::breakpoints(self)
    }

    fn tallies(&self, at: DateTime<Utc>) -> Vec<(Tally<'_>, i128)> {
        let Some(State { status, priced, monthly }) = policy::state(self, at) else { return Vec::new() };
        let counts = [Tally::Subscriptions(status, priced), Tally::Planned(status, priced, &self.plan)];
        let monthly = monthly
            .into_iter()
            .map(|(component, value)| (Tally::Monthly(self.currency, status, component), value));
        counts.map(|tally| (tally, 1)).into_iter().chain(monthly).collect()
    }

    /// No list shows them by time.
    fn listed_at(&self) -> Option<DateTime<Utc>> {
        None
    }
}

impl SubscriptionItem {
    fn parse(path: &str, item: Value) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::of(path, item)?;
        let count = |min, max| move |value: &Value| fields::integer(min, max)(value).map(u64::cast_signed);
        let item = Self {
            unit_amount: fields.required("unit_amount", minor_units),
            quantity: fields.optional("quantity", count(0, QUANTITY_MAX)).unwrap_or(1),
            interval: fields.required("interval", one_of(Interval::WORDS)),
            interval_count: fields.optional("interval_count", count(1, INTERVAL_COUNT_MAX)).unwrap_or(1),
            usage_type: fields.optional("usage_type", one_of(UsageType::WORDS)).unwrap_or_default(),
        };
        fields.finish()?;
        Ok(item)
    }
}

impl Discount {
    fn parse(path: &str, discount: Value) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::of(path, discount)?;
        let percent = fields.optional("percent_off", percent_as_ppm);
        let amount = fields.optional("amount_off", minor_units);
        let off = match (percent, amount) {
            (Some(ppm), None) => Off::Ppm(ppm),
            (None, Some(amount)) => Off::Amount(amount),
            (Some(_), Some(_)) => {
                fields.refuse("amount_off", "must not stand beside `percent_off`");
                Off::Amount(0)
            }
            (None, None) => {
                if fields.is_good("percent_off") && fields.is_good("amount_off") {
                    fields.refuse("percent_off", "is required, or `amount_off`");
                }
                Off::Amount(0)
            }
        };
        let discount = Self {
            off,
            duration: fields.required("duration", one_of(DiscountDuration::WORDS)),
            ends_at: fields.optional("ends_at", timestamp),
        };
        fields.finish()?;
        Ok(discount)
    }
}

/// A percentage above 0 and up to 100 with at most four decimals, in millionths of the whole.
fn percent_as_ppm(value: &Value) -> Result<i64, String> {
    let ppm = |text: &str| -> Option<i64> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let decimals = decimals.trim_end_matches('0');
        let digits = (decimals.len() <= 4).then(|| format!("{whole}{decimals:0<4}"))?;
        digits.parse().ok().filter(|ppm| (1..=1_000_000).contains(ppm))
    };
    let number = value.as_number().map(ToString::to_string);
    number
        .and_then(|text| ppm(&text))
        .ok_or_else(|| "must be a number above 0 and up to 100, with at most four decimals".to_owned())
}
