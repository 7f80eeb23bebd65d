//! What only the embedded runner can show: the emulator does not know API Gateway's limit on the
//! size of a body.

use tests::Workspace;

#[tokio::test]
async fn a_body_above_ten_megabytes_is_refused_by_the_gateway() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let call = workspace.server.request("PUT", "/api/ingest/users").key(&key.text);
    call.body("x".repeat(10 * 1024 * 1024 + 1)).send().await.gateway(413);
}
