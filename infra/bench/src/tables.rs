//! `DynamoDB` as the embedded database answers it, and what was asked of it: round trips, consumed
//! capacity, and how they ended.

use std::sync::{Mutex, MutexGuard, PoisonError};

use dynoxide::{Database, DynoxideError};
use serde_json::{Value, json};

use crate::Error;

/// One request a function made.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GetItem` and so on, also of other services, or `keys` for the issuer's signing keys.
    pub operation: String,
    /// Its body.
    pub request: Value,
    /// Read request units.
    pub read_units: f64,
    /// Write request units.
    pub write_units: f64,
    /// How it was refused, if it was: the exception's name, or why a transaction was canceled.
    pub refusal: Option<String>,
}

impl Call {
    /// One that takes no capacity of a table.
    pub fn outside_of_tables(operation: &str, request: Value) -> Self {
        Self { operation: operation.to_owned(), request, read_units: 0.0, write_units: 0.0, refusal: None }
    }
}

/// The template's tables, in memory.
pub struct Tables {
    database: Database,
    /// The requests since [`Tables::record`]; timed runs do not record.
    recorded: Mutex<Option<Vec<Call>>>,
}

impl Tables {
    /// Makes the tables that these `CreateTable` requests describe.
    pub fn memory<'a>(create: impl Iterator<Item = &'a Value>) -> Result<Self, Error> {
        let database = Database::memory()?;
        for request in create {
            dispatch(&database, "CreateTable", request.to_string().as_bytes())?;
        }
        Ok(Self { database, recorded: Mutex::new(None) })
    }

    /// Answers one request: the status and the body.
    pub fn answer(&self, operation: &str, body: &[u8]) -> (u16, String) {
        let answer = if self.lock().is_some() {
            self.metered(operation, body)
        } else {
            dispatch(&self.database, operation, body)
        };
        match answer {
            Ok(text) => (200, text),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }

    /// Starts to note down every request.
    pub fn record(&self) {
        *self.lock() = Some(Vec::new());
    }

    /// Ends noting down; returns the requests since [`Self::record`].
    pub fn recorded(&self) -> Vec<Call> {
        self.lock().take().unwrap_or_default()
    }

    /// Notes a request down, if any are.
    pub fn note(&self, call: Call) {
        if let Some(calls) = self.lock().as_mut() {
            calls.push(call);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Call>>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the consumed capacity along with what the function asked for.
    fn metered(&self, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
        let request: Value = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        let mut metered = request.clone();
        metered["ReturnConsumedCapacity"] = json!("TOTAL");
        let answer = dispatch(&self.database, operation, metered.to_string().as_bytes());
        let consumed = answer.as_ref().ok().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let units = match consumed.as_ref().map(|answer| &answer["ConsumedCapacity"]) {
            Some(Value::Array(tables)) => tables.iter().filter_map(|one| one["CapacityUnits"].as_f64()).sum(),
            Some(table) => table["CapacityUnits"].as_f64().unwrap_or_default(),
            None => 0.0,
        };
        let refusal = answer.as_ref().err().map(|error| match error {
            DynoxideError::TransactionCanceledException(_, reasons) => {
                let codes = reasons.iter().map(|reason| reason.code.as_str());
                codes.filter(|code| *code != "None").take(1).collect()
            }
            error => error.error_type().to_owned(),
        });
        let reads = matches!(operation, "GetItem" | "BatchGetItem" | "Query" | "Scan" | "TransactGetItems");
        self.note(Call {
            operation: operation.to_owned(),
            request,
            read_units: if reads { units } else { 0.0 },
            write_units: if reads { 0.0 } else { units },
            refusal,
        });
        answer
    }
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
        "Scan" => scan,
        "TransactGetItems" => transact_get_items,
        "TransactWriteItems" => transact_write_items,
        "UpdateItem" => update_item,
    }
}

fn malformed(error: &serde_json::Error) -> DynoxideError {
    DynoxideError::SerializationException(error.to_string())
}
