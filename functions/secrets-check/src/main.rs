//! The Lambda bootstrap of `secrets-check`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(secrets_check::function()).await
}
