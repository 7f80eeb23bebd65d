//! The Lambda bootstrap of `settings`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(settings::function()).await
}
