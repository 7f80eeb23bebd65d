//! `tidegate credentials import-env`: brings in what was kept in environment variables.
//!
//! It goes through the public API, as an admin: one way for the server of this state directory
//! and for a system that is deployed. Values leave only in the call that saves them; the report
//! names variables, and shows masks.

mod api;
mod sources;

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::{
    FieldError,
    providers::{Credential, Provider},
};

use self::{
    api::Api,
    sources::{Found, Unusable},
};
use super::StateDirectory;
use crate::{
    runner::{self, Attached, StartError},
    state::State,
};

/// How long the token of the import itself is valid.
const TOKEN_LIFE: Duration = Duration::from_mins(10);

#[derive(Args)]
pub(super) struct Credentials {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Save the credentials that environment variables hold; fails if one of them cannot be
    ///
    /// A credential that is there already, of the same provider and name, is left as it is: running
    /// this twice changes nothing.
    #[command(after_help = sources::help())]
    ImportEnv(Import),
}

#[derive(Args)]
struct Import {
    /// Only report what would be saved
    #[arg(long)]
    dry_run: bool,
    /// The workspace to save them in, where the development issuer is trusted
    #[arg(long, required_unless_present = "token", conflicts_with = "token")]
    workspace: Option<String>,
    /// Base URL of the API; by default that of the server on the state directory
    #[arg(long, requires = "token", conflicts_with = "workspace")]
    url: Option<String>,
    /// An admin's bearer token; its workspace gets the credentials
    #[arg(long, env = "TIDEGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// What the credentials are called
    #[arg(long, default_value = "environment")]
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    directory: StateDirectory,
}

/// What became of one provider's variables.
#[derive(Serialize)]
struct Line {
    provider: &'static str,
    outcome: Outcome,
    /// Those that were set.
    variables: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It was saved.
    Imported,
    /// It would be saved.
    WouldImport,
    /// One of this provider and name is there.
    Skipped,
    /// It is nothing that could be kept.
    Unusable,
    /// Variables that belong to it are not set.
    Incomplete,
    /// It does not look like one.
    Malformed,
    /// The server did not take it.
    Refused,
}

impl Outcome {
    fn words(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::WouldImport => "would be imported",
            Self::Skipped => "skipped",
            Self::Unusable => "not usable",
            Self::Incomplete => "incomplete",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
        }
    }

    fn failed(self) -> bool {
        matches!(self, Self::Incomplete | Self::Malformed | Self::Refused)
    }
}

/// Runs the command.
pub(super) async fn run(options: Credentials) -> Result<(), StartError> {
    let Command::ImportEnv(options) = options.command;
    let found = sources::read(&|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()));
    let mut lines = Vec::new();
    let done = match (&options.url, &options.token) {
        (Some(url), Some(token)) => import(url, token, found, &options, &mut lines).await,
        (_, token) => {
            let attached = Attached::to(&options.directory.state).await?;
            let done = match token.clone().map_or_else(|| admin(&options, &attached), Ok) {
                Ok(token) => import(&attached.running().url, &token, found, &options, &mut lines).await,
                Err(error) => Err(error),
            };
            attached.leave().await;
            done
        }
    };
    // Where it broke off, what was saved until then is told all the same.
    if done.is_ok() || !lines.is_empty() {
        report(&lines, options.json)?;
    }
    done?;
    match lines.iter().filter(|line| line.outcome.failed()).count() {
        0 => Ok(()),
        count => Err(format!("{count} of {} could not be imported", lines.len()).into()),
    }
}

/// A token of the development issuer.
fn admin(options: &Import, attached: &Attached) -> Result<String, StartError> {
    if !attached.running().development {
        return Err("the server does not trust the development issuer; give an admin's --token"
            .to_owned()
            .into());
    }
    let issuer = runner::dev_issuer(&State::open(&options.directory.state)?)?;
    let workspace = options.workspace.as_deref().unwrap_or_default();
    Ok(issuer.person(workspace, "admin", "import-env", TOKEN_LIFE)?)
}

async fn import(
    url: &str,
    token: &str,
    found: Vec<Found>,
    options: &Import,
    lines: &mut Vec<Line>,
) -> Result<(), StartError> {
    let mut api = Api::new(url, token)?;
    for Found { provider, variables, credential } in found {
        let mut line = Line {
            provider: provider.word(),
            outcome: Outcome::Incomplete,
            variables,
            id: None,
            mask: None,
            reasons: Vec::new(),
        };
        match credential {
            Err(Unusable::Incomplete(reasons)) => line.reasons = reasons,
            Err(Unusable::ShortLived(reason)) => {
                line.outcome = Outcome::Unusable;
                line.reasons.push(reason.to_owned());
            }
            Ok(given) => match Credential::parse(provider, "credential", given.fields.clone().into()) {
                Ok(checked) => {
                    line.mask = Some(checked.mask());
                    store(&mut api, provider, given.fields, options, &mut line).await?;
                }
                Err(faults) => {
                    line.outcome = Outcome::Malformed;
                    let told =
                        |fault: &FieldError| format!("{} {}", given.variable(&fault.field), fault.message);
                    line.reasons = faults.iter().map(told).collect();
                }
            },
        }
        lines.push(line);
    }
    Ok(())
}

async fn store(
    api: &mut Api,
    provider: Provider,
    credential: Map<String, Value>,
    options: &Import,
    line: &mut Line,
) -> Result<(), StartError> {
    if api.has(provider, &options.name).await? {
        line.outcome = Outcome::Skipped;
        line.reasons.push(format!("a credential named {} is there already", options.name));
    } else if options.dry_run {
        line.outcome = Outcome::WouldImport;
        api.note(provider, &options.name);
    } else {
        match api.save(provider, &options.name, credential.into()).await? {
            Ok(id) => {
                line.outcome = Outcome::Imported;
                line.id = Some(id);
                api.note(provider, &options.name);
            }
            Err(reason) => {
                line.outcome = Outcome::Refused;
                line.reasons.push(reason);
            }
        }
    }
    Ok(())
}

fn report(lines: &[Line], json: bool) -> Result<(), StartError> {
    #[derive(Serialize)]
    struct Report<'a> {
        credentials: &'a [Line],
    }

    let mut out = io::stdout().lock();
    if json {
        let report = serde_json::to_string(&Report { credentials: lines }).map_err(io::Error::from)?;
        writeln!(out, "{report}")?;
        return Ok(());
    }
    if lines.is_empty() {
        writeln!(out, "No variable that holds a credential is set.")?;
    }
    for line in lines {
        let mask = line.mask.iter().flatten().map(|(field, shown)| {
            let shown = shown.as_str().map_or_else(|| shown.to_string(), str::to_owned);
            format!("{field} {shown}")
        });
        let shown: Vec<_> = line.reasons.iter().cloned().chain(mask).collect();
        writeln!(
            out,
            "{:<10}{:<19}{}: {}",
            line.provider,
            line.outcome.words(),
            line.variables.join(", "),
            shown.join("; ")
        )?;
    }
    Ok(())
}
