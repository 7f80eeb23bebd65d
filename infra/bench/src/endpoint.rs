//! What the functions talk to: `DynamoDB` and an issuer's signing keys, both behind one TLS
//! endpoint on loopback.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::Value;
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
}

impl Endpoint {
    /// Serves `tables`, and `keys` (a JWKS document), on a free port.
    pub async fn start(
        acceptor: tokio_rustls::TlsAcceptor,
        tables: Tables,
        keys: String,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let state = Arc::new(Shared { tables, keys });
        let router = Router::new()
            .route("/", post(dynamodb))
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
    state.tables.note(Call {
        operation: "keys".into(),
        request: Value::Null,
        read_units: 0.0,
        write_units: 0.0,
        refusal: None,
    });
    ([(header::CONTENT_TYPE, "application/json")], state.keys.clone()).into_response()
}

async fn dynamodb(State(state): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let (status, text) = state.tables.answer(operation, &body);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], text).into_response()
}
