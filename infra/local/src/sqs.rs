//! SQS: durable standard queues with visibility timeouts, receive counts and dead-letter queues.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use md5::{Digest, Md5};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::{
    aws::ServiceError,
    database::{Rows, millis, now_ms},
    intrinsics::{ACCOUNT, arn},
    random,
    template::Queue,
};

/// What one message, or all of one batch, may carry.
const MAX_BODY: usize = 1024 * 1024;
/// Messages of one request.
const MAX_BATCH: usize = 10;
/// How long a receive may wait.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// How long a message can be hidden.
const MAX_HIDDEN_SECONDS: u64 = 43_200;

/// The template's queues.
#[derive(Clone)]
pub struct Sqs {
    rows: Rows,
    queues: Arc<BTreeMap<String, Queue>>,
    base_url: Arc<str>,
    /// Changes whenever a message may have become visible.
    changed: watch::Sender<()>,
}

/// A message that was received, and is hidden from others for a while.
#[derive(Debug, Clone)]
pub struct Message {
    /// Of the message; stays over all receives.
    pub id: String,
    /// Of this receive; deletes the message.
    pub receipt: String,
    /// As it was sent.
    pub body: String,
    /// As they were sent.
    pub attributes: Map<String, Value>,
    sent_ms: i64,
    receives: u32,
    first_received_ms: i64,
    source: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    queue_url: Option<String>,
    queue_name: Option<String>,
    #[serde(flatten)]
    message: Entry,
    #[serde(default)]
    entries: Vec<Entry>,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
    max_number_of_messages: Option<usize>,
    wait_time_seconds: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    id: Option<String>,
    message_body: Option<String>,
    message_attributes: Map<String, Value>,
    delay_seconds: Option<u64>,
    receipt_handle: Option<String>,
    visibility_timeout: Option<u64>,
}

impl Message {
    /// A message with this id, for tests of what handles messages.
    #[cfg(test)]
    pub fn of(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            receipt: String::new(),
            body: String::new(),
            attributes: Map::new(),
            sent_ms: 0,
            receives: 1,
            first_received_ms: 0,
            source: None,
        }
    }

    /// The record of a Lambda event.
    pub fn record(&self, queue: &str) -> Value {
        let attributes: Map<_, _> = self
            .attributes
            .iter()
            .map(|(name, attribute)| {
                let mut record = json!({
                    "dataType": attribute["DataType"],
                    "stringListValues": [],
                    "binaryListValues": [],
                });
                for (ours, theirs) in [("stringValue", "StringValue"), ("binaryValue", "BinaryValue")] {
                    if let Some(value) = attribute.get(theirs) {
                        record[ours] = value.clone();
                    }
                }
                (name.clone(), record)
            })
            .collect();
        json!({
            "messageId": self.id,
            "receiptHandle": self.receipt,
            "body": self.body,
            "attributes": self.system_attributes(),
            "messageAttributes": attributes,
            "md5OfBody": md5(&self.body),
            "eventSource": "aws:sqs",
            "eventSourceARN": arn("sqs", queue),
            "awsRegion": crate::intrinsics::REGION,
        })
    }

    fn system_attributes(&self) -> BTreeMap<&'static str, String> {
        let mut attributes = BTreeMap::from([
            ("ApproximateReceiveCount", self.receives.to_string()),
            ("ApproximateFirstReceiveTimestamp", self.first_received_ms.to_string()),
            ("SentTimestamp", self.sent_ms.to_string()),
            ("SenderId", ACCOUNT.to_owned()),
        ]);
        if let Some(source) = &self.source {
            attributes.insert("DeadLetterQueueSourceArn", arn("sqs", source));
        }
        attributes
    }
}

impl Sqs {
    /// The queues of the template; `aws_url` begins their URLs.
    pub fn new(rows: Rows, queues: &[Queue], aws_url: &str) -> Self {
        let queues = queues.iter().map(|queue| (queue.name.clone(), queue.clone())).collect();
        let base_url = format!("{aws_url}/{ACCOUNT}/").into();
        Self { rows, queues: Arc::new(queues), base_url, changed: watch::Sender::new(()) }
    }

    /// Answers one request of SQS's protocol.
    pub async fn answer(&self, operation: &str, request: Value) -> Result<Value, ServiceError> {
        let request: Request = serde_json::from_value(request).map_err(ServiceError::malformed)?;
        if operation == "GetQueueUrl" {
            let queue = self.queue(request.queue_name.as_deref())?;
            return Ok(json!({"QueueUrl": format!("{}{}", self.base_url, queue.name)}));
        }
        let url = request.queue_url.as_deref().ok_or_else(|| missing("QueueUrl"))?;
        let queue = self.queue(url.rsplit('/').next())?.clone();
        match operation {
            "SendMessage" => {
                let [sent] = self.send(&queue, vec![request.message]).await?.try_into().map_err(drop_list)?;
                sent
            }
            "SendMessageBatch" => {
                let ids = batch(&request.entries)?;
                let size = |entry: &Entry| entry.message_body.as_deref().unwrap_or_default().len();
                if request.entries.iter().map(size).sum::<usize>() > MAX_BODY {
                    let message = "Batch requests cannot be longer than 1048576 bytes.";
                    return Err(ServiceError::sqs("BatchRequestTooLong", message));
                }
                Ok(outcomes(ids, self.send(&queue, request.entries).await?))
            }
            "ReceiveMessage" => {
                let size = request.max_number_of_messages.unwrap_or(1);
                if size == 0 || size > MAX_BATCH {
                    let message = "MaxNumberOfMessages must be between 1 and 10";
                    return Err(ServiceError::sqs("InvalidParameterValue", message));
                }
                let wait = Duration::from_secs(request.wait_time_seconds.unwrap_or(0)).min(MAX_WAIT);
                let hidden = request.message.visibility_timeout.map(hidden).transpose()?;
                let messages = self.receive(&queue.name, size, wait, hidden).await?;
                let messages: Vec<_> = messages.iter().map(|message| received(message, &request)).collect();
                // Nothing received is an absent list.
                Ok(if messages.is_empty() { json!({}) } else { json!({"Messages": messages}) })
            }
            "DeleteMessage" => {
                let receipt = request.message.receipt_handle.ok_or_else(|| missing("ReceiptHandle"))?;
                self.delete(&queue.name, vec![receipt]).await?;
                Ok(json!({}))
            }
            "DeleteMessageBatch" => {
                let ids = batch(&request.entries)?;
                let receipts: Option<Vec<_>> =
                    request.entries.into_iter().map(|entry| entry.receipt_handle).collect();
                let receipts = receipts.ok_or_else(|| missing("ReceiptHandle"))?;
                self.delete(&queue.name, receipts).await?;
                Ok(outcomes(ids.clone(), ids.iter().map(|_| Ok(json!({}))).collect()))
            }
            "ChangeMessageVisibility" => {
                let receipt = request.message.receipt_handle.ok_or_else(|| missing("ReceiptHandle"))?;
                let timeout =
                    request.message.visibility_timeout.ok_or_else(|| missing("VisibilityTimeout"))?;
                self.hide(&queue.name, receipt, hidden(timeout)?).await?;
                Ok(json!({}))
            }
            "GetQueueAttributes" => self.attributes(queue, &request.attribute_names).await,
            "PurgeQueue" => {
                let purge = "DELETE FROM messages WHERE queue = ?";
                self.rows.run(move |rows| rows.execute(purge, [&queue.name])).await?;
                Ok(json!({}))
            }
            _ => Err(ServiceError::unknown("SQS", operation)),
        }
    }

    fn queue(&self, name: Option<&str>) -> Result<&Queue, ServiceError> {
        name.and_then(|name| self.queues.get(name)).ok_or_else(|| {
            let message = "The specified queue does not exist.";
            ServiceError::sqs("QueueDoesNotExist", message).query("AWS.SimpleQueueService.NonExistentQueue")
        })
    }

    /// How long the queue hides a message that was received; no time for a queue it lacks.
    pub fn visibility_timeout(&self, queue: &str) -> Duration {
        self.queues.get(queue).map(|queue| queue.visibility_timeout).unwrap_or_default()
    }

    /// Stores messages; they are there when this returns.
    async fn send(
        &self,
        queue: &Queue,
        entries: Vec<Entry>,
    ) -> Result<Vec<Result<Value, ServiceError>>, ServiceError> {
        let queue = queue.clone();
        let insert = "INSERT INTO messages (id, queue, body, attributes, sent_ms, visible_ms)
            VALUES (?, ?, ?, ?, ?, ?)";
        let sent = self.rows.run(move |rows| {
            let now = now_ms();
            let one = |entry: Entry| -> Result<Value, ServiceError> {
                let body = entry.message_body.filter(|body| !body.is_empty());
                let body = body.ok_or_else(|| missing("MessageBody"))?;
                if body.len() > MAX_BODY {
                    let message = "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.";
                    return Err(ServiceError::sqs("InvalidParameterValue", message));
                }
                let delay = entry.delay_seconds.map_or(queue.delay, Duration::from_secs);
                let id = random::uuid();
                let attributes = Value::Object(entry.message_attributes).to_string();
                rows.execute(insert, params![id, queue.name, body, attributes, now, now + millis(delay)])?;
                Ok(json!({"MessageId": id, "MD5OfMessageBody": md5(&body)}))
            };
            Ok::<_, ServiceError>(entries.into_iter().map(one).collect())
        });
        let sent = sent.await?;
        self.changed.send_replace(());
        Ok(sent)
    }

    /// Takes up to `size` messages, waiting for the first one for at most `wait`. They are hidden
    /// for `hidden`, or as long as the queue says.
    pub async fn receive(
        &self,
        queue: &str,
        size: usize,
        wait: Duration,
        hidden: Option<Duration>,
    ) -> Result<Vec<Message>, ServiceError> {
        let queue = self.queue(Some(queue))?.clone();
        let hidden = hidden.unwrap_or(queue.visibility_timeout);
        let end = Instant::now() + wait;
        loop {
            let mut changed = self.changed.subscribe();
            let taken = queue.clone();
            let (messages, next_ms) = self.rows.run(move |rows| take(rows, &taken, size, hidden)).await?;
            let left = end.saturating_duration_since(Instant::now());
            if !messages.is_empty() || left.is_zero() {
                return Ok(messages);
            }
            let next = next_ms.map_or(left, |next| {
                Duration::from_millis(u64::try_from(next - now_ms()).unwrap_or_default())
            });
            tokio::select! {
                () = tokio::time::sleep(next.min(left)) => {}
                _ = changed.changed() => {}
            }
        }
    }

    /// Deletes messages by the receipts of their latest receive; older receipts do nothing.
    pub async fn delete(&self, queue: &str, receipts: Vec<String>) -> Result<(), ServiceError> {
        let queue = queue.to_owned();
        let delete = "DELETE FROM messages WHERE queue = ? AND receipt = ?";
        self.rows
            .run(move |rows| {
                receipts.iter().try_for_each(|receipt| rows.execute(delete, [&queue, receipt]).map(drop))
            })
            .await?;
        Ok(())
    }

    async fn hide(&self, queue: &str, receipt: String, hidden: Duration) -> Result<(), ServiceError> {
        let queue = queue.to_owned();
        let update = "UPDATE messages SET visible_ms = ? WHERE queue = ? AND receipt = ? AND visible_ms > ?";
        let changed = self.rows.run(move |rows| {
            let now = now_ms();
            rows.execute(update, params![now + millis(hidden), queue, receipt, now])
        });
        if changed.await? == 0 {
            let message = "The message is not in flight.";
            let error = ServiceError::sqs("MessageNotInflight", message);
            return Err(error.query("AWS.SimpleQueueService.MessageNotInflight"));
        }
        self.changed.send_replace(());
        Ok(())
    }

    async fn attributes(&self, queue: Queue, names: &[String]) -> Result<Value, ServiceError> {
        let select = "SELECT
                count(*) FILTER (WHERE visible_ms <= ?2),
                count(*) FILTER (WHERE visible_ms > ?2 AND receipt IS NOT NULL),
                count(*) FILTER (WHERE visible_ms > ?2 AND receipt IS NULL)
            FROM messages WHERE queue = ?1";
        let name = queue.name.clone();
        let counts = self.rows.run(move |rows| {
            rows.query_row(select, params![name, now_ms()], |row| {
                Ok::<[i64; 3], _>([row.get(0)?, row.get(1)?, row.get(2)?])
            })
        });
        let [visible, in_flight, delayed] = counts.await?;
        let mut attributes = BTreeMap::from([
            ("ApproximateNumberOfMessages", visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed", delayed.to_string()),
            ("QueueArn", arn("sqs", &queue.name)),
            ("VisibilityTimeout", queue.visibility_timeout.as_secs().to_string()),
            ("DelaySeconds", queue.delay.as_secs().to_string()),
            ("MessageRetentionPeriod", queue.retention.as_secs().to_string()),
            ("MaximumMessageSize", MAX_BODY.to_string()),
        ]);
        if let Some(redrive) = queue.redrive {
            let policy = json!({
                "deadLetterTargetArn": arn("sqs", &redrive.queue),
                "maxReceiveCount": redrive.max_receive_count,
            });
            attributes.insert("RedrivePolicy", policy.to_string());
        }
        if !names.iter().any(|name| name == "All") {
            attributes.retain(|name, _| names.iter().any(|wanted| wanted == name));
        }
        Ok(json!({"Attributes": attributes}))
    }
}

/// The visible messages that are taken, and when the next one becomes visible.
fn take(
    rows: &Transaction<'_>,
    queue: &Queue,
    size: usize,
    hidden: Duration,
) -> Result<(Vec<Message>, Option<i64>), rusqlite::Error> {
    let now = now_ms();
    rows.execute(
        "DELETE FROM messages WHERE queue = ? AND sent_ms <= ?",
        params![queue.name, now - millis(queue.retention)],
    )?;
    if let Some(redrive) = &queue.redrive {
        rows.execute(
            "UPDATE messages SET queue = ?, source = queue, receipt = NULL
             WHERE queue = ? AND visible_ms <= ? AND receives >= ?",
            params![redrive.queue, queue.name, now, redrive.max_receive_count],
        )?;
    }
    let select = "SELECT id, body, attributes, sent_ms, receives + 1, coalesce(first_received_ms, ?2), source
        FROM messages WHERE queue = ?1 AND visible_ms <= ?2 ORDER BY visible_ms, rowid LIMIT ?3";
    let read = |row: &Row<'_>| {
        let attributes: String = row.get(2)?;
        Ok(Message {
            id: row.get(0)?,
            receipt: random::letters(64),
            body: row.get(1)?,
            attributes: serde_json::from_str(&attributes).unwrap_or_default(),
            sent_ms: row.get(3)?,
            receives: row.get(4)?,
            first_received_ms: row.get(5)?,
            source: row.get(6)?,
        })
    };
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let messages: Vec<Message> = rows
        .prepare_cached(select)?
        .query_map(params![queue.name, now, size], read)?
        .collect::<Result<_, _>>()?;
    let update = "UPDATE messages SET visible_ms = ?, receives = ?, first_received_ms = ?, receipt = ?
        WHERE id = ?";
    for message in &messages {
        let visible = now + millis(hidden);
        rows.prepare_cached(update)?.execute(params![
            visible,
            message.receives,
            message.first_received_ms,
            message.receipt,
            message.id
        ])?;
    }
    let next = "SELECT min(visible_ms) FROM messages WHERE queue = ? AND visible_ms > ?";
    let next = rows.query_row(next, params![queue.name, now], |row| row.get(0)).optional()?.flatten();
    Ok((messages, next))
}

fn received(message: &Message, request: &Request) -> Value {
    let mut answer = json!({
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "Body": message.body,
        "MD5OfBody": md5(&message.body),
    });
    let mut system = message.system_attributes();
    let names = request.attribute_names.iter().chain(&request.message_system_attribute_names);
    let names: Vec<_> = names.map(String::as_str).collect();
    if !names.contains(&"All") {
        system.retain(|name, _| names.contains(name));
    }
    if !system.is_empty() {
        answer["Attributes"] = json!(system);
    }
    let wanted = |name: &str| {
        request.message_attribute_names.iter().any(|wanted| match wanted.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => wanted == "All" || wanted == name,
        })
    };
    let attributes: Map<_, _> =
        message.attributes.clone().into_iter().filter(|(name, _)| wanted(name)).collect();
    if !attributes.is_empty() {
        answer["MessageAttributes"] = attributes.into();
    }
    answer
}

/// The ids of a batch, if they can tell its entries apart.
fn batch(entries: &[Entry]) -> Result<Vec<String>, ServiceError> {
    let error = |code: &'static str, query: &'static str, message: &str| {
        Err(ServiceError::sqs(code, message).query(query))
    };
    if entries.is_empty() {
        let query = "AWS.SimpleQueueService.EmptyBatchRequest";
        return error("EmptyBatchRequest", query, "There should be at least one entry in the request.");
    }
    if entries.len() > MAX_BATCH {
        let query = "AWS.SimpleQueueService.TooManyEntriesInBatchRequest";
        return error("TooManyEntriesInBatchRequest", query, "Maximum number of entries per request are 10.");
    }
    let ids: Option<Vec<_>> = entries.iter().map(|entry| entry.id.clone()).collect();
    let ids = ids.ok_or_else(|| missing("Id"))?;
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    if distinct.len() < ids.len() {
        let query = "AWS.SimpleQueueService.BatchEntryIdsNotDistinct";
        return error("BatchEntryIdsNotDistinct", query, "Two or more batch entries have the same Id.");
    }
    Ok(ids)
}

fn outcomes(ids: Vec<String>, results: Vec<Result<Value, ServiceError>>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, result) in ids.into_iter().zip(results) {
        match result {
            Ok(mut value) => {
                value["Id"] = id.into();
                successful.push(value);
            }
            Err(error) => failed.push(json!({
                "Id": id,
                "SenderFault": error.status < 500,
                "Code": error.code,
                "Message": error.message,
            })),
        }
    }
    json!({"Successful": successful, "Failed": failed})
}

fn hidden(seconds: u64) -> Result<Duration, ServiceError> {
    if seconds > MAX_HIDDEN_SECONDS {
        let message = "VisibilityTimeout must be between 0 and 43200";
        return Err(ServiceError::sqs("InvalidParameterValue", message));
    }
    Ok(Duration::from_secs(seconds))
}

fn missing(name: &str) -> ServiceError {
    let message = format!("The request must contain the parameter {name}.");
    ServiceError::sqs("MissingParameter", &message)
}

fn drop_list<T>(_: Vec<T>) -> ServiceError {
    ServiceError::internal()
}

fn md5(text: &str) -> String {
    random::hex_of(&Md5::digest(text))
}
