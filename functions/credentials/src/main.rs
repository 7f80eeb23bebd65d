//! The Lambda bootstrap of `credentials`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(credentials::function()).await
}
