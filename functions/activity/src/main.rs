//! The Lambda bootstrap of `activity`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(activity::function()).await
}
