//! The Lambda bootstrap of `vault-rewrap`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(vault_rewrap::function()).await
}
