//! Times as we write them: RFC 3339 in UTC.

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;

/// The present, to the millisecond, as answers show it.
#[must_use]
pub fn now() -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
}

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

/// When `day` begins where the workspace is. Where a clock change skips midnight, the day begins
/// at the first time that exists.
#[must_use]
pub fn start_of(zone: Tz, day: NaiveDate) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    (0..=4)
        .filter_map(|halves| {
            zone.from_local_datetime(&(midnight + Duration::minutes(30 * halves))).earliest()
        })
        .map(|start| start.to_utc())
        .next()
        .unwrap_or_else(|| midnight.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_its_first_moment() {
        for (case, zone, day, start) in [
            ("UTC", Tz::UTC, "2026-03-29", "2026-03-29T00:00:00Z"),
            ("east", Tz::Europe__Berlin, "2026-03-29", "2026-03-28T23:00:00Z"),
            ("midnight skipped", Tz::Africa__Cairo, "2026-04-24", "2026-04-23T22:00:00Z"),
        ] {
            let day = day.parse().unwrap();
            let first = start_of(zone, day);
            assert_eq!(rfc3339(first), start, "{case}");
            assert_eq!(day_in(zone, first), day, "{case}");
            assert_eq!(day_in(zone, first - Duration::seconds(1)), day.pred_opt().unwrap(), "{case}");
        }
    }
}
