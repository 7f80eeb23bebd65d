//! The Lambda bootstrap of `sync-users`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(sync_users::function()).await
}
