//! Tests prove what an integration is set to, which is more than that its credential works.

use std::sync::{Arc, Mutex};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
};
use axum::{
    Json, Router,
    extract::{Path, Query},
    http::StatusCode,
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::World;

/// Google and Shopify as they answer about what there is; each knows one of everything.
#[derive(Clone, Default)]
struct Fakes {
    /// How many spreadsheets are on each page of Drive's list.
    sheets: Arc<Mutex<usize>>,
    properties: Arc<Mutex<Vec<String>>>,
}

impl Fakes {
    async fn serve(&self) -> String {
        let (sheets, asked) = (Arc::clone(&self.sheets), Arc::clone(&self.properties));
        let token = || async { Json(json!({"access_token": "ya29.fake", "expires_in": 3599})) };
        let property = move |Path(id): Path<String>| async move {
            asked.lock().unwrap().push(id.clone());
            if id == "111111111" {
                (StatusCode::OK, Json(json!({"name": "properties/111111111/metadata"})))
            } else {
                let denied = "User does not have sufficient permissions";
                let error = json!({"code": 403, "message": denied, "status": "PERMISSION_DENIED"});
                (StatusCode::FORBIDDEN, Json(json!({"error": error})))
            }
        };
        let files = move |Query(query): Query<Vec<(String, String)>>| async move {
            let page = query.iter().find(|(name, _)| name == "pageToken").map_or("0", |(_, page)| page);
            let (page, count) = (page.parse::<usize>().unwrap(), *sheets.lock().unwrap());
            let sheet = |number| json!({"id": format!("sheet-{page}-{number}"), "name": "KPI"});
            let files: Vec<Value> = (0..count).map(sheet).collect();
            // As many pages as anyone would read.
            let next = (count == 200).then(|| (page + 1).to_string());
            Json(json!({"files": files, "nextPageToken": next}))
        };
        let shop = || async {
            Json(json!({"data": {
                "shop": {"name": "Acme", "myshopifyDomain": "acme.myshopify.com"},
                "currentAppInstallation": {"accessScopes": [{"handle": "read_orders"}]},
            }}))
        };
        let router = Router::new()
            .route("/token", post(token))
            .route("/v1beta/properties/{id}/metadata", get(property))
            .route("/drive/v3/files", get(files))
            .route("/admin/api/{version}/graphql.json", post(shop));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("google={url},shopify={url}")
    }
}

fn service_account() -> Value {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let (der, label) = (STANDARD.encode(pair.as_der().unwrap().as_ref()), "PRIVATE KEY");
    json!({
        "type": "service_account", "client_email": "tidegate@project.iam.gserviceaccount.example",
        "private_key": format!("-----BEGIN {label}-----\n{der}\n-----END {label}-----\n"),
    })
}

/// Sets a new integration up and tests it as a person does.
async fn test(world: &World, kind: &str, provider: &str, credential: &str, configuration: Value) -> Value {
    let body = json!({
        "type": kind, "provider": provider, "credential_id": credential, "configuration": configuration,
    });
    let made = world.create(body).await;
    let (status, answer) =
        world.call("POST /api/integrations/{id}/test", &made.integration.id, &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn the_property_that_is_configured_is_proven_and_not_the_one_of_the_credential() {
    let fakes = Fakes::default();
    let world = World::among(fakes.serve().await).await;
    let account = service_account();
    let of = |property: &str| json!({"service_account": account, "property_id": property});
    let one = world.credential_of("ga4", of("111111111")).await;
    let two = world.credential_of("ga4", of("222222222")).await;
    let test = |credential, configuration| test(&world, "analytics", "ga4", credential, configuration);
    let proven = json!({"verified": true, "propertyId": "111111111"});
    assert_eq!(test(&one, json!({})).await, proven, "the credential's own");
    assert_eq!(test(&two, json!({"property_id": "111111111"})).await, proven, "the configured one");
    let refused = test(&one, json!({"property_id": "222222222"})).await;
    assert_eq!((&refused["verified"], &refused["cause"]), (&json!(false), &json!("scope")), "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("Viewer on property 222222222"), "{refused}");
    assert_eq!(*fakes.properties.lock().unwrap(), ["111111111", "111111111", "222222222"]);
}

#[tokio::test]
async fn a_shop_that_is_configured_must_be_the_one_of_the_credential() {
    let world = World::among(Fakes::default().serve().await).await;
    let token = format!("shpat_{}", "0".repeat(32));
    let credential =
        world.credential_of("shopify", json!({"shop": "acme.myshopify.com", "access_token": token})).await;
    for (case, configuration, cause) in [
        ("none", json!({}), None),
        ("the same", json!({"shop": "acme.myshopify.com"}), None),
        ("in capitals", json!({"shop": "Acme.myshopify.com"}), None),
        ("another", json!({"shop": "other.myshopify.com"}), Some("scope")),
    ] {
        let answer = test(&world, "commerce", "shopify", &credential, configuration).await;
        assert_eq!(answer.get("cause").and_then(Value::as_str), cause, "{case}: {answer}");
        let said = answer.to_string();
        assert_eq!(said.contains("other.myshopify.com"), cause.is_some(), "{case}: {answer}");
        assert_eq!(answer["verified"], cause.is_none(), "{case}: {answer}");
    }
}

#[tokio::test]
async fn a_spreadsheet_that_is_configured_must_be_shared_with_the_account() {
    let fakes = Fakes::default();
    let world = World::among(fakes.serve().await).await;
    let credential = world.credential_of("google", json!({"service_account": service_account()})).await;
    for (case, on_each_page, configuration, cause) in [
        ("none", 1, json!({}), None),
        ("shared", 2, json!({"spreadsheet_id": "sheet-0-1"}), None),
        ("not shared", 2, json!({"spreadsheet_id": "sheet-0-2"}), Some("scope")),
        ("nothing is shared", 0, json!({"spreadsheet_id": "sheet-0-0"}), Some("scope")),
        ("perhaps among those that nobody read", 200, json!({"spreadsheet_id": "sheet-9-0"}), None),
    ] {
        *fakes.sheets.lock().unwrap() = on_each_page;
        let answer = test(&world, "spreadsheet", "google", &credential, configuration).await;
        assert_eq!(answer.get("cause").and_then(Value::as_str), cause, "{case}: {answer}");
        assert_eq!(answer["verified"], cause.is_none(), "{case}: {answer}");
    }
}
