//! `tidegate secrets`: sets, lists and checks the platform secrets. Values are read, and never
//! shown again.

use std::io::{self, IsTerminal, Read, Write};

use aws_sdk_secretsmanager::{
    Client,
    error::{DisplayErrorContext, SdkError},
    operation::put_secret_value::PutSecretValueError,
};
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use shared::{
    secrets::{
        SecretName,
        check::{Checker, Finding, Status},
    },
    time,
};

use super::StateDirectory;
use crate::runner::{Attached, StartError};

/// What Secrets Manager takes.
const MAX_VALUE: u64 = 65_536;

#[derive(Args)]
pub(super) struct Secrets {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Report platform secrets that are missing, malformed or older than 90 days; fails if any is
    #[command(after_help = "Missing are those of the parameter RequiredSecrets that have no value; \
                            tidegate serve --parameter RequiredSecrets=… names those in use.")]
    Check(Show),
    /// List the platform secrets, and since when each is set
    List(Show),
    /// Set a platform secret to what standard input holds
    ///
    /// The value before it stays good for 24 hours, so that both sides can change one after the
    /// other. To end it at once, set the new one twice.
    Set(Set),
}

#[derive(Args)]
struct Show {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    directory: StateDirectory,
}

#[derive(Args)]
struct Set {
    #[arg(help = "Which, such as STRIPE_API_KEY")]
    name: SecretName,
    /// Set it even if it does not look like one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    directory: StateDirectory,
}

/// Runs one of the commands.
pub(super) async fn run(options: Secrets) -> Result<(), StartError> {
    match options.command {
        Command::Check(options) => {
            let found = show(&options).await?;
            match found.iter().filter(|status| status.finding.is_some()).count() {
                0 => Ok(()),
                1 => Err("one platform secret needs attention".to_owned().into()),
                count => Err(format!("{count} platform secrets need attention").into()),
            }
        }
        Command::List(options) => show(&options).await.map(drop),
        Command::Set(options) => set(&options).await,
    }
}

async fn show(options: &Show) -> Result<Vec<Status>, StartError> {
    #[derive(Serialize)]
    struct Report<'a> {
        secrets: &'a [Status],
    }

    let attached = Attached::to(&options.directory.state).await?;
    let found = async {
        let checker = checker(&attached)?;
        checker.check(time::now()).await.map_err(|error| format!("{error}: {}", error.causes()).into())
    };
    let found: Result<Vec<Status>, StartError> = found.await;
    attached.leave().await;
    let found = found?;
    if options.json {
        let report = serde_json::to_string(&Report { secrets: &found }).map_err(io::Error::from)?;
        writeln!(io::stdout(), "{report}")?;
    } else {
        write!(io::stdout(), "{}", table(&found))?;
    }
    Ok(found)
}

fn table(found: &[Status]) -> String {
    let mut text = format!("{:<27}{:<22}STATE\n", "NAME", "SET");
    for status in found {
        let set_at = status.set_at.map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string());
        let state = match (status.finding, status.required) {
            (Some(Finding::Missing), _) => "missing".to_owned(),
            (Some(Finding::Malformed), _) => "malformed".to_owned(),
            (Some(Finding::Old), _) => format!("old: set {} days ago", status.age_days.unwrap_or_default()),
            (None, false) if status.set_at.is_none() => "not needed".to_owned(),
            (None, _) => "ok".to_owned(),
        };
        text.extend([format!("{:<27}", status.name.as_str())]);
        text.extend([format!("{:<22}{state}\n", set_at.as_deref().unwrap_or("-"))]);
    }
    text
}

async fn set(options: &Set) -> Result<(), StartError> {
    let name = options.name;
    let value = value(name)?;
    if value.expose_secret().is_empty() {
        return Err(format!("standard input holds no value for {name}").into());
    }
    if let Some(fault) = name.fault(value.expose_secret())
        && !options.force
    {
        return Err(format!("{name} {fault}; nothing is set (--force sets it all the same)").into());
    }
    let attached = Attached::to(&options.directory.state).await?;
    let done = put(&attached, name, &value).await;
    attached.leave().await;
    let said = if done? {
        format!("{name} is set; the value before it stays good for 24 hours")
    } else {
        format!("{name} is set")
    };
    writeln!(io::stdout(), "{said}")?;
    Ok(())
}

/// One line without echo from a terminal, or else all of standard input but for its last line end.
fn value(name: SecretName) -> Result<SecretString, StartError> {
    if io::stdin().is_terminal() {
        return Ok(rpassword::prompt_password(format!("{name}: "))?.into());
    }
    let mut text = String::new();
    let read = io::stdin().take(MAX_VALUE + 1).read_to_string(&mut text);
    read.map_err(|error| format!("standard input holds no text for {name}: {error}"))?;
    if text.len() as u64 > MAX_VALUE {
        return Err(format!("a secret has at most {MAX_VALUE} bytes").into());
    }
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.into())
}

/// Stores a value; tells whether there was one before.
pub(super) async fn put(
    attached: &Attached,
    name: SecretName,
    value: &SecretString,
) -> Result<bool, StartError> {
    let id = checker(attached)?.secrets().id(name);
    let client = Client::new(attached.sdk());
    let put = client.put_secret_value().secret_id(&id).secret_string(value.expose_secret());
    match put.send().await.map_err(SdkError::into_service_error) {
        Ok(_) => return Ok(true),
        Err(PutSecretValueError::ResourceNotFoundException(_)) => {}
        Err(error) => return Err(format!("{name} is not set: {}", DisplayErrorContext(error)).into()),
    }
    let create = client.create_secret().name(&id).secret_string(value.expose_secret());
    match create.send().await.map_err(SdkError::into_service_error) {
        Ok(_) => Ok(false),
        Err(error) => Err(format!("{name} is not set: {}", DisplayErrorContext(error)).into()),
    }
}

/// What the function `secrets-check` looks at, with the settings that it has on this state.
fn checker(attached: &Attached) -> Result<Checker, StartError> {
    let env = attached.env("secrets-check")?;
    Ok(Checker::load(&env, attached.sdk()).map_err(|error| error.to_string())?)
}
