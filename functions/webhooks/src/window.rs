//! The window of hours that a request asks about.

use chrono::{DateTime, TimeDelta, Utc};
use shared::fields::{Fields, timestamp};

/// Days of a window at most.
const WINDOW_DAYS: i64 = 31;
/// Days of a window that is not told.
const USUAL_DAYS: i64 = 3;

/// Reads `from` and `to`; notes what is wrong with them.
pub fn read(query: &mut Fields, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    let (from, to) = (query.optional("from", timestamp), query.optional("to", timestamp));
    let to = to.unwrap_or(now);
    let from = from.unwrap_or(to - TimeDelta::days(USUAL_DAYS));
    if to <= from && query.is_good("from") && query.is_good("to") {
        query.refuse("to", "must be after `from`");
    }
    if to - from > TimeDelta::days(WINDOW_DAYS) {
        query.refuse("from", format!("must be at most {WINDOW_DAYS} days before `to`"));
    }
    (from, to)
}
