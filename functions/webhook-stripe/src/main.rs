//! The Lambda bootstrap of `webhook-stripe`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(webhook_stripe::function()).await
}
