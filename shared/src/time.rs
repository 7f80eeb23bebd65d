//! Times as we write them: RFC 3339 in UTC.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use chrono_tz::Tz;

/// `2026-01-31T12:00:00Z`, with as many decimals as the time needs.
#[must_use]
pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The calendar day of `time` where the workspace is.
#[must_use]
pub fn day_in(zone: Tz, time: DateTime<Utc>) -> NaiveDate {
    time.with_timezone(&zone).date_naive()
}
