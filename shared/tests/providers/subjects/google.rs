//! Drive, which lists in pages.

use serde_json::json;
use shared::providers::{Cause, Provider};

use super::{
    Fault, Subject,
    service_account::{self, api_error},
};
use crate::fake::{Reply, Seen};

const SCOPE: &str = "https://www.googleapis.com/auth/drive.metadata.readonly";

pub fn sheets() -> Subject {
    let limited = api_error(403, "PERMISSION_DENIED", "userRateLimitExceeded", "User rate limit exceeded");
    let disabled = api_error(403, "PERMISSION_DENIED", "accessNotConfigured", "Drive API is disabled");
    let mut faults = service_account::faults();
    faults.extend([
        Fault::new("API not enabled", 1, disabled, Cause::Scope, "Drive API is disabled"),
        Fault::new("too many calls, as Drive says it", 2, limited, Cause::RateLimited, "rate limit"),
        Fault::new(
            "a file without a name",
            1,
            Reply::Json(200, json!({"files": [{"id": "1"}]})),
            Cause::Provider,
            "name",
        ),
    ]);
    Subject {
        name: "google",
        provider: Provider::Google,
        endpoint: "google",
        credential: json!({"service_account": service_account::key_file()}),
        secrets: service_account::secrets(),
        good,
        calls: 3,
        answer: json!({"sheets": [{"id": "1", "name": "KPI"}, {"id": "2", "name": "Täglich"}]}),
        scopes: vec![SCOPE],
        complains: service_account::complains,
        faults,
    }
}

fn good(seen: &Seen) -> Reply {
    if seen.path == "/token" {
        return service_account::sell(seen, SCOPE);
    }
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/drive/v3/files"));
    assert_eq!(seen.header("authorization"), format!("Bearer {}", service_account::token()));
    assert_eq!(seen.query["fields"], "nextPageToken,files(id,name)");
    assert_eq!(seen.query["supportsAllDrives"], "true");
    assert_eq!(seen.query["includeItemsFromAllDrives"], "true");
    assert!(seen.query["q"].contains("trashed = false"));
    Reply::Json(
        200,
        match seen.query.get("pageToken").map(String::as_str) {
            None => json!({"files": [{"id": "1", "name": "KPI"}], "nextPageToken": "two + more"}),
            Some("two + more") => json!({"files": [{"id": "2", "name": "Täglich"}]}),
            other => panic!("asked for page {other:?}"),
        },
    )
}
