//! The Lambda bootstrap of `keys`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(keys::function()).await
}
