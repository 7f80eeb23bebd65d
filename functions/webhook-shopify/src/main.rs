//! The Lambda bootstrap of `webhook-shopify`.

use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve(webhook_shopify::function()).await
}
