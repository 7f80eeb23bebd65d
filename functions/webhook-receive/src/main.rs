//! The Lambda bootstrap of `webhook-receive`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(webhook_receive::function()).await
}
