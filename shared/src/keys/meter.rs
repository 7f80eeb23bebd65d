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

use chrono::{DateTime, Days, NaiveDate, Timelike, Utc};
use serde::Serialize;

use super::{Call, KeyCaller};
use crate::{
    Error,
    error::Quota,
    store::{Item, number},
};

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
