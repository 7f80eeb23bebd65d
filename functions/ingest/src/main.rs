//! The Lambda bootstrap of `ingest`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(ingest::function()).await
}
