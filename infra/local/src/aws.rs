//! The AWS endpoint: one loopback listener for all services, told apart by `X-Amz-Target`.
//!
//! It is the only thing the functions see that is not AWS. Whoever reaches it could read all
//! state, so requests must name the access key of this state directory, which is random, and
//! must not come from a web page.

use std::sync::Arc;

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::{rt::sleep::default_async_sleep, time::SystemTimeSource};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{self, DefaultBodyLimit},
    http::{HeaderMap, Response, StatusCode, header},
    routing::post,
};
use serde_json::json;

use crate::{
    dynamodb::DynamoDb,
    intrinsics::REGION,
    runner::StartError,
    state::{AccessKey, State},
    template::Template,
};

/// `DynamoDB` takes up to 16 MB.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Everything behind the endpoint.
#[derive(Clone)]
pub struct Services {
    /// Tables.
    pub dynamodb: DynamoDb,
}

impl Services {
    /// Opens the state directory, or memory without one, and makes what the template describes.
    pub fn open(state: Option<&State>, template: &Template) -> Result<Self, StartError> {
        let dynamodb = DynamoDb::open(state.map(|state| state.file("dynamodb.db")).as_deref())?;
        dynamodb.create(&template.tables)?;
        Ok(Self { dynamodb })
    }
}

struct Endpoint {
    services: Services,
    key: AccessKey,
}

/// The endpoint as an axum service.
pub fn router(services: Services, key: AccessKey) -> Router {
    Router::new()
        .route("/", post(handle))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(Endpoint { services, key }))
}

/// SDK configuration for the endpoint. Nothing is read from, or written to, the process's
/// environment.
pub fn sdk_config(url: &str, key: &AccessKey) -> SdkConfig {
    let credentials = Credentials::new(&key.id, &key.secret, None, None, "tidegate");
    let mut sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(shared::lambda::http_client())
        .time_source(SystemTimeSource::new());
    sdk.set_sleep_impl(default_async_sleep());
    sdk.set_app_name(AppName::new("tidegate").ok());
    sdk.build()
}

async fn handle(
    extract::State(endpoint): extract::State<Arc<Endpoint>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    if !admits(&endpoint.key, &headers) {
        let error = json!({
            "__type": "UnrecognizedClientException",
            "message": "The access key is not the one of this state directory; see `tidegate endpoints`",
        });
        return respond("application/x-amz-json-1.0", 403, error.to_string());
    }
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let (service, operation) = target.split_once('.').unwrap_or_default();
    let Ok(text) = std::str::from_utf8(&body) else {
        let error = json!({"__type": "SerializationException", "message": "the body is not UTF-8"});
        return respond("application/x-amz-json-1.0", 400, error.to_string());
    };
    let text = text.to_owned();
    let operation = operation.to_owned();
    match service {
        "DynamoDB_20120810" => {
            let dynamodb = endpoint.services.dynamodb.clone();
            // The database waits for the disk.
            let answer = tokio::task::spawn_blocking(move || dynamodb.answer(&operation, &text)).await;
            let (status, body) = answer.unwrap_or_else(|_| {
                (500, json!({"__type": "InternalServerError", "message": "the request failed"}).to_string())
            });
            respond("application/x-amz-json-1.0", status, body)
        }
        _ => {
            let message = format!("{target} is not known to the embedded runner");
            let error = json!({"__type": "UnknownOperationException", "message": message});
            respond("application/x-amz-json-1.0", 400, error.to_string())
        }
    }
}

fn admits(key: &AccessKey, headers: &HeaderMap) -> bool {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = authorization
        .and_then(|value| value.strip_prefix("AWS4-HMAC-SHA256 "))
        .and_then(|value| value.split(',').find_map(|part| part.trim().strip_prefix("Credential=")))
        .and_then(|credential| credential.split('/').next());
    credential == Some(&key.id) && !headers.contains_key(header::ORIGIN)
}

fn respond(content_type: &'static str, status: u16, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
