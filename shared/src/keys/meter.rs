//! What is counted of a key: one row a UTC day, which every call updates once.
//!
//! | Attribute        | Meaning |
//! |------------------|---------|
//! | `calls`          | admitted calls of the day |
//! | `r:<route>`      | … by route |
//! | `h<hour>`        | … by hour, which is what the limit looks at |
//! | `h<hour>:<route>`| … by hour, of a route with a limit of its own |
//! | `d:<cause>`      | refused calls by cause |
//! | `last_used`      | the newest admitted call, seconds since 1970 |
//! | `living`         | secrets of lower generations are refused, whatever a gateway remembers |
//!
//! A row stays below 1 kB, so that a call costs one write unit. Revocation marks today's row and
//! tomorrow's; by the day after, no gateway remembers an older answer (an hour at most).

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Timelike, Utc};
use serde::Serialize;
use tokio::time::sleep;

use super::{Call, KeyCaller};
use crate::{
    Error,
    error::Quota,
    store::{self, Item, Table, key::Key, n, number, unavailable},
};

/// Rows outlive a year's comparison.
const METER_DAYS: u64 = 400;

/// Why a known key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Revoked,
    Expired,
    Permission,
    RateLimited,
}

impl Cause {
    pub(super) fn attribute(self) -> &'static str {
        match self {
            Self::Revoked => "d:revoked",
            Self::Expired => "d:expired",
            Self::Permission => "d:permission",
            Self::RateLimited => "d:rate_limited",
        }
    }
}

/// One day of a key.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct UsageOfDay {
    /// UTC.
    pub date: NaiveDate,
    /// Admitted calls.
    pub calls: u64,
    /// Admitted calls by route.
    pub routes: BTreeMap<String, u64>,
    /// Refused calls by cause.
    pub denials: BTreeMap<String, u64>,
    /// The newest admitted call.
    #[serde(skip)]
    pub last_used: Option<DateTime<Utc>>,
}

impl UsageOfDay {
    pub(super) fn read(item: &Item) -> Option<Self> {
        let date = item.get("sk")?.as_s().ok()?.strip_prefix("DAY#")?.parse().ok()?;
        let counts = |prefix: &str| -> BTreeMap<_, _> {
            item.keys()
                .filter_map(|name| Some((name.strip_prefix(prefix)?.to_owned(), number(item, name))))
                .collect()
        };
        let last_used = DateTime::from_timestamp(number(item, "last_used"), 0);
        Some(Self {
            date,
            calls: number(item, "calls"),
            routes: counts("r:"),
            denials: counts("d:"),
            last_used: last_used.filter(|time| *time > DateTime::UNIX_EPOCH),
        })
    }

    /// A row that only carries the mark of a revocation tells nothing.
    pub(super) fn tells_something(&self) -> bool {
        self.calls > 0 || !self.denials.is_empty()
    }
}

/// The days whose rows a revocation marks.
pub(super) fn marked_days(now: DateTime<Utc>) -> [NaiveDate; 2] {
    let today = now.date_naive();
    [today, today.checked_add_days(Days::new(1)).unwrap_or(today)]
}

/// The clock hour that limits count in, as attributes of the day's row.
pub(super) struct Hour {
    pub(super) all: String,
    pub(super) route: Option<String>,
    reset_seconds: u64,
}

impl Hour {
    pub(super) fn of(call: Call, now: DateTime<Utc>) -> Self {
        let all = format!("h{:02}", now.hour());
        let route = call.is_sync().then(|| format!("{all}:{}", call.name()));
        Self { all, route, reset_seconds: u64::from(3600 - now.minute() * 60 - now.second()) }
    }

    /// What is left, after a call was admitted and `counts` hold it, of the tighter limit.
    pub(super) fn quota(&self, caller: &KeyCaller, counts: &Item) -> Quota {
        let quota = |limit: u64, name: &str| Quota {
            limit,
            remaining: limit.saturating_sub(number(counts, name)),
            reset_seconds: self.reset_seconds,
        };
        let all = quota(caller.rate_limit, &self.all);
        match &self.route {
            Some(route) => {
                let route = quota(caller.sync_rate_limit, route);
                if route.remaining < all.remaining { route } else { all }
            }
            None => all,
        }
    }

    /// Why `row` did not admit a call, and what the caller is told.
    pub(super) fn refusal(&self, caller: &KeyCaller, call: Call, row: &Item) -> (Cause, Error) {
        if number::<u64>(row, "living") > caller.generation {
            return (Cause::Revoked, Error::Unauthenticated("the API key is revoked"));
        }
        let message = if number::<u64>(row, &self.all) >= caller.rate_limit {
            "the key's limit of calls an hour is reached".to_owned()
        } else {
            format!("the key's limit of {} calls an hour is reached", call.name())
        };
        (Cause::RateLimited, Error::RateLimited { message, quota: self.quota(caller, row) })
    }
}

/// When a day's row is forgotten, in seconds since 1970.
pub(super) fn end_of(day: NaiveDate) -> i64 {
    let end = day.checked_add_days(Days::new(METER_DAYS)).unwrap_or(day);
    end.and_time(NaiveTime::MIN).and_utc().timestamp()
}

/// The meters' rows.
pub(super) struct Meter {
    table: Table,
}

impl Meter {
    /// For [`Meter::count`] the table's client must not retry; see [`super::Admission::load`].
    pub(super) fn new(table: Table) -> Self {
        Self { table }
    }

    /// Counts a call on condition that its secret lives and the limits hold; else says which
    /// does not.
    pub(super) async fn count(
        &self,
        caller: &KeyCaller,
        call: Call,
        now: DateTime<Utc>,
    ) -> Result<Result<Quota, (Cause, Error)>, Error> {
        let hour = Hour::of(call, now);
        let mut counted =
            "SET last_used = :now, #ttl = :ttl ADD calls :one, #route :one, #hour :one".to_owned();
        let mut condition = "(attribute_not_exists(living) OR living <= :generation) \
                             AND (attribute_not_exists(#hour) OR #hour < :limit)"
            .to_owned();
        let day = now.date_naive();
        let mut request = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::meter(&caller.workspace, &caller.key_id, day).item()))
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_names("#route", format!("r:{}", call.name()))
            .expression_attribute_names("#hour", &hour.all)
            .expression_attribute_values(":now", n(now.timestamp()))
            .expression_attribute_values(":ttl", n(end_of(day)))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":generation", n(caller.generation))
            .expression_attribute_values(":limit", n(caller.rate_limit));
        if let Some(route) = &hour.route {
            counted += ", #hour_route :one";
            condition += " AND (attribute_not_exists(#hour_route) OR #hour_route < :route_limit)";
            request = request
                .expression_attribute_names("#hour_route", route)
                .expression_attribute_values(":route_limit", n(caller.sync_rate_limit));
        }
        let request = request
            .update_expression(counted)
            .condition_expression(condition)
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut pauses = store::backoff();
        loop {
            match request.clone().send().await.map_err(SdkError::into_service_error) {
                Ok(updated) => return Ok(Ok(hour.quota(caller, &updated.attributes.unwrap_or_default()))),
                Err(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let row = failed.item().cloned().unwrap_or_default();
                    return Ok(Err(hour.refusal(caller, call, &row)));
                }
                // These say that nothing was written, so another try counts nothing twice.
                Err(
                    error @ (UpdateItemError::TransactionConflictException(_)
                    | UpdateItemError::ProvisionedThroughputExceededException(_)
                    | UpdateItemError::RequestLimitExceeded(_)
                    | UpdateItemError::ThrottlingException(_)),
                ) => match pauses.next() {
                    Some(pause) => sleep(pause).await,
                    None => return Err(unavailable(error)),
                },
                Err(error) => return Err(unavailable(error)),
            }
        }
    }

    /// Counts a refusal. That the count fails must not change the refusal.
    pub(super) async fn count_denial(&self, caller: &KeyCaller, cause: Cause, now: DateTime<Utc>) {
        let day = now.date_naive();
        let request = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::meter(&caller.workspace, &caller.key_id, day).item()))
            .update_expression("SET #ttl = :ttl ADD #cause :one")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_names("#cause", cause.attribute())
            .expression_attribute_values(":ttl", n(end_of(day)))
            .expression_attribute_values(":one", n(1));
        if let Err(error) = request.send().await.map_err(SdkError::into_service_error) {
            tracing::warn!(cause = %error, "a denial was not counted");
        }
    }
}
