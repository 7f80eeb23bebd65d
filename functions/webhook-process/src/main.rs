//! The Lambda bootstrap of `webhook-process`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(webhook_process::function()).await
}
