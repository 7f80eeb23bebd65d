//! Health, documents, and what is not there.

use serde_json::{Value, json};
use tests::Server;

#[tokio::test]
async fn health_tells_of_each_dependency() {
    let health = Server::named().get("/api/health").send().await.json(200);
    assert_eq!(health["status"], "ok");
    assert_eq!(health["dependencies"], json!({"api_keys": "ok", "ledger": "ok", "activity": "ok"}));
    assert!(health["version"].as_str().is_some_and(|version| !version.is_empty()), "{health}");
}

#[tokio::test]
async fn the_document_and_its_page_are_open() {
    let server = Server::named();
    let answer = server.get("/api/openapi.json").send().await.expect(200);
    let document: Value = serde_json::from_str(&answer.text).expect("the document is JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let page = server.get("/api/docs").send().await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.header("content-type"));
}

#[tokio::test]
async fn what_is_not_a_route_is_not_found() {
    let server = Server::named();
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/api"),
        ("GET", "/api/nothing"),
        ("GET", "/api/devops/generate-key"),
        ("POST", "/api/ingest/users"),
        ("PATCH", "/api/devops/keys/x"),
        ("GET", "/api/health/more"),
    ] {
        let answer = server.request(method, path).send().await;
        assert_eq!(answer.status, 404, "{method} {path}");
        answer.gateway(404);
    }
}

#[tokio::test]
async fn pages_of_an_allowed_origin_may_call_and_others_may_not() {
    // `tests/run.py` deploys both engines with this origin among the parameters.
    const ALLOWED: &str = "https://dashboard.example";
    let server = Server::named();
    let preflight = |origin: &str| {
        let call = server.request("OPTIONS", "/api/ingest/users").header("origin", origin);
        call.header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "x-api-key")
            .send()
    };
    let allowed = preflight(ALLOWED).await;
    assert!((200..300).contains(&allowed.status), "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-origin"), ALLOWED);
    assert!(allowed.header("access-control-allow-methods").contains("PUT"), "{allowed:?}");
    assert!(allowed.header("access-control-allow-headers").contains("x-api-key"), "{allowed:?}");
    let health = server.get("/api/health").header("origin", ALLOWED).send().await.expect(200);
    assert_eq!(health.header("access-control-allow-origin"), ALLOWED);
    assert!(health.header("access-control-expose-headers").contains("ratelimit-remaining"));

    for origin in ["https://evil.example", "https://dashboard.example.evil.example", "null"] {
        assert_eq!(preflight(origin).await.header("access-control-allow-origin"), "", "{origin}");
        let health = server.get("/api/health").header("origin", origin).send().await.expect(200);
        assert_eq!(health.header("access-control-allow-origin"), "", "{origin}");
    }
}
