//! The Lambda bootstrap of `webhook-github`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(webhook_github::function()).await
}
