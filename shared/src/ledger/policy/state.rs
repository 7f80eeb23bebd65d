//! How a subscription stands at one moment, and what it brings in a month then.

use chrono::{DateTime, Utc};
use num_bigint::BigInt;
use num_rational::BigRational;

use super::{Component, Priced};
use crate::ledger::subscriptions::{
    Discount, DiscountDuration, Interval, Off, Subscription, SubscriptionItem, SubscriptionStatus as Status,
    UsageType,
};

/// Millionths of a minor unit.
const MICRO: i64 = 1_000_000;
/// Millionths, which a discount's part of the price is counted in.
const WHOLE_PPM: i64 = 1_000_000;

/// A subscription at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// How it stands then.
    pub status: Status,
    /// Whether it has something to pay for.
    pub priced: Priced,
    /// What it brings in a month, in millionths of a minor unit; only what is not zero. Nothing
    /// once it has ended.
    pub monthly: Vec<(Component, i128)>,
}

/// The subscription as this version tells it, at a moment; before its start there is none.
///
/// - A trial or a discount that has an end holds until then, and a subscription until it is
///   cancelled: the version tells these ahead, and what was before them in hindsight. One that is
///   cancelled without a time was so when that was told.
/// - Discounts that last longest are deducted first: forever, repeating, once; those of one
///   duration in the order they stand in, each from what the ones before left. So each policy
///   deducts the first few of them, and what it leaves out changes nothing of the others.
/// - An amount off is deducted from every payment. They come as often as the shortest period
///   among the items with a price. It takes at most what is left.
/// - Each component is what one step deducts. Not the components are rounded but what is left
///   after each step, half to even: so they add up, and what any policy counts is the exact value
///   rounded once.
#[must_use]
pub fn state(subscription: &Subscription, at: DateTime<Utc>) -> Option<State> {
    if at < subscription.started_at {
        return None;
    }
    let status = status(subscription, at);
    if matches!(status, Status::Canceled | Status::IncompleteExpired) {
        return Some(State { status, priced: Priced::Free, monthly: Vec::new() });
    }
    let paid: Vec<_> = subscription.items.iter().filter(|item| is_paid(item)).collect();
    let gross: BigRational = paid.iter().map(|item| per_month(&price(item), item)).sum();
    let payments = paid.iter().max_by_key(|item| per_month(&BigRational::from(BigInt::from(1)), item));
    let mut left = gross;
    let mut told = rounded(&left);
    let mut monthly = vec![(Component::Gross, told)];
    for (component, duration) in [
        (Component::Forever, DiscountDuration::Forever),
        (Component::Repeating, DiscountDuration::Repeating),
        (Component::Once, DiscountDuration::Once),
    ] {
        let holds = |discount: &&Discount| {
            discount.duration == duration && discount.ends_at.is_none_or(|end| at < end)
        };
        for discount in subscription.discounts.iter().filter(holds) {
            let off = match (discount.off, payments) {
                (Off::Ppm(ppm), _) => &left * fraction(ppm, WHOLE_PPM),
                (Off::Amount(amount), Some(item)) => per_month(&fraction(amount, 1), item),
                (Off::Amount(_), None) => fraction(0, 1),
            };
            left = (left - off).max(fraction(0, 1));
        }
        let next = rounded(&left);
        monthly.push((component, next - told));
        told = next;
    }
    let priced = match (paid.is_empty(), left > fraction(0, 1)) {
        (true, _) => Priced::Free,
        (false, true) => Priced::Paid,
        (false, false) => Priced::Discounted,
    };
    monthly.retain(|(_, value)| *value != 0);
    Some(State { status, priced, monthly })
}

/// The moments at which time alone may change the state of this version, in order; the first is
/// its start.
#[must_use]
pub fn breakpoints(subscription: &Subscription) -> Vec<DateTime<Utc>> {
    let start = subscription.started_at;
    let end = ended_at(subscription);
    let discounts = subscription.discounts.iter().filter_map(|discount| discount.ends_at);
    let mut moments: Vec<_> = subscription
        .trial_ends_at
        .into_iter()
        .chain(discounts)
        .chain(end)
        .filter(|moment| start < *moment && end.is_none_or(|end| *moment <= end))
        .chain([start])
        .collect();
    moments.sort_unstable();
    moments.dedup();
    moments
}

fn ended_at(subscription: &Subscription) -> Option<DateTime<Utc>> {
    let told = (subscription.status == Status::Canceled).then_some(subscription.updated_at);
    subscription.canceled_at.or(told)
}

fn status(subscription: &Subscription, at: DateTime<Utc>) -> Status {
    if ended_at(subscription).is_some_and(|end| end <= at) {
        return Status::Canceled;
    }
    let on_trial = subscription.trial_ends_at.map(|end| at < end);
    match (subscription.status, on_trial) {
        (Status::Active | Status::PastDue | Status::Trialing | Status::Canceled, Some(true)) => {
            Status::Trialing
        }
        (Status::Trialing, Some(false)) | (Status::Canceled, _) => Status::Active,
        (status, _) => status,
    }
}

fn is_paid(item: &SubscriptionItem) -> bool {
    item.usage_type == UsageType::Licensed && item.unit_amount > 0 && item.quantity > 0
}

fn price(item: &SubscriptionItem) -> BigRational {
    fraction(item.unit_amount, 1) * fraction(item.quantity, 1)
}

/// What is paid once a period of this item, as paid in a month.
fn per_month(amount: &BigRational, item: &SubscriptionItem) -> BigRational {
    let ratio = match item.interval {
        Interval::Month => fraction(1, item.interval_count),
        Interval::Year => fraction(1, 12 * item.interval_count),
        Interval::Week => fraction(52, 12 * item.interval_count),
        Interval::Day => fraction(365, 12 * item.interval_count),
    };
    amount * ratio
}

fn fraction(part: i64, whole: i64) -> BigRational {
    BigRational::new(part.into(), whole.into())
}

/// In millionths, half to even.
fn rounded(value: &BigRational) -> i128 {
    let value = value * fraction(MICRO, 1);
    let floor = value.floor();
    let above = &value - &floor;
    let half = fraction(1, 2);
    let floor = floor.to_integer();
    let up = above > half || (above == half && &floor % 2 != BigInt::from(0));
    // Within the bounds of items and discounts there are no larger ones.
    i128::try_from(floor).unwrap_or(i128::MAX) + i128::from(up)
}
