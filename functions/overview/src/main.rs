//! The Lambda bootstrap of `overview`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(overview::function()).await
}
