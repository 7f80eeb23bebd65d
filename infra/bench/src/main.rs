//! Measures the functions' bootstraps outside AWS: starts each as Lambda does, sends it real
//! events, and prints what it takes beside a hand-written function that only makes the same calls.

mod bootstrap;
mod case;
mod endpoint;
mod measure;
mod price;
mod report;
mod tls;
mod vault;

use std::{collections::HashMap, env, fs, path::PathBuf, process::ExitCode};

use case::{Issuer, Stage};
use clap::Parser;
use dynoxide::Database;
use endpoint::Endpoint;
use measure::Effort;

/// Any failure of the bench.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// The tables of the template: the variable that names one to the functions, and whether it has
/// the index.
const TABLES: [(&str, bool); 3] =
    [("API_KEYS_TABLE", false), ("LEDGER_TABLE", true), ("ACTIVITY_TABLE", false)];

/// Processes of each side that share the warm invocations.
const PAIRS: usize = 20;

/// Measures the functions beside a minimal hand-written function.
#[derive(Parser)]
struct Arguments {
    /// Only a few iterations, and only the round trips count: keeps the bench itself from rotting.
    #[arg(long)]
    quick: bool,
    /// Only these functions.
    #[arg(long, value_name = "FUNCTION", num_args = 1..)]
    only: Vec<String>,
    /// Where the bootstraps are; beside this program if not given.
    #[arg(long, value_name = "DIR")]
    bootstraps: Option<PathBuf>,
    /// Cold starts of each side.
    #[arg(long, default_value_t = 60)]
    cold: usize,
    /// Warm invocations of each side.
    #[arg(long, default_value_t = 2000)]
    warm: usize,
    /// Memory of the functions, which buys their share of a processor; the template's default.
    #[arg(long, default_value_t = 256)]
    memory_mb: u32,
}

// One thread: Lambda's side of the exchange should not compete with itself for a processor.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<bool, Error> {
    let directory = env::temp_dir().join(format!("bench-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let outcome = measure_all(arguments, &directory).await;
    fs::remove_dir_all(&directory)?;
    outcome
}

async fn measure_all(arguments: &Arguments, directory: &std::path::Path) -> Result<bool, Error> {
    let issuer = Issuer::new()?;
    let database = Database::memory()?;
    let bundle = directory.join("authorities.pem");
    let acceptor = tls::acceptor(&bundle)?;
    let mut variables = HashMap::from([
        ("SSL_CERT_FILE".to_owned(), bundle.display().to_string()),
        ("LOG_LEVEL".to_owned(), "info".to_owned()),
        ("TIME_ZONE".to_owned(), "UTC".to_owned()),
        ("WORKSPACE_CLAIM".to_owned(), "org".to_owned()),
        ("ROLE_CLAIM".to_owned(), "role".to_owned()),
    ]);
    for (variable, indexed) in TABLES {
        endpoint::create_table(&database, variable, indexed)?;
        variables.insert(variable.to_owned(), variable.to_owned());
    }
    let endpoint = Endpoint::start(acceptor, database, issuer.keys()).await?;
    variables.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), endpoint.url.clone());
    variables.extend(Issuer::variables(&endpoint.url));
    let bootstraps = match &arguments.bootstraps {
        Some(directory) => directory.clone(),
        None => env::current_exe()?.parent().ok_or("this program has no directory")?.to_owned(),
    };
    let stage = Stage { bootstraps, logs: directory.to_owned(), memory_mb: arguments.memory_mb, variables };

    let mut cases = case::open();
    cases.extend(case::called(&stage, &issuer).await?);
    cases.retain(|case| arguments.only.is_empty() || arguments.only.iter().any(|only| only == case.function));

    let effort = if arguments.quick {
        Effort { cold: 1, warm: 10, pairs: 1, packages: false }
    } else {
        Effort { cold: arguments.cold, warm: arguments.warm, pairs: PAIRS, packages: true }
    };
    let mut results = Vec::new();
    for case in cases {
        let comparison = measure::compare(&stage, &endpoint, &case, effort).await?;
        eprintln!("{}: {}", case.function, report::operations(&comparison.calls));
        results.push((case, comparison));
    }
    let mut vault = Vec::new();
    if arguments.only.is_empty() || arguments.only.iter().any(|only| only == "vault") {
        vault = vault::measure(effort.warm.div_ceil(10)).await?;
    }
    if results.is_empty() && vault.is_empty() {
        return Err("no such function".into());
    }

    let mut wrong = report::wrong_calls(&results);
    wrong.extend(vault::wrong(&vault));
    if !vault.is_empty() {
        eprintln!("{}", vault::table(&vault));
    }
    if !arguments.quick {
        println!("{}", report::figures(&results));
        println!("Ratios to the floor:\n\n{}", report::ratios(&results));
        println!(
            "At {} MB on arm64, us-east-1:\n\n{}",
            arguments.memory_mb,
            report::prices(&results, arguments.memory_mb)
        );
        let missed = report::missed(&results);
        if missed.is_empty() {
            println!("Every target holds.");
        }
        for line in missed {
            println!("Missed: {line}");
        }
    }
    for line in &wrong {
        println!("Wrong round trips: {line}");
    }
    Ok(wrong.is_empty())
}
