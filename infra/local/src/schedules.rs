//! Runs functions by the clock: `rate()`, `cron()` and `at()` as `EventBridge` reads them.

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use serde::Deserialize;

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// Again and again, this far apart.
    Rate(TimeDelta),
    /// At each time that matches, in a time zone.
    Cron(Box<Cron>, Tz),
    /// Once.
    At(DateTime<Utc>),
}

impl Expression {
    /// Reads an expression; `zone` is an IANA name, UTC without one.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, String> {
        let zone: Tz = match zone {
            Some(name) => name.parse().map_err(|_| format!("there is no time zone {name}"))?,
            None => Tz::UTC,
        };
        let unreadable = || format!("{text} is not a schedule expression");
        let (kind, argument) =
            text.trim().strip_suffix(')').and_then(|text| text.split_once('(')).ok_or_else(unreadable)?;
        match kind {
            "rate" => {
                let (count, unit) = argument.trim().split_once(' ').ok_or_else(unreadable)?;
                let count: i64 = count.parse().map_err(|_| unreadable())?;
                let seconds = match unit.trim() {
                    "minute" | "minutes" => 60,
                    "hour" | "hours" => 3600,
                    "day" | "days" => 86_400,
                    _ => return Err(unreadable()),
                };
                let every = count.checked_mul(seconds).and_then(TimeDelta::try_seconds);
                every.filter(|every| *every > TimeDelta::zero()).map(Self::Rate).ok_or_else(unreadable)
            }
            "cron" => {
                // One of day-of-month and day-of-week is always left open with `?`.
                let fields: Vec<_> = argument.split_whitespace().collect();
                if fields.len() != 6 || (fields[2] == "?") == (fields[4] == "?") {
                    return Err(unreadable());
                }
                let cron = CronParser::builder()
                    .seconds(Seconds::Disallowed)
                    .year(Year::Required)
                    .alternative_weekdays(true)
                    .build()
                    .parse(&argument.replace('?', "*"))
                    .map_err(|_| unreadable())?;
                Ok(Self::Cron(Box::new(cron), zone))
            }
            "at" => {
                let time =
                    NaiveDateTime::parse_from_str(argument, "%Y-%m-%dT%H:%M:%S").map_err(|_| unreadable())?;
                let time = zone.from_local_datetime(&time).earliest().ok_or_else(unreadable)?;
                Ok(Self::At(time.with_timezone(&Utc)))
            }
            _ => Err(unreadable()),
        }
    }

    /// The first time after `after`; `start` is when the schedule came to be, from which rates
    /// count.
    #[must_use]
    pub fn next(&self, after: DateTime<Utc>, start: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Rate(every) => {
                let passed = (after - start).num_seconds().max(0) / every.num_seconds() + 1;
                let passed = i32::try_from(passed).ok()?;
                start.checked_add_signed(every.checked_mul(passed)?)
            }
            Self::Cron(cron, zone) => {
                let next = cron.find_next_occurrence(&after.with_timezone(zone), false).ok()?;
                Some(next.with_timezone(&Utc))
            }
            Self::At(time) => (*time > after).then_some(*time),
        }
    }
}

/// `FlexibleTimeWindow`: firing at the beginning of a window is within it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Flexible {
    mode: Option<String>,
    #[serde(rename = "MaximumWindowInMinutes")]
    _window: Option<u32>,
}

impl Flexible {
    /// Only the two modes that there are.
    pub fn check(&self) -> Result<(), String> {
        match self.mode.as_deref() {
            None | Some("OFF" | "FLEXIBLE") => Ok(()),
            Some(mode) => Err(format!("there is no flexible time window {mode}")),
        }
    }
}
