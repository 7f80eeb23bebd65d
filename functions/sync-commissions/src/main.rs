//! The Lambda bootstrap of `sync-commissions`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(sync_commissions::function()).await
}
