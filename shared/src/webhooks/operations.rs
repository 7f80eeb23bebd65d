//! Operations: deployments, alerts and health, as a workspace's own tools tell of them.
//!
//! [`Report`] is what a tool posts; its rows are kept as long as events are and read newest first.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::TransactWriteItem;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::Webhooks;
use crate::{
    Error, FieldError,
    fields::{self, Fields, one_of, past, text},
    identity::Workspace,
    lambda::{Env, EnvError},
    redact,
    store::{
        self,
        key::{Key, webhooks::operations},
        n, s, unavailable,
    },
    word::words,
};

/// A deployment takes less than this: a year.
const DEPLOY_SECONDS_MAX: f64 = 31_536_000.0;
/// An answer takes less than this: a day.
const RESPONSE_MS_MAX: f64 = 86_400_000.0;
/// What an alert may carry beside its message, as JSON.
const DETAILS_MAX_BYTES: usize = 16 * 1024;

words! {
    /// How bad it is.
    Severity {
        /// For the record.
        Info = "info",
        /// Somebody should look.
        Warning = "warning",
        /// Something does not work.
        Error = "error",
        /// Nothing works.
        Critical = "critical",
    }
}

/// Something was deployed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Where to, such as `production`.
    pub environment: String,
    /// What.
    pub version: String,
    /// How it went, in the tool's words.
    pub status: String,
    /// How long it took, in seconds.
    #[serde(rename = "deployTime", default, skip_serializing_if = "Option::is_none")]
    pub deploy_seconds: Option<f64>,
}

/// Something wants attention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub message: String,
    /// What the tool says beside it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// How the product does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Percent of the time that it answers.
    pub uptime: f64,
    /// How long an answer takes, in milliseconds.
    pub response_ms: f64,
    /// Percent of the answers that are errors.
    pub error_rate: f64,
}

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Of a deployment.
    Deployment(Deployment),
    /// Of an alert.
    Alert(Alert),
    /// Of health.
    Health(Health),
    /// Of something else, which is kept as the event that it is.
    Other,
}

/// What a tool posts: `{"type", "id"?, "data", "timestamp"?}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The word that says what is told.
    pub kind: String,
    /// The tool's own id of it.
    pub id: Option<String>,
    /// What is told.
    pub operation: Operation,
    /// When it happened, where the tool says so.
    pub at: Option<DateTime<Utc>>,
}

/// A row of operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told<T> {
    /// The event that told it.
    pub event: String,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// What happened.
    #[serde(flatten)]
    pub what: T,
}

impl Report {
    /// Reads what was posted. Errors name every bad field.
    pub fn parse(body: Value, now: DateTime<Utc>) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::of("", body)?;
        let kind = fields.required("type", text(1, 64));
        let id = fields.optional("id", fields::id);
        let sent_at = fields.optional("timestamp", past(now));
        let known = matches!(kind.as_str(), "deployment" | "alert" | "health");
        // What is of no known type is kept whatever it says.
        let data = fields.optional("data", |value| Ok(value.clone()));
        if data.is_none() && known {
            fields.refuse("data", "is required");
        }
        let read = data.filter(|_| known).map(|data| operation(&kind, data, now));
        let (read, refused) = match read {
            Some(Err(errors)) => (None, errors),
            read => (read.and_then(Result::ok), Vec::new()),
        };
        let mut errors = fields.finish().err().unwrap_or_default();
        errors.extend(refused);
        if !errors.is_empty() {
            return Err(errors);
        }
        let (operation, at) = read.unwrap_or((Operation::Other, None));
        Ok(Self { kind, id, operation, at: at.or(sent_at) })
    }
}

/// Reads `data`, and when it happened.
fn operation(
    kind: &str,
    data: Value,
    now: DateTime<Utc>,
) -> Result<(Operation, Option<DateTime<Utc>>), Vec<FieldError>> {
    let mut fields = Fields::of("data", data)?;
    let operation = match kind {
        "deployment" => Operation::Deployment(Deployment {
            environment: fields.required("environment", text(1, 64)),
            version: fields.required("version", text(1, 128)),
            status: fields.required("status", text(1, 32)),
            deploy_seconds: fields.optional("deployTime", number(DEPLOY_SECONDS_MAX)),
        }),
        "alert" => Operation::Alert(Alert {
            severity: fields.required("severity", one_of(Severity::WORDS)),
            message: fields.required("message", text(1, 1_000)),
            details: fields.optional("details", details).unwrap_or_default(),
        }),
        _ => Operation::Health(Health {
            uptime: fields.required("uptime", number(100.0)),
            response_ms: fields.required("response_ms", number(RESPONSE_MS_MAX)),
            error_rate: fields.required("error_rate", number(100.0)),
        }),
    };
    let at = fields.optional("timestamp", past(now));
    fields.finish()?;
    Ok((operation, at))
}

/// A number from 0 to `max`.
fn number(max: f64) -> impl Fn(&Value) -> Result<f64, String> {
    move |value| {
        let number = value.as_f64().filter(|number| (0.0..=max).contains(number));
        number.ok_or_else(|| format!("must be a number from 0 to {max}"))
    }
}

fn details(value: &Value) -> Result<Value, String> {
    if value.to_string().len() > DETAILS_MAX_BYTES {
        return Err(format!("must be at most {DETAILS_MAX_BYTES} bytes of JSON"));
    }
    Ok(value.clone())
}

/// The store of operations.
#[derive(Clone)]
pub struct Operations {
    events: Webhooks,
}

impl Operations {
    /// Reads `WEBHOOKS_TABLE`, and `WEBHOOK_RETENTION_DAYS` if it is there.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { events: Webhooks::load(env, sdk)? })
    }

    /// The row of an event; none if it tells of nothing that has rows. The same however often it
    /// is written.
    pub(super) fn row(
        &self,
        workspace: &Workspace,
        event: &str,
        report: Report,
        received_at: DateTime<Utc>,
    ) -> Result<Option<TransactWriteItem>, Error> {
        #[derive(Serialize)]
        struct Expiring<T> {
            #[serde(flatten)]
            told: Told<T>,
            expires_at: i64,
        }
        let table = &self.events.table;
        let timestamp = report.at.unwrap_or(received_at);
        let expires_at = self.events.expires_at(received_at);
        let key = |kind: &str| Key::operation(workspace, kind, timestamp, event);
        let event = event.to_owned();
        let put = match report.operation {
            Operation::Deployment(what) => {
                let told = Told { event: event.clone(), timestamp, what };
                table.put(key("deployment"), &Expiring { told, expires_at })?
            }
            Operation::Alert(mut what) => {
                what.details = redact::scrub(what.details);
                let told = Told { event: event.clone(), timestamp, what };
                table.put(key("alert"), &Expiring { told, expires_at })?
            }
            Operation::Health(what) => {
                let told = Told { event: event.clone(), timestamp, what };
                table.put(key("health"), &Expiring { told, expires_at })?
            }
            Operation::Other => return Ok(None),
        };
        store::put(put).map(Some)
    }

    /// The latest deployments, newest first. One query.
    pub async fn deployments(
        &self,
        workspace: &Workspace,
        limit: i32,
        now: DateTime<Utc>,
    ) -> Result<Vec<Told<Deployment>>, Error> {
        self.latest(workspace, "deployment", limit, now).await
    }

    /// The latest alerts, newest first. One query.
    pub async fn alerts(
        &self,
        workspace: &Workspace,
        limit: i32,
        now: DateTime<Utc>,
    ) -> Result<Vec<Told<Alert>>, Error> {
        self.latest(workspace, "alert", limit, now).await
    }

    /// The latest word on health. One query.
    pub async fn health(
        &self,
        workspace: &Workspace,
        now: DateTime<Utc>,
    ) -> Result<Option<Told<Health>>, Error> {
        Ok(self.latest(workspace, "health", 1, now).await?.pop())
    }

    async fn latest<T: DeserializeOwned>(
        &self,
        workspace: &Workspace,
        kind: &str,
        limit: i32,
        now: DateTime<Utc>,
    ) -> Result<Vec<Told<T>>, Error> {
        let table = &self.events.table;
        let query = table
            .client
            .query()
            .table_name(&table.name)
            .key_condition_expression("pk = :pk")
            // Expired rows go late.
            .filter_expression("expires_at > :now")
            .expression_attribute_values(":pk", s(operations(workspace, kind)))
            .expression_attribute_values(":now", n(now.timestamp()))
            .scan_index_forward(false)
            .limit(limit);
        let found = query.send().await.map_err(unavailable)?;
        found.items.unwrap_or_default().into_iter().map(store::entity).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: Value) -> Result<Report, Vec<String>> {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        Report::parse(body, now).map_err(|errors| errors.into_iter().map(|error| error.field).collect())
    }

    #[test]
    fn a_report_is_read_and_every_bad_field_named() {
        for (case, body, bad) in [
            (
                "deployment",
                json!({"type": "deployment", "data": {"environment": "production", "version": "1.2.3", "status": "success", "deployTime": 45.5, "timestamp": "2026-11-21T11:00:00Z"}}),
                vec![],
            ),
            (
                "alert",
                json!({"type": "alert", "id": "a-1", "data": {"severity": "error", "message": "slow", "details": {"p99": 900}}, "timestamp": "2026-11-21T11:00:00Z"}),
                vec![],
            ),
            (
                "health",
                json!({"type": "health", "data": {"uptime": 99.98, "response_ms": 120, "error_rate": 0.01}}),
                vec![],
            ),
            ("another type", json!({"type": "backup.done", "data": {"anything": [1]}}), vec![]),
            ("nothing", json!({}), vec!["type"]),
            ("no data", json!({"type": "health"}), vec!["data"]),
            ("data is a list", json!({"type": "health", "data": [1]}), vec!["data"]),
            (
                "all wrong",
                json!({"type": "alert", "timestamp": "soon", "more": 1, "data": {"severity": "bad", "message": 7, "extra": 1}}),
                vec!["timestamp", "more", "data.severity", "data.message", "data.extra"],
            ),
            (
                "impossible numbers",
                json!({"type": "health", "data": {"uptime": 100.1, "response_ms": -1, "error_rate": "0"}}),
                vec!["data.uptime", "data.response_ms", "data.error_rate"],
            ),
            ("not an object", json!([1]), vec![""]),
        ] {
            assert_eq!(parse(body).err().unwrap_or_default(), bad, "{case}");
        }
    }

    #[test]
    fn what_the_data_says_of_the_time_counts_before_what_the_envelope_says() {
        let body = json!({"type": "health", "timestamp": "2026-11-21T11:00:00Z", "data": {"uptime": 1, "response_ms": 1, "error_rate": 1, "timestamp": "2026-11-21T10:00:00Z"}});
        assert_eq!(parse(body).unwrap().at.unwrap().to_rfc3339(), "2026-11-21T10:00:00+00:00");
    }
}
