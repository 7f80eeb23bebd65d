//! Measures the functions' bootstraps outside AWS: starts each as Lambda does, sends it real
//! events, and prints what it takes beside a hand-written function that only makes the same calls.

mod bootstrap;
mod case;
mod direct;
mod endpoint;
mod ledger;
mod measure;
mod price;
mod report;
mod tables;
mod tls;
mod vault;
mod webhooks;
mod writers;

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use case::{Issuer, Stage};
use clap::Parser;
use endpoint::Endpoint;
use measure::Effort;
use tables::Tables;
use tidegate::embedded::Embedded;

/// Any failure of the bench.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Transactions that the ledger is measured with; the last is for `--full`.
const SIZES: [usize; 4] = [1000, 10_000, 100_000, 1_000_000];
/// Processes of each side that share the warm invocations.
const PAIRS: usize = 20;

/// Measures the functions beside a minimal hand-written function.
#[derive(Parser)]
struct Arguments {
    /// Only a few iterations, and only the round trips count: keeps the bench itself from rotting.
    #[arg(long)]
    quick: bool,
    /// Only these functions, `vault`, `ledger` or `webhooks`.
    #[arg(long, value_name = "FUNCTION", num_args = 1..)]
    only: Vec<String>,
    /// The ledger up to a million transactions, which takes minutes more.
    #[arg(long)]
    full: bool,
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

async fn measure_all(arguments: &Arguments, directory: &Path) -> Result<bool, Error> {
    let effort = if arguments.quick {
        Effort { cold: 1, warm: 10, pairs: 1, packages: false }
    } else {
        Effort { cold: arguments.cold, warm: arguments.warm, pairs: PAIRS, packages: true }
    };
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let sections = ["vault", "ledger", "webhooks"];
    let mut wrong = Vec::new();
    if arguments.only.is_empty() || arguments.only.iter().any(|only| !sections.contains(&only.as_str())) {
        wrong.extend(functions(arguments, directory, effort).await?);
    }
    if wanted("vault") {
        let lines = vault::measure(&Embedded::memory().await?, effort.warm.div_ceil(10)).await?;
        println!("{}", vault::table(&lines));
        wrong.extend(vault::wrong(&lines));
    }
    if wanted("ledger") {
        let embedded = Embedded::memory().await?;
        let (calls, reads) = if arguments.quick { (1, 10) } else { (32, 300) };
        let runs = writers::measure(&embedded, calls).await?;
        println!("{}", writers::table(&runs));
        wrong.extend(writers::wrong(&runs));
        let sizes: &[usize] = match (arguments.quick, arguments.full) {
            (true, _) => &[1000, 3000],
            (false, false) => &SIZES[..3],
            (false, true) => &SIZES,
        };
        let sizes = ledger::measure(&embedded, sizes, reads).await?;
        println!("{}", ledger::table(&sizes));
        wrong.extend(ledger::wrong(&sizes));
    }
    if wanted("webhooks") {
        let run = webhooks::measure(directory, if arguments.quick { 60 } else { 3000 }).await?;
        println!("{}", webhooks::table(&run));
        wrong.extend(webhooks::wrong(&run));
    }
    for line in &wrong {
        println!("Wrong: {line}");
    }
    Ok(wrong.is_empty())
}

/// Measures the bootstraps; tells what is wrong with their round trips.
async fn functions(arguments: &Arguments, directory: &Path, effort: Effort) -> Result<Vec<String>, Error> {
    let issuer = Issuer::new()?;
    let embedded = Embedded::memory().await?;
    let bundle = directory.join("authorities.pem");
    let acceptor = tls::acceptor(&bundle)?;
    let tables = Tables::memory(embedded.tables())?;
    let endpoint = Endpoint::start(acceptor, tables, issuer.keys(), case::STRIPE_SECRET.to_owned()).await?;
    let mut variables = HashMap::from([
        ("SSL_CERT_FILE".to_owned(), bundle.display().to_string()),
        ("AWS_ENDPOINT_URL".to_owned(), endpoint.url.clone()),
    ]);
    variables.extend(Issuer::variables(&endpoint.url));
    let bootstraps = match &arguments.bootstraps {
        Some(directory) => directory.clone(),
        None => env::current_exe()?.parent().ok_or("this program has no directory")?.to_owned(),
    };
    let stage =
        Stage { bootstraps, logs: directory.to_owned(), memory_mb: arguments.memory_mb, variables, embedded };

    let mut cases = case::open();
    cases.extend(case::called(&stage, &issuer).await?);
    cases.retain(|case| arguments.only.is_empty() || arguments.only.iter().any(|only| only == case.function));
    if cases.is_empty() {
        return Err("no such function".into());
    }
    let mut results = Vec::new();
    for case in cases {
        let comparison = measure::compare(&stage, &endpoint, &case, effort).await?;
        eprintln!("{}: {}", case.function, report::operations(&comparison.calls));
        results.push((case, comparison));
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
    Ok(report::wrong_calls(&results))
}
