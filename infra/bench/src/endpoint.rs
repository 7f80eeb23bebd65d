//! What the functions talk to: `DynamoDB` (the embedded database) and an issuer's signing keys,
//! both behind one TLS endpoint on loopback that counts round trips and consumed capacity.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use dynoxide::{Database, DynoxideError};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{Error, tls::TlsListener};

/// One request a function made.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GetItem` and so on, or `keys` for the issuer's signing keys.
    pub operation: String,
    /// Its body.
    pub request: Value,
    /// Read request units.
    pub read_units: f64,
    /// Write request units.
    pub write_units: f64,
}

/// The running endpoint.
pub struct Endpoint {
    /// Its base URL.
    pub url: String,
    state: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    database: Database,
    keys: String,
    /// The requests since [`Endpoint::record`]; timed runs do not record.
    recorded: Mutex<Option<Vec<Call>>>,
}

impl Endpoint {
    /// Serves `database`, and `keys` (a JWKS document), on a free port.
    pub async fn start(
        acceptor: tokio_rustls::TlsAcceptor,
        database: Database,
        keys: String,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let state = Arc::new(Shared { database, keys, recorded: Mutex::new(None) });
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
        *self.state.recorded() = Some(Vec::new());
    }

    /// Ends noting down; returns the requests since [`Self::record`].
    pub fn recorded(&self) -> Vec<Call> {
        self.state.recorded().take().unwrap_or_default()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn recorded(&self) -> std::sync::MutexGuard<'_, Option<Vec<Call>>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, call: Call) {
        if let Some(calls) = self.recorded().as_mut() {
            calls.push(call);
        }
    }
}

async fn keys_document(State(state): State<Arc<Shared>>) -> Response {
    state.note(Call { operation: "keys".into(), request: Value::Null, read_units: 0.0, write_units: 0.0 });
    ([(header::CONTENT_TYPE, "application/json")], state.keys.clone()).into_response()
}

async fn dynamodb(State(state): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let answer = if state.recorded().is_some() {
        recording(&state, operation, &body)
    } else {
        dispatch(&state.database, operation, &body)
    };
    let (status, text) = match answer {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => {
            (StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::BAD_REQUEST), error.to_json())
        }
    };
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], text).into_response()
}

/// Asks for the consumed capacity along with what the function asked for.
fn recording(state: &Shared, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
    let request: Value = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let mut metered = request.clone();
    metered["ReturnConsumedCapacity"] = json!("TOTAL");
    let answer = dispatch(&state.database, operation, metered.to_string().as_bytes());
    let consumed = answer.as_ref().ok().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let units = match consumed.as_ref().map(|answer| &answer["ConsumedCapacity"]) {
        Some(Value::Array(tables)) => tables.iter().filter_map(|one| one["CapacityUnits"].as_f64()).sum(),
        Some(table) => table["CapacityUnits"].as_f64().unwrap_or_default(),
        None => 0.0,
    };
    let reads = matches!(operation, "GetItem" | "BatchGetItem" | "Query" | "Scan" | "TransactGetItems");
    state.note(Call {
        operation: operation.to_owned(),
        request,
        read_units: if reads { units } else { 0.0 },
        write_units: if reads { 0.0 } else { units },
    });
    answer
}

/// Runs one operation in this thread: the database is in memory and answers at once, and a hop
/// between threads would be measured as the function's latency.
fn dispatch(database: &Database, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
    macro_rules! operations {
        ($($name:literal => $method:ident,)*) => {
            match operation {
                $($name => {
                    let request = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
                    serde_json::to_string(&database.$method(request)?).map_err(|error| malformed(&error))
                })*
                other => Err(DynoxideError::ValidationException(format!("the bench does not serve {other}"))),
            }
        };
    }
    operations! {
        "BatchGetItem" => batch_get_item,
        "BatchWriteItem" => batch_write_item,
        "CreateTable" => create_table,
        "DeleteItem" => delete_item,
        "GetItem" => get_item,
        "PutItem" => put_item,
        "Query" => query,
        "TransactGetItems" => transact_get_items,
        "TransactWriteItems" => transact_write_items,
        "UpdateItem" => update_item,
    }
}

fn malformed(error: &serde_json::Error) -> DynoxideError {
    DynoxideError::SerializationException(error.to_string())
}

/// Makes a table with the keys every table of the template has, and its index if `indexed`.
pub fn create_table(database: &Database, name: &str, indexed: bool) -> Result<(), Error> {
    let names: &[&str] = if indexed { &["pk", "sk", "gsi1pk", "gsi1sk"] } else { &["pk", "sk"] };
    let attributes: Vec<_> =
        names.iter().map(|name| json!({"AttributeName": name, "AttributeType": "S"})).collect();
    let keys = |hash: &str, range: &str| {
        json!([
            {"AttributeName": hash, "KeyType": "HASH"},
            {"AttributeName": range, "KeyType": "RANGE"},
        ])
    };
    let mut request = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": attributes,
        "KeySchema": keys("pk", "sk"),
    });
    if indexed {
        request["GlobalSecondaryIndexes"] = json!([{
            "IndexName": "gsi1",
            "KeySchema": keys("gsi1pk", "gsi1sk"),
            "Projection": {"ProjectionType": "ALL"},
        }]);
    }
    dispatch(database, "CreateTable", request.to_string().as_bytes())?;
    Ok(())
}
