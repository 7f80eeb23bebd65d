//! SQS event source mappings: takes batches from a queue to its function, as Lambda does.
//!
//! What the function worked off is deleted. What it did not stays hidden until its visibility
//! timeout is over and then comes again, until the queue's redrive policy moves it away.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    functions::{Functions, MAX_PAYLOAD},
    sqs::{Message, Sqs},
    template::QueueSource,
};

/// How long one look into the queue lasts; the longest that SQS allows.
const POLL: Duration = Duration::from_secs(20);
/// What one receive can take.
const RECEIVE: usize = 10;
/// Before a queue that could not be read is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// Messages of one event; their records and its frame must fit beside them.
const MAX_EVENT: usize = MAX_PAYLOAD - 64 * 1024;

/// Works off one queue until told to stop, and then finishes what it took.
pub async fn work(sqs: Sqs, functions: Arc<Functions>, source: QueueSource, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(source.concurrency));
    let source = Arc::new(source);
    let mut running = JoinSet::new();
    loop {
        // Taken only when there is someone to work it off. A message that is taken while this is
        // told to stop comes again after its visibility timeout.
        let take = async {
            let _free = permits.acquire().await;
            batch(&sqs, &source).await
        };
        let batch = tokio::select! {
            batch = take => batch,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        if batch.is_empty() {
            continue;
        }
        for part in parts(batch) {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
            let (sqs, functions, source) = (sqs.clone(), Arc::clone(&functions), Arc::clone(&source));
            running.spawn(async move {
                invoke(&sqs, &functions, &source, part).await;
                drop(permit);
            });
        }
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
}

/// Waits for a message, and then for more until the batch is full or the window is over.
async fn batch(sqs: &Sqs, source: &QueueSource) -> Vec<Message> {
    let mut batch: Vec<Message> = Vec::new();
    // The visibility timeout is for working a message off, not for waiting in a batch.
    let visible_after = sqs.visibility_timeout(&source.queue);
    let mut left = source.window;
    let mut end = None;
    while batch.len() < source.batch_size {
        let size = (source.batch_size - batch.len()).min(RECEIVE);
        let wait = if batch.is_empty() { POLL } else { left };
        match sqs.receive(&source.queue, size, wait, Some(visible_after + left)).await {
            Ok(messages) => batch.extend(messages),
            Err(error) => {
                tracing::error!(queue = source.queue, "cannot be read: {}", error.message);
                tokio::time::sleep(PAUSE).await;
                return batch;
            }
        }
        if batch.is_empty() {
            return batch;
        }
        let end = *end.get_or_insert_with(|| Instant::now() + source.window);
        left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
    }
    batch
}

/// Splits a batch so that each event fits an invocation.
fn parts(batch: Vec<Message>) -> Vec<Vec<Message>> {
    let mut parts: Vec<Vec<Message>> = Vec::new();
    let mut size = 0;
    for message in batch {
        // Text can double when it is written as JSON, and a record adds its own kilobyte.
        let record = message.body.len() * 2 + 1024;
        size += record;
        if let Some(part) = parts.last_mut().filter(|_| size <= MAX_EVENT) {
            part.push(message);
        } else {
            size = record;
            parts.push(vec![message]);
        }
    }
    parts
}

async fn invoke(sqs: &Sqs, functions: &Functions, source: &QueueSource, batch: Vec<Message>) {
    let records: Vec<_> = batch.iter().map(|message| message.record(&source.queue)).collect();
    let Ok(event) = to_raw_value(&json!({"Records": records})) else { return };
    let failed = match functions.invoke(&source.function, event, None).await {
        Err(_) => None,
        Ok(_) if !source.partial_answers => Some(BTreeSet::new()),
        Ok(answer) => failures(&answer, &batch),
    };
    let Some(failed) = failed else {
        tracing::warn!(queue = source.queue, messages = batch.len(), "a batch failed");
        return;
    };
    if !failed.is_empty() {
        tracing::warn!(queue = source.queue, messages = failed.len(), "messages of a batch failed");
    }
    let done = batch.into_iter().filter(|message| !failed.contains(&message.id));
    let receipts = done.map(|message| message.receipt).collect();
    if let Err(error) = sqs.delete(&source.queue, receipts).await {
        tracing::error!(queue = source.queue, "messages that are done come again: {}", error.message);
    }
}

/// The ids that a partial answer names; `None` when Lambda would take the whole batch as failed.
fn failures(answer: &RawValue, batch: &[Message]) -> Option<BTreeSet<String>> {
    let answer: Value = serde_json::from_str(answer.get()).ok()?;
    let failures = match answer {
        Value::Null => return Some(BTreeSet::new()),
        Value::Object(mut answer) => match answer.remove("batchItemFailures") {
            None | Some(Value::Null) => return Some(BTreeSet::new()),
            Some(Value::Array(failures)) => failures,
            Some(_) => return None,
        },
        _ => return None,
    };
    let known = |id: &str| batch.iter().any(|message| message.id == id);
    let id =
        |failure: &Value| failure.get("itemIdentifier")?.as_str().filter(|id| known(id)).map(str::to_owned);
    failures.iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_answer_counts_as_lambda_counts_it() {
        let batch = [Message::of("1"), Message::of("2")];
        for (answer, failed) in [
            (r#"{"batchItemFailures":[{"itemIdentifier":"2"}]}"#, Some(&["2"][..])),
            (r#"{"batchItemFailures":[]}"#, Some(&[])),
            (r#"{"batchItemFailures":null}"#, Some(&[])),
            ("{}", Some(&[])),
            ("null", Some(&[])),
            (r#"{"batchItemFailures":[{"itemIdentifier":"3"}]}"#, None),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, None),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, None),
            (r#"{"batchItemFailures":[{"item":"1"}]}"#, None),
            (r#"{"batchItemFailures":"1"}"#, None),
            (r#""text""#, None),
        ] {
            let expected = failed.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
            let answer = RawValue::from_string(answer.to_owned()).unwrap();
            assert_eq!(failures(&answer, &batch), expected, "{answer}");
        }
    }

    #[test]
    fn a_batch_that_is_too_large_for_an_event_is_split() {
        let large = |id: &str| {
            let mut message = Message::of(id);
            message.body = "x".repeat(1024 * 1024);
            message
        };
        let batch: Vec<_> = ["1", "2", "3", "4", "5"].map(large).into();
        let parts = parts(batch);
        let ids: Vec<Vec<_>> =
            parts.iter().map(|part| part.iter().map(|message| message.id.as_str()).collect()).collect();
        assert_eq!(ids, [vec!["1", "2"], vec!["3", "4"], vec!["5"]]);
    }
}
