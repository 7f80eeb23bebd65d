//! The Lambda bootstrap of `integrations-test`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(integrations_test::function()).await
}
