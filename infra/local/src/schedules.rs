//! Runs functions by the clock: `rate()`, `cron()` and `at()` as EventBridge reads them.
//!
//! A firing is written down before its function runs and crossed out after, so it survives the
//! process: a machine that was off makes up for the last time it missed. As on AWS, where these
//! invocations are asynchronous, a function that fails is run again after one minute and, if it
//! fails again, after two.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use rusqlite::{OptionalExtension, Transaction, params};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    database::Rows,
    functions::Functions,
    intrinsics::{ACCOUNT, REGION, arn},
    random,
    template::{Schedule, Source},
};

/// How long to wait before each repetition of an invocation that failed.
const REPEAT_AFTER: [Duration; 2] = [Duration::from_mins(1), Duration::from_mins(2)];
/// The clock can be set, and a machine can sleep: look at it at least this often.
const LOOK: Duration = Duration::from_secs(30);

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
                    .seconds(Seconds::Required)
                    .year(Year::Required)
                    .alternative_weekdays(true)
                    // `0/10` for `0-59/10`.
                    .sloppy_ranges(true)
                    .build()
                    .parse(&format!("0 {argument}"))
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

/// Runs one schedule until told to stop.
pub async fn run(rows: Rows, functions: Arc<Functions>, schedule: Schedule, mut stop: watch::Receiver<bool>) {
    let schedule = Arc::new(schedule);
    let mut running = JoinSet::new();
    let mut resumed = false;
    loop {
        let (due, next) = match due(&rows, &schedule, resumed).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(schedule = schedule.name, "cannot be remembered: {error}");
                (Vec::new(), None)
            }
        };
        resumed = true;
        for at in due {
            let (rows, functions, schedule) = (rows.clone(), Arc::clone(&functions), Arc::clone(&schedule));
            running.spawn(fire(rows, functions, schedule, at, stop.clone()));
        }
        while running.try_join_next().is_some() {}
        let wait = next.and_then(|next| (next - Utc::now()).to_std().ok()).unwrap_or(LOOK);
        tokio::select! {
            () = tokio::time::sleep(wait.min(LOOK)) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    while running.join_next().await.is_some() {}
}

/// The times to fire for now, which are written down, and the next one. The first look also
/// finds what was not finished when the process last ended.
async fn due(
    rows: &Rows,
    schedule: &Arc<Schedule>,
    resumed: bool,
) -> rusqlite::Result<(Vec<DateTime<Utc>>, Option<DateTime<Utc>>)> {
    let schedule = Arc::clone(schedule);
    rows.run(move |rows| {
        let mut due = if resumed { Vec::new() } else { unfinished(rows, &schedule.name)? };
        let now = Utc::now();
        let (start, mut last) = remembered(rows, &schedule, now)?;
        let mut missed = None;
        let mut next = schedule.expression.next(last, start);
        while let Some(at) = next.filter(|at| *at <= now) {
            missed = Some(at);
            last = at;
            next = schedule.expression.next(last, start);
        }
        // Of many missed times only the last one is made up for.
        if let Some(at) = missed {
            let name = &schedule.name;
            rows.execute(
                "UPDATE schedules SET last_ms = ? WHERE name = ?",
                params![at.timestamp_millis(), name],
            )?;
            let insert = "INSERT OR IGNORE INTO firings (name, at_ms) VALUES (?, ?)";
            rows.execute(insert, params![name, at.timestamp_millis()])?;
            due.push(at);
        }
        Ok((due, next))
    })
    .await
}

/// When the schedule began and when it fired last; a new or changed one begins now.
fn remembered(
    rows: &Transaction<'_>,
    schedule: &Schedule,
    now: DateTime<Utc>,
) -> rusqlite::Result<(DateTime<Utc>, DateTime<Utc>)> {
    let expression = format!("{:?}", schedule.expression);
    let select = "SELECT start_ms, last_ms FROM schedules WHERE name = ? AND expression = ?";
    let read = |row: &rusqlite::Row<'_>| Ok((time(row.get(0)?), time(row.get(1)?)));
    if let Some(found) = rows.query_row(select, [&schedule.name, &expression], read).optional()? {
        return Ok(found);
    }
    let insert = "INSERT OR REPLACE INTO schedules (name, expression, start_ms, last_ms) VALUES (?, ?, ?, ?)";
    let millis = now.timestamp_millis();
    rows.execute(insert, params![schedule.name, expression, millis, millis])?;
    Ok((time(millis), time(millis)))
}

fn unfinished(rows: &Transaction<'_>, name: &str) -> rusqlite::Result<Vec<DateTime<Utc>>> {
    let select = "SELECT at_ms FROM firings WHERE name = ? ORDER BY at_ms";
    rows.prepare(select)?.query_map([name], |row| row.get(0).map(time))?.collect()
}

async fn fire(
    rows: Rows,
    functions: Arc<Functions>,
    schedule: Arc<Schedule>,
    at: DateTime<Utc>,
    mut stop: watch::Receiver<bool>,
) {
    let mut delays = REPEAT_AFTER.iter();
    match event(&schedule, at) {
        Ok(event) => {
            tracing::info!(schedule = schedule.name, function = schedule.function, "fires");
            while functions.invoke(&schedule.function, event.clone(), None).await.is_err() {
                let Some(delay) = delays.next() else {
                    tracing::error!(schedule = schedule.name, "gave up");
                    break;
                };
                tokio::select! {
                    () = tokio::time::sleep(*delay) => {}
                    // It stays written down, and is run when the state is next served.
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        }
        Err(error) => tracing::error!(schedule = schedule.name, "the input is not JSON: {error}"),
    }
    let delete = "DELETE FROM firings WHERE name = ? AND at_ms = ?";
    let done =
        rows.run(move |rows| rows.execute(delete, params![schedule.name, at.timestamp_millis()])).await;
    if let Err(error) = done {
        tracing::error!("a firing that is done will be repeated: {error}");
    }
}

fn event(schedule: &Schedule, at: DateTime<Utc>) -> serde_json::Result<Box<RawValue>> {
    let time = at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (source, resource) = match schedule.source {
        Source::Scheduler => {
            ("aws.scheduler", arn("scheduler", &format!("schedule/default/{}", schedule.name)))
        }
        Source::Rule => ("aws.events", arn("events", &format!("rule/{}", schedule.name))),
    };
    let id = random::uuid();
    let Some(input) = &schedule.input else {
        // The scheduler sends the empty detail as text, a rule as an object.
        let detail = match schedule.source {
            Source::Scheduler => json!("{}"),
            Source::Rule => json!({}),
        };
        return serde_json::value::to_raw_value(&json!({
            "version": "0",
            "id": id,
            "detail-type": "Scheduled Event",
            "source": source,
            "account": ACCOUNT,
            "time": time,
            "region": REGION,
            "resources": [resource],
            "detail": detail,
        }));
    };
    let input = match schedule.source {
        Source::Rule => input.clone(),
        Source::Scheduler => input
            .replace("<aws.scheduler.schedule-arn>", &resource)
            .replace("<aws.scheduler.scheduled-time>", &time)
            .replace("<aws.scheduler.execution-id>", &id)
            .replace("<aws.scheduler.attempt-number>", "1"),
    };
    RawValue::from_string(input)
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use serde_json::Value;
    use shared::lambda::Function;

    use super::*;
    use crate::template;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn expressions_fire_as_eventbridge_says() {
        let start = utc("2026-01-01T00:00:00Z");
        for (expression, zone, after, next) in [
            ("rate(5 minutes)", None, "2026-01-01T00:00:00Z", Some("2026-01-01T00:05:00Z")),
            ("rate(5 minutes)", None, "2026-01-01T00:07:30Z", Some("2026-01-01T00:10:00Z")),
            ("rate(1 hour)", None, "2026-01-01T01:00:00Z", Some("2026-01-01T02:00:00Z")),
            ("rate(1 day)", None, "2026-01-09T12:00:00Z", Some("2026-01-10T00:00:00Z")),
            ("cron(15 3 * * ? *)", None, "2026-03-01T04:00:00Z", Some("2026-03-02T03:15:00Z")),
            ("cron(0/10 * * * ? *)", None, "2026-03-01T04:01:00Z", Some("2026-03-01T04:10:00Z")),
            // Sunday is 1.
            ("cron(0 9 ? * 2 *)", None, "2026-11-20T00:00:00Z", Some("2026-11-23T09:00:00Z")),
            ("cron(0 9 ? * MON-FRI *)", None, "2026-11-21T00:00:00Z", Some("2026-11-23T09:00:00Z")),
            ("cron(0 9 L * ? *)", None, "2026-02-01T00:00:00Z", Some("2026-02-28T09:00:00Z")),
            ("cron(0 9 ? * 6L *)", None, "2026-11-01T00:00:00Z", Some("2026-11-27T09:00:00Z")),
            ("cron(0 9 ? * 2#1 *)", None, "2026-11-03T00:00:00Z", Some("2026-12-07T09:00:00Z")),
            ("cron(0 0 1 1 ? 2027)", None, "2026-11-01T00:00:00Z", Some("2027-01-01T00:00:00Z")),
            ("cron(0 0 1 1 ? 2027)", None, "2027-11-01T00:00:00Z", None),
            // Before and after the clocks change.
            (
                "cron(0 8 * * ? *)",
                Some("Europe/Berlin"),
                "2026-03-28T00:00:00Z",
                Some("2026-03-28T07:00:00Z"),
            ),
            (
                "cron(0 8 * * ? *)",
                Some("Europe/Berlin"),
                "2026-03-29T00:00:00Z",
                Some("2026-03-29T06:00:00Z"),
            ),
            (
                "at(2026-07-01T12:00:00)",
                Some("Europe/Berlin"),
                "2026-01-01T00:00:00Z",
                Some("2026-07-01T10:00:00Z"),
            ),
            ("at(2026-07-01T12:00:00)", None, "2026-07-01T12:00:00Z", None),
        ] {
            let found = Expression::parse(expression, zone).unwrap().next(utc(after), start);
            assert_eq!(found, next.map(utc), "{expression} {zone:?} after {after}");
        }
    }

    #[test]
    fn what_is_not_an_expression_is_refused() {
        for (expression, zone) in [
            ("rate(0 minutes)", None),
            ("rate(5)", None),
            ("rate(5 seconds)", None),
            ("rate(-5 minutes)", None),
            ("cron(0 9 * * *)", None),
            ("cron(0 9 * * * *)", None),
            ("cron(0 9 ? * ? *)", None),
            ("cron(61 9 * * ? *)", None),
            ("at(2026-07-01)", None),
            ("daily", None),
            ("rate(5 minutes)", Some("Mars/Olympus")),
        ] {
            assert!(Expression::parse(expression, zone).is_err(), "{expression}");
        }
    }

    /// How often the function that always fails was run.
    static RUNS: AtomicUsize = AtomicUsize::new(0);

    async fn fail(_deps: Arc<()>, _event: Value) -> Result<(), shared::lambda::Error> {
        RUNS.fetch_add(1, Ordering::Relaxed);
        Err("asked to fail".into())
    }

    /// A firing of that function, written down, and what `fire` needs for it.
    fn firing() -> (Rows, Arc<Functions>, Arc<Schedule>, DateTime<Utc>) {
        let function = template::Function {
            binary: "fail".into(),
            environment: BTreeMap::new(),
            timeout: Duration::from_secs(1),
        };
        let library = Function::event(|_, _| Ok(()), fail);
        let sdk = aws_config::SdkConfig::builder().build();
        let functions =
            Functions::load(&[("fail", library)].into(), &[("Fail".to_owned(), function)].into(), &sdk)
                .unwrap();
        let schedule = Schedule {
            name: "Often".into(),
            expression: Expression::parse("rate(1 hour)", None).unwrap(),
            function: "Fail".into(),
            input: None,
            source: Source::Rule,
        };
        let (rows, at) = (Rows::open(None).unwrap(), utc("2026-01-01T00:00:00Z"));
        let insert = "INSERT INTO firings (name, at_ms) VALUES ('Often', ?)";
        rows.run_here(|rows| rows.execute(insert, [at.timestamp_millis()])).unwrap();
        (rows, Arc::new(functions), Arc::new(schedule), at)
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_fails_is_run_twice_more_unless_the_runner_stops() {
        let began = tokio::time::Instant::now();
        let (rows, functions, schedule, at) = firing();
        let (_running, stop) = watch::channel(false);
        fire(rows.clone(), functions, schedule, at, stop).await;
        assert_eq!((RUNS.swap(0, Ordering::Relaxed), began.elapsed().as_secs()), (3, 180));
        assert!(rows.run_here(|rows| unfinished(rows, "Often")).unwrap().is_empty(), "given up");

        let (rows, functions, schedule, at) = firing();
        let (stopping, stop) = watch::channel(false);
        let fired = tokio::spawn(fire(rows.clone(), functions, schedule, at, stop));
        tokio::time::sleep(Duration::from_secs(30)).await;
        stopping.send_replace(true);
        fired.await.unwrap();
        assert_eq!(RUNS.load(Ordering::Relaxed), 1);
        assert_eq!(rows.run_here(|rows| unfinished(rows, "Often")).unwrap(), [at], "for the next start");
    }
}
