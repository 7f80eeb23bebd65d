//! The Lambda bootstrap of `sync-revenue`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(sync_revenue::function()).await
}
