//! The AWS endpoint: one loopback listener for all services, told apart by `X-Amz-Target`.
//!
//! It is the only thing the functions see that is not AWS. Whoever reaches it could read all
//! state, so requests must name the access key of this state directory, which is random, and
//! must not come from a web page.

use std::{fmt::Display, sync::Arc};

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::{rt::sleep::default_async_sleep, time::SystemTimeSource};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{self, DefaultBodyLimit},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    routing::post,
};
use serde_json::{Value, json};

use crate::{
    database::Rows,
    dynamodb::DynamoDb,
    intrinsics::REGION,
    kms::Kms,
    random,
    runner::StartError,
    secrets::Secrets,
    sqs::Sqs,
    state::{AccessKey, State},
    template::Template,
};

/// DynamoDB takes up to 16 MB.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Everything behind the endpoint.
#[derive(Clone)]
pub struct Services {
    /// Tables.
    pub dynamodb: DynamoDb,
    /// Queues.
    pub sqs: Sqs,
    /// What the scheduler remembers.
    pub rows: Rows,
    kms: Arc<Kms>,
    secrets: Secrets,
}

impl Services {
    /// Opens the state directory, or memory without one, and makes what the template describes.
    pub fn open(state: Option<&State>, template: &Template, url: &str) -> Result<Self, StartError> {
        let dynamodb = DynamoDb::open(state.map(|state| state.file("dynamodb.db")).as_deref())?;
        dynamodb.create(&template.tables)?;
        let rows = Rows::open(state.map(|state| state.file("services.db")).as_deref())?;
        let master = state.map_or_else(|| Ok(random::bytes()), State::master_key)?;
        let kms = Arc::new(Kms::new(master, template));
        let secrets = Secrets::new(rows.clone(), Arc::clone(&kms));
        secrets.create(&template.secrets)?;
        let sqs = Sqs::new(rows.clone(), &template.queues, url);
        Ok(Self { dynamodb, sqs, rows, kms, secrets })
    }
}

/// A refusal or failure of one of the services, as its protocol names it.
#[derive(Debug)]
pub struct ServiceError {
    /// HTTP's.
    pub status: u16,
    /// The exception's name.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// The exception's name in the older protocol of SQS, which clients still look at.
    query: Option<&'static str>,
    namespace: &'static str,
}

impl ServiceError {
    /// The request was wrong.
    pub fn new(code: &'static str, message: &str) -> Self {
        Self { status: 400, code, message: message.to_owned(), query: None, namespace: "" }
    }

    /// A request to SQS was wrong.
    pub fn sqs(code: &'static str, message: &str) -> Self {
        Self { query: Some(code), namespace: "com.amazonaws.sqs#", ..Self::new(code, message) }
    }

    /// With another name in the older protocol.
    pub fn query(self, code: &'static str) -> Self {
        Self { query: Some(code), ..self }
    }

    /// The request cannot be read.
    pub fn malformed(error: impl Display) -> Self {
        Self::new("SerializationException", &error.to_string())
    }

    /// No function makes this call, or the runner would answer it.
    pub fn unknown(service: &str, operation: &str) -> Self {
        let message = format!("{operation} of {service} is not known to the embedded runner");
        Self::new("UnknownOperationException", &message)
    }

    /// Our own fault.
    pub fn internal() -> Self {
        Self { status: 500, ..Self::new("InternalFailure", "the request failed") }
    }
}

impl From<rusqlite::Error> for ServiceError {
    fn from(error: rusqlite::Error) -> Self {
        tracing::error!("queues and secrets: {error}");
        Self::internal()
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
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let (service, operation) = target.split_once('.').unwrap_or_default();
    if !admits(&endpoint.key, &headers) {
        let message = "the access key is not the one of this state directory; see `tidegate endpoints`";
        let error = ServiceError::new("UnrecognizedClientException", message);
        return answer(service, Err(ServiceError { status: 403, ..error }));
    }
    if service == "DynamoDB_20120810" {
        let (dynamodb, operation) = (endpoint.services.dynamodb.clone(), operation.to_owned());
        // The database waits for the disk.
        let run = tokio::task::spawn_blocking(move || match std::str::from_utf8(&body) {
            Ok(body) => Ok(dynamodb.answer(&operation, body)),
            Err(error) => Err(ServiceError::malformed(error)),
        });
        return match run.await {
            Ok(Ok((status, body))) => respond(service, status, body),
            Ok(Err(error)) => answer(service, Err(error)),
            Err(_) => answer(service, Err(ServiceError::internal())),
        };
    }
    let done = match serde_json::from_slice(&body) {
        Err(error) => Err(ServiceError::malformed(error)),
        Ok(request) => endpoint.services.answer(service, operation, request).await,
    };
    answer(service, done)
}

impl Services {
    async fn answer(&self, service: &str, operation: &str, request: Value) -> Result<Value, ServiceError> {
        match service {
            "TrentService" => self.kms.answer(operation, request),
            "AmazonSQS" => self.sqs.answer(operation, request).await,
            "secretsmanager" => self.secrets.answer(operation.to_owned(), request).await,
            _ => Err(ServiceError::unknown(if service.is_empty() { "nothing" } else { service }, operation)),
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

fn answer(service: &str, done: Result<Value, ServiceError>) -> Response<Body> {
    let error = match done {
        Ok(value) => return respond(service, 200, value.to_string()),
        Err(error) => error,
    };
    let body = json!({"__type": format!("{}{}", error.namespace, error.code), "message": error.message});
    let mut response = respond(service, error.status, body.to_string());
    if let Some(query) = error.query {
        let fault = if error.status < 500 { "Sender" } else { "Receiver" };
        if let Ok(value) = HeaderValue::from_str(&format!("{query};{fault}")) {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
    }
    response
}

fn respond(service: &str, status: u16, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = match service {
        "TrentService" | "secretsmanager" => "application/x-amz-json-1.1",
        _ => "application/x-amz-json-1.0",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(&random::uuid()) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
