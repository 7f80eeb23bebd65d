//! The Lambda bootstrap of `integrations`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(integrations::function()).await
}
