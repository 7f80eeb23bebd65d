//! The Lambda bootstrap of `webhooks`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(webhooks::function()).await
}
