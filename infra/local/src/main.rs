//! `tidegate`: the whole system in one process.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    tidegate::cli::run().await
}
