//! The Lambda bootstrap of `key-generate`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(key_generate::function()).await
}
