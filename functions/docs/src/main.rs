//! The Lambda bootstrap of `docs`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(docs::function()).await
}
