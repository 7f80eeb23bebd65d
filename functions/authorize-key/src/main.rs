//! The Lambda bootstrap of `authorize-key`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(authorize_key::function()).await
}
