//! The document against the template, against OpenAPI, and against itself; and the page.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// Every object of the document, with where it stands.
fn objects<'a>(at: &str, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(members) => {
            found.push((at.to_owned(), value));
            for (name, member) in members {
                // Examples are data: what looks like a keyword in them is none.
                if name != "example" {
                    objects(&format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), member, found);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                objects(&format!("{at}/{index}"), item, found);
            }
        }
        _ => {}
    }
}

fn follow<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// `(METHOD path, operation)` of the whole document.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, node)| (format!("{} {path}", method.to_uppercase()), node))
        })
        .collect()
}

#[test]
fn every_reference_leads_somewhere_and_nothing_is_left_over() {
    let document = document();
    let mut found = Vec::new();
    objects("", &document, &mut found);
    let mut used = BTreeSet::new();
    for (at, object) in &found {
        let Some(reference) = object.get("$ref") else { continue };
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).unwrap();
        assert!(document.pointer(pointer).is_some(), "{at}: {reference}");
        used.insert(pointer.to_owned());
    }
    for section in ["parameters", "headers", "responses", "schemas"] {
        for name in document["components"][section].as_object().unwrap().keys() {
            let pointer = format!("/components/{section}/{name}");
            assert!(used.contains(&pointer), "nothing refers to {pointer}");
        }
    }
}

#[test]
fn every_operation_is_complete() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for (route, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{route}: operationId again");
        for member in ["summary", "description"] {
            assert!(!operation[member].as_str().unwrap().is_empty(), "{route}: {member}");
        }
        assert!(tags.contains(&&operation["tags"][0]), "{route}: unknown tag");

        let mut in_path: Vec<_> =
            route.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = follow(&document, parameter);
            assert!(parameter["description"].is_string(), "{route}: {parameter}");
            if parameter["in"] == "path" {
                assert_eq!(parameter["required"], true, "{route}: {parameter}");
                in_path.retain(|name| parameter["name"] != *name);
            }
        }
        assert!(in_path.is_empty(), "{route}: {in_path:?} not described");

        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with('2')), "{route}: no success");
        let mut expected = vec!["429", "431", "500", "503"];
        if operation["security"] != json!([]) {
            expected.extend(["401", "403"]);
        }
        if operation["requestBody"].is_object() {
            expected.push("413");
            // What a provider signed is taken, whatever it says.
            expected.extend(if operation["security"] == json!([]) { ["401", "503"] } else { ["400", "422"] });
        }
        for status in expected {
            assert!(answers.contains_key(status), "{route}: {status}");
        }
        for (status, answer) in answers {
            assert!(follow(&document, answer)["description"].is_string(), "{route}: {status}");
        }
    }
}

#[test]
fn the_version_is_that_of_the_service() {
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Template {
    resources: BTreeMap<String, Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resource {
    r#type: String,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    #[serde(default)]
    events: BTreeMap<String, Event>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    r#type: String,
    properties: EventProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventProperties {
    #[serde(default)]
    method: String,
    #[serde(default)]
    path: String,
    auth: Option<Auth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Auth {
    authorizer: String,
}

#[test]
fn document_and_template_have_the_same_routes_and_authorizers() {
    let template: Template = serde_saphyr::from_str(include_str!("../../../template.yaml")).unwrap();
    let mut routes = BTreeMap::new();
    for resource in template.resources.values().filter(|one| one.r#type == "AWS::Serverless::Function") {
        for event in resource.properties.events.values().filter(|event| event.r#type == "HttpApi") {
            let EventProperties { method, path, auth } = &event.properties;
            let authorizer = auth.as_ref().map_or("UserAuthorizer", |auth| &auth.authorizer);
            // SAM has one name for what a greedy parameter holds.
            let path = path.replace("{proxy+}", "{path}");
            routes.insert(format!("{method} {path}"), authorizer.to_owned());
        }
    }
    assert!(routes.len() > 5, "{routes:?}");

    let document = document();
    let described: BTreeMap<_, _> = operations(&document)
        .into_iter()
        .map(|(route, operation)| {
            let schemes = operation["security"].as_array().unwrap();
            assert!(schemes.len() <= 1, "{route}: a route has one authorizer");
            let scheme = schemes.first().and_then(Value::as_object).and_then(|one| one.keys().next());
            let authorizer = match scheme.map(String::as_str) {
                Some("bearer") => "UserAuthorizer",
                Some("apiKey") => "KeyAuthorizer",
                None => "NONE",
                Some(other) => panic!("{route}: {other}"),
            };
            (route, authorizer.to_owned())
        })
        .collect();
    assert_eq!(described, routes);
}

/// Checks values against a schema of the document.
fn validator(document: &Value, schema: &Value) -> Validator {
    // References name `#/components/…`, so the components come along.
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

#[test]
fn every_schema_compiles_and_every_example_is_valid() {
    let document = document();
    let mut found = Vec::new();
    objects("", &document, &mut found);
    let mut examples = 0;
    for (at, object) in found {
        if let Some(schema) = object.get("schema") {
            let validator = validator(&document, schema);
            if let Some(example) = object.get("example") {
                examples += 1;
                let errors: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{at}: {errors:?}");
            }
        }
        assert!(
            object.get("content").is_none_or(Value::is_object),
            "{at}: content maps media types to what they hold"
        );
    }
    assert!(examples > 20, "{examples} examples");
}

#[test]
fn schemas_refuse_what_must_not_be() {
    let document = document();
    let schema = |name: &str| validator(&document, &json!({"$ref": format!("#/components/schemas/{name}")}));
    let good = document["paths"]["/api/devops/keys/{id}"]["delete"]["responses"]["200"]["content"]
        ["application/json"]["example"]
        .clone();
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed
    };
    let without = |name: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed
    };
    for (case, kind, value, valid) in [
        ("a revoked key", "RevokedKey", good.clone(), true),
        ("with a secret", "RevokedKey", with("api_key", json!("rr_l…")), false),
        ("with a hash", "RevokedKey", with("secret_hash", json!("ab")), false),
        ("revoked without reason", "RevokedKey", without("revoked_reason"), false),
        ("active with reason", "KeyFacts", with("status", json!("active")), false),
        ("local time", "RevokedKey", with("created_at", json!("2026-01-15T10:30:00+01:00")), false),
        ("no time at all", "RevokedKey", with("created_at", json!("yesterdayZ")), false),
        (
            "repeated permission",
            "RevokedKey",
            with("permissions", json!(["read_metrics", "read_metrics"])),
            false,
        ),
        ("plain request", "KeyRequest", json!({"name": "x"}), true),
        ("null is absent", "KeyRequest", json!({"name": "x", "user_id": null, "environment": null}), true),
        ("unknown field", "KeyRequest", json!({"name": "x", "nme": "y"}), false),
        ("negative expiry", "KeyRequest", json!({"name": "x", "expires_in_days": -1}), false),
        ("control character", "KeyRequest", json!({"name": "a\u{0}b"}), false),
        ("300 characters", "KeyRequest", json!({"name": "x".repeat(300)}), false),
        (
            "rejected without errors",
            "IngestResults",
            json!({"results": [{"id": "a", "outcome": "rejected"}]}),
            false,
        ),
        (
            "created without id",
            "IngestResults",
            json!({"results": [{"id": null, "outcome": "created"}]}),
            false,
        ),
        ("separator in an id", "ExternalId", json!("a#b"), false),
    ] {
        assert_eq!(schema(kind).is_valid(&value), valid, "{case}: {value}");
    }
}

fn page() -> String {
    Content::page().unwrap().text
}

fn attribute_values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    page.split(&format!(" {attribute}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_page_shows_every_operation_and_all_its_links_work() {
    let (document, page) = (document(), page());
    let ids: Vec<_> = attribute_values(&page, "id");
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "ids are unique");
    for (route, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.contains(&id), "{route}");
        assert!(page.contains(operation["summary"].as_str().unwrap()), "{route}");
        for status in operation["responses"].as_object().unwrap().keys() {
            assert!(page.contains(&format!(">{status}</span>")), "{route}: {status}");
        }
    }
    for link in attribute_values(&page, "href") {
        let known = link == "openapi.json" || link.strip_prefix('#').is_some_and(|id| ids.contains(&id));
        assert!(known, "{link}");
    }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = page();
    for reach in ["<script", "<link", "<img", "<iframe", " src=", "@import", "url(", "javascript:", " style="]
    {
        assert!(!page.contains(reach), "{reach}");
    }
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = STANDARD.encode(Sha256::digest(style));
    let policy = Content::page().unwrap().security_policy;
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(
        policy.contains(&format!("style-src 'sha256-{hash}'")),
        "the style that is sent is the one allowed"
    );
}

#[test]
fn markup_in_the_document_is_text_on_the_page() {
    let text = "<script>\"'&`<b>`";
    let document = json!({
        "info": {"title": text, "version": text, "summary": text, "description": text},
        "tags": [{"name": text, "description": text}],
        "paths": {text: {"get": {
            "operationId": text, "summary": text, "description": text, "tags": [text], "security": [],
            "parameters": [{"name": text, "in": "query", "description": text, "schema": {"pattern": text}}],
            "requestBody": {"content": {"application/json": {
                "schema": {"properties": {text: {"enum": [text], "default": text}}},
                "example": {text: text},
            }}},
            "responses": {"200": {"description": text, "content": {text: {"schema": {}, "example": text}}}},
        }}},
        "components": {"securitySchemes": {text: {"name": text, "description": text}}},
    });
    let page = page::render(&serde_json::from_value(document).unwrap());
    assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
    assert!(page.matches("&lt;script&gt;&quot;").count() > 10, "{page}");
}

#[tokio::test]
async fn both_forms_are_served_and_a_known_one_is_not_sent_again() {
    let deps = Arc::new(Deps::load(&Env::of([("", ""); 0]), &SdkConfig::builder().build()).unwrap());
    for (path, kind, begins) in [
        ("/api/openapi.json", "application/json", "{"),
        ("/api/docs", "text/html; charset=utf-8", "<!DOCTYPE html>"),
    ] {
        let mut request = Request::default();
        *request.uri_mut() = path.parse().unwrap();
        let answer = handle(Arc::clone(&deps), request).await.unwrap();
        let headers = answer.headers();
        assert_eq!((answer.status().as_u16(), headers["content-type"].to_str().unwrap()), (200, kind));
        assert!(answer.body().starts_with(begins.as_bytes()), "{path}");
        assert!(headers.contains_key("content-security-policy") && headers.contains_key("cache-control"));

        let mut request = Request::default();
        *request.uri_mut() = path.parse().unwrap();
        request.headers_mut().insert("if-none-match", headers["etag"].clone());
        let answer = handle(Arc::clone(&deps), request).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().len()), (304, 0), "{path}");
    }
    let mut request = Request::default();
    *request.uri_mut() = "/api/other".parse().unwrap();
    assert_eq!(handle(deps, request).await.unwrap_err().into_response().status(), 404);
}
