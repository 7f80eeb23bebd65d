//! The Lambda bootstrap of `metrics`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(metrics::function()).await
}
