//! The Lambda bootstrap of `authorize-user`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(authorize_user::function()).await
}
