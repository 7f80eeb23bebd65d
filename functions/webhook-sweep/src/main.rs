//! The Lambda bootstrap of `webhook-sweep`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(webhook_sweep::function()).await
}
