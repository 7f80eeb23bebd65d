//! `tidegate ledger`: proves that every total is what its entities come to, and puts right what
//! is not.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use shared::{
    Error,
    identity::{Person, Role, Workspace},
    lambda::{self, Env},
    ledger::{Difference, Ledger, Progress, Rebuild, Report},
    time,
};

use super::StateDirectory;
use crate::runner::{Attached, StartError};

/// How often progress is told where no terminal shows it.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Differences that are shown; JSON has all.
const SHOWN_MAX: usize = 100;

#[derive(Args)]
pub(super) struct Commands {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Recompute all totals of a workspace from its entities and compare; fails on any difference
    ///
    /// Writers need not stop: what they change meanwhile is looked at again. A total that they
    /// kept changing until the end is told as undecided, and that fails too.
    Verify(Verify),
    /// Show how far totals differ from their entities, and with --apply correct them
    ///
    /// A correction is added to a total as any change is, so writers need not stop. It may be
    /// repeated after it was broken off: nothing is corrected twice.
    Rebuild(Options),
}

#[derive(Args)]
struct Verify {
    /// The workspace
    #[arg(long)]
    workspace: Workspace,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A table on AWS instead of this machine's
    ///
    /// Credentials and region are those of the environment: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and `AWS_REGION`, as
    /// `aws configure export-credentials --format env` prints them. It takes dynamodb:Query and
    /// dynamodb:BatchGetItem.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[command(flatten)]
    directory: StateDirectory,
}

#[derive(Args)]
struct Options {
    #[command(flatten)]
    verify: Verify,
    /// Correct the totals, then compare again
    #[arg(long)]
    apply: bool,
    /// The activity log's table beside --table
    #[arg(long, value_name = "NAME", requires = "table")]
    activity_table: Option<String>,
}

/// Runs one of the commands.
pub(super) async fn run(commands: Commands) -> Result<(), StartError> {
    match commands.command {
        Command::Verify(options) => verify(&options).await,
        Command::Rebuild(options) => rebuild(&options).await,
    }
}

/// The tables, and what was started for them.
struct Tables {
    env: Env,
    sdk: SdkConfig,
    attached: Option<Attached>,
}

impl Tables {
    async fn of(options: &Verify, activity: Option<&str>) -> Result<Self, StartError> {
        if let Some(table) = &options.table {
            // A stored row has the time zone that its days are of.
            let variables = [
                ("LEDGER_TABLE", table.as_str()),
                ("ACTIVITY_TABLE", activity.unwrap_or_default()),
                ("TIME_ZONE", "UTC"),
            ];
            let sdk = lambda::sdk_config(&Env::process()).map_err(|error| error.to_string())?;
            return Ok(Self { env: Env::of(variables), sdk, attached: None });
        }
        let directory: &PathBuf = &options.directory.state;
        if !directory.is_dir() {
            return Err(format!("there is no state directory {}", directory.display()).into());
        }
        let attached = Attached::to(directory).await?;
        let (env, sdk) = (attached.environment()?, attached.sdk().clone());
        Ok(Self { env, sdk, attached: Some(attached) })
    }

    async fn leave(self) {
        if let Some(attached) = self.attached {
            attached.leave().await;
        }
    }
}

async fn verify(options: &Verify) -> Result<(), StartError> {
    let tables = Tables::of(options, None).await?;
    let report = compare(&tables, options).await;
    tables.leave().await;
    let report = report?;
    show(options, &report)?;
    verdict(&report)
}

async fn rebuild(options: &Options) -> Result<(), StartError> {
    let workspace = &options.verify.workspace;
    let tables = Tables::of(&options.verify, options.activity_table.as_deref()).await?;
    if !options.apply {
        let report = compare(&tables, &options.verify).await;
        tables.leave().await;
        let report = report?;
        show(&options.verify, &report)?;
        if !report.differences.is_empty() {
            eprintln!("Nothing was changed; --apply corrects them.");
        }
        return verdict(&report);
    }
    let reports = async {
        let operator = Person {
            workspace: workspace.clone(),
            subject: "operator".to_owned(),
            role: Role::Admin,
            expires_at: DateTime::<Utc>::MAX_UTC,
        };
        let rebuild = Rebuild::load(&tables.env, &tables.sdk).map_err(|error| error.to_string())?;
        let mut shown = Shown::new();
        let corrected = rebuild.apply(&operator, time::now(), &mut |progress| shown.tell(progress)).await;
        shown.end();
        let corrected = corrected.map_err(reason)?;
        Ok::<_, StartError>((corrected, compare(&tables, &options.verify).await?))
    };
    let reports = reports.await;
    tables.leave().await;
    let (corrected, report) = reports?;
    eprintln!("{} totals of {workspace} were corrected. Compared again:", corrected.differences.len());
    show(&options.verify, &report)?;
    verdict(&report)
}

async fn compare(tables: &Tables, options: &Verify) -> Result<Report, StartError> {
    let ledger = Ledger::load(&tables.env, &tables.sdk).map_err(|error| error.to_string())?;
    let mut shown = Shown::new();
    let report = ledger.verify(&options.workspace, time::now(), &mut |progress| shown.tell(progress)).await;
    shown.end();
    Ok(report.map_err(reason)?)
}

/// The person at the machine may know why.
#[expect(clippy::needless_pass_by_value, reason = "maps errors")]
fn reason(error: Error) -> String {
    format!("{error}: {}", error.causes())
}

fn show(options: &Verify, report: &Report) -> Result<(), StartError> {
    #[derive(Serialize)]
    struct Told<'a> {
        workspace: String,
        clean: bool,
        #[serde(flatten)]
        report: &'a Report,
    }
    let mut out = io::stdout().lock();
    if options.json {
        let workspace = options.workspace.to_string();
        let told = Told { workspace, clean: report.is_clean(), report };
        writeln!(out, "{}", serde_json::to_string(&told).map_err(io::Error::from)?)?;
        return Ok(());
    }
    let lists = [("differs", &report.differences), ("undecided", &report.undecided)];
    for (what, list) in lists {
        for Difference { row, attribute, expected, found } in list.iter().take(SHOWN_MAX) {
            writeln!(out, "{what}: {row} {attribute}: expected {expected}, found {found}")?;
        }
        if list.len() > SHOWN_MAX {
            writeln!(out, "{what}: {} more; --json shows them", list.len() - SHOWN_MAX)?;
        }
    }
    let read: Vec<_> = report.entities.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    writeln!(
        out,
        "{}: {}, {} earlier versions; {} totals compared: {} differ, {} undecided",
        options.workspace,
        if read.is_empty() { "no entities".to_owned() } else { read.join(", ") },
        report.earlier_versions,
        report.counters,
        report.differences.len(),
        report.undecided.len(),
    )?;
    if report.overdue > 0 {
        writeln!(out, "{} subscriptions wait for ledger-due", report.overdue)?;
    }
    Ok(())
}

fn verdict(report: &Report) -> Result<(), StartError> {
    match (report.differences.len(), report.undecided.len()) {
        (0, 0) => Ok(()),
        (0, undecided) => Err(format!(
            "{undecided} totals were written all the time and could not be decided; repeat it when less is written"
        )
        .into()),
        (differ, _) => Err(format!("{differ} totals are not what the entities come to").into()),
    }
}

/// Progress on standard error: a line that changes on a terminal, lines now and then elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    last: Option<Progress>,
    /// When the kind was begun.
    begun: Instant,
    told: Instant,
}

impl Shown {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar
        });
        Self { bar, last: None, begun: Instant::now(), told: Instant::now() }
    }

    fn tell(&mut self, progress: Progress) {
        let now = Instant::now();
        if self.last.is_none_or(|last| (last.round, last.kind) != (progress.round, progress.kind)) {
            self.begun = now;
        }
        self.last = Some(progress);
        let Progress { round, kind, entities } = progress;
        let line = || {
            let elapsed = (now - self.begun).as_millis().max(1);
            let rate = u128::from(entities) * 1_000 / elapsed;
            let again = if round > 1 { format!("round {round}: ") } else { String::new() };
            format!("{again}{entities} {}, {rate} a second", kind.plural())
        };
        match &self.bar {
            Some(bar) => {
                bar.set_message(line());
                bar.tick();
            }
            None if now - self.told >= TELL_EVERY => {
                eprintln!("{}", line());
                self.told = now;
            }
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
