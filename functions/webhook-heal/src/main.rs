//! The Lambda bootstrap of `webhook-heal`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(webhook_heal::function()).await
}
