//! Google Analytics' Data API.

use serde_json::json;
use shared::providers::{Cause, Provider};

use super::{
    Fault, Subject,
    service_account::{self, api_error},
};
use crate::fake::{Reply, Seen};

const SCOPE: &str = "https://www.googleapis.com/auth/analytics.readonly";

pub fn property() -> Subject {
    let denied =
        api_error(403, "PERMISSION_DENIED", "forbidden", "User does not have sufficient permissions");
    let unknown = api_error(404, "NOT_FOUND", "notFound", "Property not found");
    let exhausted = api_error(429, "RESOURCE_EXHAUSTED", "quota", "Exhausted property tokens for a day");
    let other = Reply::Json(200, json!({"name": "properties/1/metadata"}));
    let mut faults = service_account::faults();
    faults.extend([
        Fault::new("no access to the property", 1, denied, Cause::Scope, "role Viewer on property 123456789"),
        Fault::new("no such property", 1, unknown, Cause::Format, "not found"),
        Fault::new("out of tokens", 1, exhausted, Cause::RateLimited, "Exhausted"),
        Fault::new("another property", 1, other, Cause::Provider, "the property that was asked for"),
    ]);
    Subject {
        name: "ga4",
        provider: Provider::Ga4,
        endpoint: "google",
        credential: json!({"service_account": service_account::key_file(), "property_id": 123_456_789}),
        secrets: service_account::secrets(),
        good,
        calls: 2,
        answer: json!({"propertyId": "123456789"}),
        scopes: vec![SCOPE],
        complains: service_account::complains,
        faults,
    }
}

fn good(seen: &Seen) -> Reply {
    if seen.path == "/token" {
        return service_account::sell(seen, SCOPE);
    }
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/v1beta/properties/123456789/metadata"));
    assert_eq!(seen.header("authorization"), format!("Bearer {}", service_account::token()));
    Reply::Json(200, json!({"name": "properties/123456789/metadata"}))
}
