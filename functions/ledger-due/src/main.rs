//! The Lambda bootstrap of `ledger-due`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(ledger_due::function()).await
}
