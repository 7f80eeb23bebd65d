//! What the functions talk to: `DynamoDB`, a queue that takes everything, a platform secret, and an
//! issuer's signing keys, all behind one TLS endpoint on loopback.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    Error,
    tables::{Call, Tables},
    tls::TlsListener,
};

/// The running endpoint.
pub struct Endpoint {
    /// Its base URL.
    pub url: String,
    state: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    tables: Tables,
    keys: String,
    secret: String,
}

impl Endpoint {
    /// Serves `tables`, `keys` (a JWKS document) and `secret` (the value of every platform secret)
    /// on a free port.
    pub async fn start(
        acceptor: tokio_rustls::TlsAcceptor,
        tables: Tables,
        keys: String,
        secret: String,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let state = Arc::new(Shared { tables, keys, secret });
        let router = Router::new()
            .route("/", post(aws))
            .route("/jwks.json", get(keys_document))
            .with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            // Only ends with the run, which aborts it.
            let _ = axum::serve(TlsListener { listener, acceptor }, router).await;
        });
        Ok(Self { url, state, server })
    }

    /// Starts to note down every request.
    pub fn record(&self) {
        self.state.tables.record();
    }

    /// Ends noting down; returns the requests since [`Self::record`].
    pub fn recorded(&self) -> Vec<Call> {
        self.state.tables.recorded()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn keys_document(State(state): State<Arc<Shared>>) -> Response {
    state.tables.note(Call::outside_of_tables("keys", Value::Null));
    ([(header::CONTENT_TYPE, "application/json")], state.keys.clone()).into_response()
}

async fn aws(State(state): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (service, operation) = target.split_once('.').unwrap_or_default();
    let request = || serde_json::from_slice(&body).unwrap_or_default();
    let (status, text) = match service {
        "AmazonSQS" => {
            state.tables.note(Call::outside_of_tables(operation, request()));
            (200, json!({"MessageId": "bench"}).to_string())
        }
        "secretsmanager" => {
            state.tables.note(Call::outside_of_tables(operation, request()));
            // Of long ago: what was replaced lately is read with the value before it.
            let secret = json!({"SecretString": state.secret, "CreatedDate": 0, "VersionId": "bench"});
            (200, secret.to_string())
        }
        _ => state.tables.answer(operation, &body),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], text).into_response()
}
