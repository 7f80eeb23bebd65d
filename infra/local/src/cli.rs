//! The command line.

mod credentials;
mod demo;
mod ledger;
mod secrets;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::value::RawValue;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    functions,
    runner::{self, Config, Runner, StartError},
    state::State,
    template,
};

/// Tidegate on one machine: the system that template.yaml describes, in one process.
///
/// Without a command it serves.
#[derive(Parser)]
#[command(name = "tidegate", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the HTTP API, work off queues and run schedules (the default)
    Serve(Serve),
    /// Print a bearer token of the development issuer, and nothing else
    Token(Token),
    /// Run one function on an event and print its answer
    Invoke(Invoke),
    /// Print the running server's AWS endpoint and function variables as KEY=VALUE lines
    ///
    /// They put single functions on the same state:
    /// tidegate endpoints > .env && cargo lambda watch --env-file .env
    Endpoints(StateDirectory),
    /// Verify and rebuild the totals of a workspace
    Ledger(ledger::Commands),
    /// Set, list and check the platform secrets, such as Stripe's webhook secret
    Secrets(secrets::Secrets),
    /// Bring in credentials that were kept elsewhere
    Credentials(credentials::Credentials),
    /// Fill a workspace with the life of a small company, through the API of a running server
    ///
    /// Signed events of Stripe, GitHub and Shopify, reports of operations, users and commissions;
    /// at the end the totals served are compared with what was sent. The same seed on the same day
    /// changes nothing any more.
    Demo(demo::Demo),
}

#[derive(Args)]
struct StateDirectory {
    /// Directory that holds everything; it is made when it is not there
    #[arg(long, value_name = "DIR", env = "TIDEGATE_STATE", default_value = runner::default_state().as_os_str())]
    state: PathBuf,
}

const BIND: &str = "Address to listen on\n\n\
    The development issuer is only trusted on loopback: elsewhere, give the parameters \
    OidcIssuer, OidcJwksUrl and OidcAudiences of your own.";

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    directory: StateDirectory,
    /// Port of the HTTP API; 0 takes any free one
    #[arg(long, env = "TIDEGATE_PORT", default_value_t = 8787)]
    port: u16,
    /// Port of the AWS endpoint that the functions use; 0 takes any free one
    #[arg(long, value_name = "PORT", env = "TIDEGATE_AWS_PORT", default_value_t = 0)]
    aws_port: u16,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", long_help = BIND)]
    bind: IpAddr,
    /// A parameter of template.yaml, such as TimeZone=Europe/Lisbon; may be repeated
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    #[command(flatten)]
    log: Log,
}

#[derive(Args)]
struct Log {
    /// How much to log, to standard error
    #[arg(long = "log", value_name = "LEVEL", env = "TIDEGATE_LOG", default_value = "info")]
    level: tracing::Level,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Admin,
    Member,
}

#[derive(Args)]
struct Token {
    /// What the person may do
    #[arg(long)]
    role: Role,
    /// The workspace that the person belongs to
    #[arg(long)]
    workspace: String,
    /// Who the person is
    #[arg(long, default_value = "developer")]
    subject: String,
    /// How long the token is valid, such as 90s, 30m, 1h or 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    expires_in: Duration,
    #[command(flatten)]
    directory: StateDirectory,
}

#[derive(Args)]
struct Invoke {
    /// The function, by its binary's or its template name
    function: String,
    /// File with the event; - reads standard input
    event: PathBuf,
    #[command(flatten)]
    directory: StateDirectory,
    #[command(flatten)]
    log: Log,
}

/// Runs the command that the process was started with.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(options) => serve(options).await,
        Command::Token(options) => token(&options),
        Command::Invoke(options) => invoke(options).await,
        Command::Endpoints(options) => endpoints(&options),
        Command::Ledger(options) => ledger::run(options).await,
        Command::Secrets(options) => secrets::run(options).await,
        Command::Credentials(options) => credentials::run(options).await,
        Command::Demo(options) => demo::run(options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Serve) -> Result<(), StartError> {
    log(&options.log);
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let state = options.directory.state;
    let runner = Runner::start(Config {
        template: template::SYSTEM.to_owned(),
        functions: functions::registry(),
        parameters: options.parameters.into_iter().collect(),
        state: state.clone(),
        bind: options.bind,
        port: options.port,
        aws_port: options.aws_port,
        workers: true,
    })
    .await?;
    // Whoever closed standard output still wants the server.
    let _ = write!(io::stdout(), "{}", greeting(&runner, &state));
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    tracing::info!("finishing what runs; once more ends at once");
    tokio::select! {
        () = runner.stop() => {}
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    Ok(())
}

fn greeting(runner: &Runner, state: &Path) -> String {
    let url = &runner.running.url;
    if !runner.running.development {
        return format!("Tidegate serves at {url}\n");
    }
    // The same program, however it was started.
    let program = std::env::args().next().unwrap_or_else(|| "tidegate".to_owned());
    let mut token = format!("{program} token --role admin --workspace acme");
    if state != runner::default_state() {
        token.extend([" --state ", &state.to_string_lossy()]);
    }
    let body = r#"{"name":"first","permissions":["read_metrics","write_metrics"]}"#;
    format!(
        "Tidegate serves at {url}\n\n\
         An admin's token:\n  {token}\n\n\
         A first call, which issues an API key:\n  \
         curl -sS {url}/api/devops/generate-key -H \"Authorization: Bearer $({token})\" \
         -H 'Content-Type: application/json' -d '{body}'\n"
    )
}

fn token(options: &Token) -> Result<(), StartError> {
    let state = State::open(&options.directory.state)?;
    let role = match options.role {
        Role::Admin => "admin",
        Role::Member => "member",
    };
    let issuer = runner::dev_issuer(&state)?;
    let token = issuer.person(&options.workspace, role, &options.subject, options.expires_in)?;
    writeln!(io::stdout(), "{token}")?;
    Ok(())
}

async fn invoke(options: Invoke) -> Result<(), StartError> {
    log(&options.log);
    let event = if options.event.as_os_str() == "-" {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(&options.event)
    };
    let event =
        event.map_err(|error| format!("cannot read the event {}: {error}", options.event.display()))?;
    let event: Box<RawValue> = serde_json::from_str(&event)
        .map_err(|error| format!("the event {} is not JSON: {error}", options.event.display()))?;
    let state = State::open(&options.directory.state)?;
    let answer = if let Some(running) = state.running()? {
        let functions = runner::functions_of(&state, &running)?;
        let id = function(&functions, &options.function)?;
        functions.invoke(&id, event, None).await
    } else {
        let runner = Runner::start(Config {
            template: template::SYSTEM.to_owned(),
            functions: functions::registry(),
            parameters: BTreeMap::new(),
            state: options.directory.state,
            bind: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            aws_port: 0,
            workers: false,
        })
        .await?;
        let id = function(&runner.functions, &options.function)?;
        let answer = runner.functions.invoke(&id, event, None).await;
        runner.stop().await;
        answer
    };
    let answer = answer.map_err(|failure| format!("{} failed: {failure}", options.function))?;
    writeln!(io::stdout(), "{}", answer.get())?;
    Ok(())
}

fn function(functions: &functions::Functions, name: &str) -> Result<String, StartError> {
    let id = functions.find(name).map(str::to_owned);
    Ok(id.ok_or_else(|| format!("there is no function {name}"))?)
}

fn endpoints(options: &StateDirectory) -> Result<(), StartError> {
    let state = State::existing(&options.state);
    let running = state.as_ref().map(State::running).transpose()?.flatten();
    let (Some(state), Some(running)) = (state, running) else {
        let directory = options.state.display();
        let reason =
            format!("no server uses the state directory {directory}; start one with `tidegate serve`");
        return Err(reason.into());
    };
    let mut out = io::stdout().lock();
    for (name, value) in runner::endpoints_of(&state, &running)? {
        // A shell, and what reads such files for cargo-lambda, take anything but these in quotes only.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.,:/+@".contains(&byte);
        let quote = if value.bytes().all(plain) { "" } else { "'" };
        writeln!(out, "{name}={quote}{value}{quote}")?;
    }
    Ok(())
}

fn log(options: &Log) {
    // Libraries may log what they send, which can be secret, below the level of warnings.
    let mut targets = Targets::new().with_default(options.level.min(tracing::Level::WARN));
    let functions = functions::registry();
    let functions = functions.keys().map(|binary| binary.replace('-', "_"));
    for name in functions.chain(["shared".to_owned(), "tidegate".to_owned()]) {
        targets = targets.with_target(name, options.level);
    }
    let lines = tracing_subscriber::fmt::layer().compact().with_target(false).with_writer(io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn duration(text: &str) -> Result<Duration, String> {
    let unreadable = || "must be a number and s, m, h or d".to_owned();
    let (at, unit) = text.char_indices().next_back().ok_or_else(unreadable)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(unreadable()),
    };
    let count: u64 = text[..at].parse().map_err(|_| unreadable())?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(unreadable)
}
