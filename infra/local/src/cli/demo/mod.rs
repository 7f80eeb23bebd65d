//! `tidegate demo`: fills a workspace with the life of a small company.
//!
//! [`company`] makes it up, the same one for the same seed, and knows what must be true at the end;
//! [`deliver`] sends it through the public API as the real services would, signed, some of it twice
//! and in another order. Then the totals that the server tells are compared with the truth.

mod company;
mod deliver;
mod stripe;

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use shared::time;
use tokio::time::sleep;

use self::{
    company::{Company, Truth},
    deliver::{Access, Sender},
};
use super::StateDirectory;
use crate::runner::StartError;

/// Deliveries under way at a time.
const CONCURRENT: usize = 8;
/// Entities of one call of the ingest.
const BATCH: usize = 100;
/// How long totals may stand still before the comparison is given up.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Args)]
pub(super) struct Demo {
    /// The workspace to fill where the development issuer is trusted: the one whose events the
    /// routes of Stripe, GitHub and Shopify take, by default
    #[arg(long, conflicts_with = "token")]
    workspace: Option<String>,
    /// Months of the company's life
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=36))]
    months: u32,
    /// Which company: the same seed and day make the same one
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The day before which all of it happens; by default today. Give it again to repeat a run of
    /// another day
    #[arg(long, value_name = "YYYY-MM-DD")]
    until: Option<NaiveDate>,
    /// Base URL of the API; by default that of the server on the state directory
    ///
    /// The secrets that it verifies webhooks with are then read from the environment:
    /// `STRIPE_WEBHOOK_SECRET`, `GITHUB_APP_WEBHOOK_SECRET` and `SHOPIFY_CLIENT_SECRET`.
    #[arg(long, requires = "token")]
    url: Option<String>,
    /// An admin's bearer token; its workspace is filled
    #[arg(long, env = "TIDEGATE_TOKEN", hide_env_values = true, requires = "url")]
    token: Option<String>,
    #[command(flatten)]
    directory: StateDirectory,
}

/// Runs the command, until it is done or interrupted.
pub(super) async fn run(options: Demo) -> Result<(), StartError> {
    let access = match (&options.url, &options.token) {
        (Some(url), Some(token)) => Access::remote(url, token)?,
        _ => Access::local(&options.directory.state, options.workspace.as_deref()).await?,
    };
    tokio::select! {
        done = fill(&options, access) => done,
        _ = tokio::signal::ctrl_c() => {
            Err("interrupted; the same command goes on where it stopped".to_owned().into())
        }
    }
}

async fn fill(options: &Demo, access: Access) -> Result<(), StartError> {
    let until = options.until.unwrap_or_else(|| time::now().date_naive());
    let until: DateTime<Utc> = until.and_time(NaiveTime::MIN).and_utc();
    if until > time::now() + TimeDelta::days(1) {
        return Err("--until must not lie in the future".to_owned().into());
    }
    let Company { deliveries, users, commissions, truth } =
        Company::of(options.seed, options.months, until.timestamp(), time::now().timestamp());
    let sender = Sender::new(access).await?;

    let bar = bar("events", deliveries.len());
    let sent = stream::iter(&deliveries).map(async |delivery| {
        let duplicate = sender.deliver(delivery).await?;
        bar.inc(1);
        Ok::<_, StartError>(u64::from(duplicate))
    });
    let known: u64 = sent.buffer_unordered(CONCURRENT).try_fold(0, async |sum, one| Ok(sum + one)).await?;
    bar.finish_and_clear();
    for (kind, items) in [("users", &users), ("commissions", &commissions)] {
        let bar = self::bar(kind, items.len());
        for batch in items.chunks(BATCH) {
            sender.ingest(kind, batch).await?;
            bar.inc(batch.len() as u64);
        }
        bar.finish_and_clear();
    }
    sender.revoke().await?;

    let served = settle(&sender, &truth).await?;
    let mut out = io::stdout();
    writeln!(out, "Sent {} deliveries ({known} of them known already),", deliveries.len())?;
    writeln!(out, "{} users and {} commissions.\n", users.len(), commissions.len())?;
    let differing = table(&mut out, &truth, &served)?;
    writeln!(out, "\nLook at {0}/api/metrics/revenue, {0}/api/metrics/users,", sender.url())?;
    writeln!(out, "{0}/api/devops/overview and {0}/api/activity with a bearer token.", sender.url())?;
    if differing == 0 {
        return Ok(());
    }
    let reason = "the workspace held something else before, or something is wrong";
    Err(format!("{differing} of the totals differ from what was sent: {reason}").into())
}

/// Reads the totals until they are those of the truth, or nothing changes any more.
async fn settle(sender: &Sender, truth: &Truth) -> Result<Truth, StartError> {
    let spinner = spinner("the last events are processed");
    let mut served = Truth::served(&sender.totals().await?);
    let mut changed = Instant::now();
    while served != *truth && changed.elapsed() < PATIENCE {
        sleep(Duration::from_millis(500)).await;
        let now = Truth::served(&sender.totals().await?);
        if now != served {
            changed = Instant::now();
            served = now;
        }
        spinner.tick();
    }
    spinner.finish_and_clear();
    Ok(served)
}

/// Prints what was sent beside what is served; counts what differs.
fn table(out: &mut impl Write, truth: &Truth, served: &Truth) -> io::Result<usize> {
    writeln!(out, "{:<34}{:>18}{:>18}", "TOTAL", "SENT", "SERVED")?;
    let mut differing = 0;
    for (name, sent) in truth.figures() {
        let served = served.figures().remove(&name).unwrap_or_default();
        let equal = served == sent;
        differing += usize::from(!equal);
        let word = if equal { "equal" } else { "DIFFERENT" };
        writeln!(out, "{name:<34}{sent:>18}{served:>18}  {word}")?;
    }
    Ok(differing)
}

fn bar(what: &'static str, length: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length as u64), target());
    bar.with_style(style("{msg:>12} {wide_bar} {pos}/{len} {eta}")).with_message(what)
}

fn spinner(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target());
    bar.with_style(style("{spinner} {msg}")).with_message(what)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn target() -> ProgressDrawTarget {
    if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

/// A number of the API's.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}
