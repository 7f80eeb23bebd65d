//! DynamoDB on a file: `dynoxide` in this process, with the template's tables.
//!
//! Durable: SQLite writes ahead and syncs at each commit (`journal_mode=WAL`, and
//! `synchronous=FULL`, its default, which `dynoxide` leaves alone), so a write that was answered
//! outlives the process and the machine's power.

use std::{path::Path, time::Duration};

use dynoxide::{Database, DynoxideError};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{state, template::Table};

/// The tables.
#[derive(Clone)]
pub struct DynamoDb(Database);

/// Status and body of an answer.
pub type Answer = (u16, String);

macro_rules! operations {
    ($database:expr, $operation:expr, $body:expr, { $($name:literal => $method:ident,)* }) => {
        match $operation {
            $($name => $database.$method(request($body)?).and_then(|answer| {
                serde_json::to_string(&answer)
                    .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
            }),)*
            _ => Err(DynoxideError::ValidationException(format!(
                "{} is not known to the embedded runner", $operation
            ))),
        }
    };
}

impl DynamoDb {
    /// Opens the file, or memory without one.
    pub fn open(path: Option<&Path>) -> Result<Self, String> {
        let database = match path {
            Some(path) => {
                // SQLite gives its other files the mode of this one.
                state::create_private(path, b"").map_err(|error| format!("{}: {error}", path.display()))?;
                Database::new(&path.to_string_lossy())
            }
            None => Database::memory(),
        };
        database.map(Self).map_err(|error| format!("the tables cannot be opened: {error}"))
    }

    /// Makes the template's tables, and brings those that are there to what the template says.
    ///
    /// Indexes come and go. A changed key would need the data moved and is an error.
    pub fn create(&self, tables: &[Table]) -> Result<(), String> {
        for table in tables {
            self.create_table(table).map_err(|reason| format!("table {}: {reason}", table.name()))?;
        }
        Ok(())
    }

    fn create_table(&self, table: &Table) -> Result<(), String> {
        let name = json!({"TableName": table.name()});
        match self.value("DescribeTable", &name) {
            Ok(found) => self.update_table(table, &found["Table"])?,
            Err(_) => drop(self.value("CreateTable", &table.create)?),
        }
        let found = self.value("DescribeTimeToLive", &name)?;
        let found = &found["TimeToLiveDescription"];
        let enabled = found["TimeToLiveStatus"] == "ENABLED";
        let specify = |attribute: &Value, enabled: bool| {
            let specification = json!({"AttributeName": attribute, "Enabled": enabled});
            json!({"TableName": table.name(), "TimeToLiveSpecification": specification})
        };
        let same = table.ttl_attribute.as_deref() == found["AttributeName"].as_str();
        if enabled && !same {
            self.value("UpdateTimeToLive", &specify(&found["AttributeName"], false))?;
        }
        if let Some(attribute) = &table.ttl_attribute
            && !(enabled && same)
        {
            self.value("UpdateTimeToLive", &specify(&attribute.as_str().into(), true))?;
        }
        Ok(())
    }

    fn update_table(&self, table: &Table, found: &Value) -> Result<(), String> {
        if found["KeySchema"] != table.create["KeySchema"] {
            return Err("its key differs from the template's; move the state directory away".into());
        }
        let indexes = |table: &Value| -> Vec<Value> {
            table["GlobalSecondaryIndexes"].as_array().cloned().unwrap_or_default()
        };
        // An index is made from its table, so one that changed can be made anew.
        let has = |indexes: &[Value], wanted: &Value| {
            indexes.iter().any(|index| {
                ["IndexName", "KeySchema", "Projection"].iter().all(|part| index[part] == wanted[part])
            })
        };
        let (old, new) = (indexes(found), indexes(&table.create));
        for index in old.iter().filter(|index| !has(&new, index)) {
            let update = json!([{"Delete": {"IndexName": index["IndexName"]}}]);
            self.value(
                "UpdateTable",
                &json!({"TableName": table.name(), "GlobalSecondaryIndexUpdates": update}),
            )?;
        }
        for index in new.iter().filter(|index| !has(&old, index)) {
            let update = json!({
                "TableName": table.name(),
                "AttributeDefinitions": table.create["AttributeDefinitions"],
                "GlobalSecondaryIndexUpdates": [{"Create": index}],
            });
            self.value("UpdateTable", &update)?;
        }
        Ok(())
    }

    fn value(&self, operation: &str, request: &Value) -> Result<Value, String> {
        let answer = self.run(operation, &request.to_string()).map_err(|error| error.to_string())?;
        serde_json::from_str(&answer).map_err(|error| error.to_string())
    }

    /// Answers one request of DynamoDB's protocol.
    #[must_use]
    pub fn answer(&self, operation: &str, body: &str) -> Answer {
        match self.run(operation, body) {
            Ok(answer) => (200, answer),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }

    fn run(&self, operation: &str, body: &str) -> Result<String, DynoxideError> {
        // `dynoxide`'s own dispatch is private to its listener, which answers any web page of
        // any origin; a listener of our own in front of it would not keep those out.
        operations!(self.0, operation, body, {
            "BatchGetItem" => batch_get_item,
            "BatchWriteItem" => batch_write_item,
            "CreateTable" => create_table,
            "DeleteItem" => delete_item,
            "DeleteTable" => delete_table,
            "DescribeTable" => describe_table,
            "DescribeTimeToLive" => describe_time_to_live,
            "GetItem" => get_item,
            "ListTables" => list_tables,
            "PutItem" => put_item,
            "Query" => query,
            "Scan" => scan,
            "TransactGetItems" => transact_get_items,
            "TransactWriteItems" => transact_write_items,
            "UpdateItem" => update_item,
            "UpdateTable" => update_table,
            "UpdateTimeToLive" => update_time_to_live,
        })
    }

    /// Deletes items past their time, now and then, as DynamoDB does.
    pub async fn sweep(self, mut stop: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(Duration::from_mins(1));
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let database = self.0.clone();
            match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
                Ok(Ok(0)) | Err(_) => {}
                Ok(Ok(count)) => tracing::debug!(count, "deleted items past their time"),
                Ok(Err(error)) => tracing::warn!("items past their time were not deleted: {error}"),
            }
        }
    }
}

/// `dynoxide` puts a marker for the kind of refusal in front of its messages.
fn request<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, DynoxideError> {
    serde_json::from_str(body).map_err(|error| {
        let message = error.to_string();
        let (marker, rest) = message.split_once(':').unwrap_or_default();
        if marker.starts_with("SERIALIZATION") {
            DynoxideError::SerializationException(rest.to_owned())
        } else if marker.starts_with("VALIDATION") {
            DynoxideError::ValidationException(rest.to_owned())
        } else if error.is_syntax() || error.is_eof() {
            DynoxideError::SerializationException(message)
        } else {
            DynoxideError::ValidationException(message)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(indexes: &Value, ttl: Option<&str>) -> Table {
        let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        let mut create = json!({
            "TableName": "Table",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [attribute("pk"), attribute("sk")],
            "KeySchema": [
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        });
        if let Some(indexes) = indexes.as_array() {
            create["GlobalSecondaryIndexes"] = json!(indexes);
            create["AttributeDefinitions"] =
                json!([attribute("pk"), attribute("sk"), attribute("a"), attribute("b")]);
        }
        Table { create, ttl_attribute: ttl.map(str::to_owned) }
    }

    fn index(name: &str, key: &str) -> Value {
        let key = json!([{"AttributeName": key, "KeyType": "HASH"}]);
        json!({"IndexName": name, "KeySchema": key, "Projection": {"ProjectionType": "ALL"}})
    }

    #[test]
    fn tables_follow_the_template_and_keep_their_items() {
        let database = DynamoDb::open(None).unwrap();
        let found = |index: &str, key: &str| {
            let query = json!({
                "TableName": "Table",
                "IndexName": index,
                "KeyConditionExpression": "#k = :v",
                "ExpressionAttributeNames": {"#k": key},
                "ExpressionAttributeValues": {":v": {"S": "x"}},
            });
            database.value("Query", &query).map(|found| found["Count"].as_u64().unwrap())
        };
        let ttl = || {
            let found = database.value("DescribeTimeToLive", &json!({"TableName": "Table"})).unwrap();
            found["TimeToLiveDescription"]["AttributeName"].as_str().map(str::to_owned)
        };
        database.create(&[table(&Value::Null, None)]).unwrap();
        let item = json!({"pk": {"S": "1"}, "sk": {"S": "1"}, "a": {"S": "x"}, "b": {"S": "y"}});
        database.value("PutItem", &json!({"TableName": "Table", "Item": item})).unwrap();
        assert!(found("one", "a").is_err());

        for _ in 0..2 {
            database.create(&[table(&json!([index("one", "a")]), Some("ttl"))]).unwrap();
            assert_eq!((found("one", "a"), ttl().as_deref()), (Ok(1), Some("ttl")));
        }
        database.create(&[table(&json!([index("one", "b"), index("two", "a")]), Some("end"))]).unwrap();
        assert_eq!((found("one", "b"), found("two", "a"), ttl().as_deref()), (Ok(0), Ok(1), Some("end")));
        database.create(&[table(&Value::Null, None)]).unwrap();
        assert!(found("one", "b").is_err());
        assert_eq!(ttl(), None);

        let mut other = table(&Value::Null, None);
        other.create["KeySchema"] = json!([{"AttributeName": "pk", "KeyType": "HASH"}]);
        assert!(database.create(&[other]).is_err(), "items cannot be moved to another key");
    }

    #[test]
    fn a_request_that_cannot_be_read_is_refused_by_its_kind() {
        let database = DynamoDb::open(None).unwrap();
        database.create(&[table(&Value::Null, None)]).unwrap();
        for (operation, body, kind) in [
            ("GetItem", "{", "SerializationException"),
            ("GetItem", r#"{"TableName": "Table"}"#, "ValidationException"),
            ("PutItem", r#"{"TableName": "Table", "Item": {"pk": {"S": ""}}}"#, "ValidationException"),
            ("Frobnicate", "{}", "ValidationException"),
        ] {
            let (status, answer) = database.answer(operation, body);
            assert!(status == 400 && answer.contains(kind), "{operation} {body}: {answer}");
            assert!(!answer.contains("VALIDATION"), "{answer}");
        }
    }
}
