//! The SDK's way to the tables without a network: what is measured is the database and our code.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use serde_json::{Value, json};
use tidegate::embedded::Embedded;
use tokio::time::sleep;

use crate::tables::{Call, Tables};

/// For clients of these tables, each of whose answers takes `wait`.
///
/// With a wait, transactions meet as they do on AWS: rows of one are held until it is done, and
/// another one that names such a row is canceled. The embedded database runs one after the other
/// and would never cancel any.
pub fn sdk(embedded: &Embedded, tables: &Arc<Tables>, wait: Duration) -> SdkConfig {
    let direct = Direct { tables: Arc::clone(tables), wait, held: Arc::default() };
    embedded.sdk().into_builder().http_client(SharedHttpClient::new(direct)).build()
}

#[derive(Clone)]
struct Direct {
    tables: Arc<Tables>,
    wait: Duration,
    held: Arc<Mutex<HashSet<String>>>,
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}

impl HttpClient for Direct {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Direct {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let direct = self.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default();
            let body = request.body().bytes().unwrap_or_default();
            let (status, text) = direct.answer(operation, body).await;
            let status = StatusCode::try_from(status).map_err(|error| ConnectorError::user(error.into()))?;
            Ok(HttpResponse::new(status, text.into()))
        })
    }
}

impl Direct {
    async fn answer(&self, operation: &str, body: &[u8]) -> (u16, String) {
        if self.wait.is_zero() {
            return self.tables.answer(operation, body);
        }
        let request = || serde_json::from_slice::<Value>(body).unwrap_or_default();
        let rows = if operation == "TransactWriteItems" { rows(&request()) } else { Vec::new() };
        let busy = self.hold(&rows);
        sleep(self.wait).await;
        if busy.contains(&true) {
            self.tables.note(Call {
                operation: operation.to_owned(),
                request: request(),
                read_units: 0.0,
                write_units: 0.0,
                refusal: Some(CONFLICT.to_owned()),
            });
            return (400, canceled(&busy));
        }
        let answer = self.tables.answer(operation, body);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for row in &rows {
            held.remove(row);
        }
        answer
    }

    /// Holds all of these rows, or tells which are held.
    fn hold(&self, rows: &[String]) -> Vec<bool> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let busy: Vec<_> = rows.iter().map(|row| held.contains(row)).collect();
        if !busy.contains(&true) {
            held.extend(rows.iter().cloned());
        }
        busy
    }
}

/// Why a transaction was canceled that met another one.
pub const CONFLICT: &str = "TransactionConflict";

fn canceled(busy: &[bool]) -> String {
    let reasons: Vec<_> =
        busy.iter().map(|busy| json!({"Code": if *busy { CONFLICT } else { "None" }})).collect();
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": reasons,
    })
    .to_string()
}

/// The rows that a transaction writes.
pub fn rows(transaction: &Value) -> Vec<String> {
    let items = transaction["TransactItems"].as_array().into_iter().flatten();
    let actions = items.filter_map(|item| item.as_object()?.values().next());
    actions
        .map(|action| {
            let key = action.get("Key").unwrap_or(&action["Item"]);
            let part = |name: &str| key[name]["S"].as_str().unwrap_or_default();
            format!("{} {}", part("pk"), part("sk"))
        })
        .collect()
}
