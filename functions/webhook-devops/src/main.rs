//! The Lambda bootstrap of `webhook-devops`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(webhook_devops::function()).await
}
