//! A shop: GraphQL, whose errors are successes, and the token endpoint of its apps.

use serde_json::{Value, json};
use shared::providers::{Cause, Provider};

use super::{Fault, Subject, hexadecimal};
use crate::fake::{Reply, Seen};

const SHOP: &str = "acme.myshopify.com";

pub fn token() -> Subject {
    Subject {
        name: "shopify by token",
        provider: Provider::Shopify,
        endpoint: "shopify",
        credential: json!({"shop": SHOP, "access_token": access_token()}),
        secrets: vec![access_token()],
        good: |seen| shop(seen, &access_token()),
        calls: 1,
        answer: json!({"storeName": "Acme"}),
        scopes: vec!["read_orders", "read_products"],
        complains: |_, message| Reply::Json(401, json!({"errors": message})),
        faults: faults(0),
    }
}

pub fn app() -> Subject {
    let refused = |error: &str| Reply::Json(400, json!({"error": error, "error_description": "as it says"}));
    let mut faults = faults(1);
    faults.extend([
        Fault::new("wrong secret", 0, refused("invalid_client"), Cause::Auth, "as it says"),
        Fault::new("not installed", 0, refused("shop_not_permitted"), Cause::Scope, "as it says"),
        Fault::new("no such shop", 0, Reply::Raw(404, "text/html", "<h1>".into()), Cause::Format, "404"),
        Fault::new(
            "token of no length",
            0,
            Reply::Json(200, json!({"access_token": "", "expires_in": 1})),
            Cause::Provider,
            "a token",
        ),
    ]);
    Subject {
        name: "shopify by app",
        credential: json!({"shop": SHOP, "client_id": hexadecimal(8), "client_secret": client_secret()}),
        secrets: vec![client_secret(), bought()],
        good: |seen| match seen.path.as_str() {
            "/admin/oauth/access_token" => {
                assert_eq!(seen.form("grant_type"), "client_credentials");
                assert_eq!(
                    (seen.form("client_id"), seen.form("client_secret")),
                    (hexadecimal(8), client_secret())
                );
                Reply::Json(
                    200,
                    json!({"access_token": bought(), "scope": "read_orders", "expires_in": 86_399}),
                )
            }
            _ => shop(seen, &bought()),
        },
        calls: 2,
        complains: |call, message| match call {
            0 => Reply::Json(400, json!({"error": "invalid_client", "error_description": message})),
            _ => Reply::Json(401, json!({"errors": message})),
        },
        faults,
        ..token()
    }
}

/// What goes wrong with the query, which is the call of this number.
fn faults(call: usize) -> Vec<Fault> {
    let error = |code: &str| json!([{"message": "as it says", "extensions": {"code": code}}]);
    let cost = json!({"cost": {
        "requestedQueryCost": 12, "actualQueryCost": null,
        "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 2, "restoreRate": 4.0},
    }});
    let throttled = Reply::Json(200, json!({"errors": error("THROTTLED"), "extensions": cost}));
    let denied = Reply::Json(200, json!({"data": null, "errors": error("ACCESS_DENIED")}));
    let broken = Reply::Json(200, json!({"errors": error("INTERNAL_SERVER_ERROR")}));
    let unknown = Reply::Json(401, json!({"errors": "[API] Invalid API key or access token"}));
    let locked = Reply::Json(402, json!({"errors": "Unavailable Shop"}));
    let narrow = Reply::Json(200, data(SHOP, &["read_products"]));
    let other = Reply::Json(200, data("other.myshopify.com", &["read_orders"]));
    vec![
        Fault::new("throttled", call, throttled, Cause::RateLimited, "as it says").after(3),
        Fault::new("access denied", call, denied, Cause::Scope, "as it says"),
        Fault::new("fault within a success", call, broken, Cause::Provider, "as it says"),
        Fault::new("uninstalled", call, unknown, Cause::Auth, "Invalid API key"),
        Fault::new("frozen shop", call, locked, Cause::Provider, "Unavailable Shop"),
        Fault::new("no read_orders", call, narrow, Cause::Scope, "read_orders"),
        Fault::new("another shop", call, other, Cause::Provider, "the shop that was asked for"),
    ]
}

fn shop(seen: &Seen, token: &str) -> Reply {
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/admin/api/2026-10/graphql.json"));
    assert_eq!(seen.header("x-shopify-access-token"), token);
    let query: Value = serde_json::from_str(&seen.body).unwrap();
    assert!(query["query"].as_str().unwrap().contains("myshopifyDomain"), "{query}");
    Reply::With(
        200,
        vec![("x-shopify-api-version", "2026-10".to_owned())],
        data(SHOP, &["read_orders", "read_products"]),
    )
}

fn data(shop: &str, scopes: &[&str]) -> Value {
    let scopes: Vec<_> = scopes.iter().map(|scope| json!({"handle": scope})).collect();
    json!({"data": {
        "shop": {"name": "Acme", "myshopifyDomain": shop},
        "currentAppInstallation": {"accessScopes": scopes},
    }})
}

fn access_token() -> String {
    format!("shpat_{}", hexadecimal(6))
}

fn client_secret() -> String {
    format!("shpss_{}", hexadecimal(7))
}

fn bought() -> String {
    hexadecimal(9)
}
