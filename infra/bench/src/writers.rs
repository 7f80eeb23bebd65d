//! Many writers into one workspace, through the functions themselves: what a transaction costs
//! to take in, how often writers meet, and whether anything is lost.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use lambda_runtime::Context;
use serde_json::{Value, json};
use shared::{
    identity::{Person, Role},
    lambda::Invoke,
    time,
};
use tidegate::{embedded::Embedded, functions::registry};

use crate::{
    Error,
    case::{authorization, body, request},
    direct::{self, CONFLICT},
    price::DYNAMODB_WAIT,
    tables::{Call, Tables},
};

/// Writers at a time.
const WRITERS: usize = 64;
/// How often a writer tries a call that was answered with 503.
const ATTEMPTS: usize = 20;

/// What one way to write took.
pub struct Run {
    items_of_a_call: usize,
    items: usize,
    sent: String,
    found: String,
    repeated: usize,
    took: Duration,
    calls: Vec<Call>,
}

/// Writes `calls` calls a writer of one item each, and half as many of a hundred.
pub async fn measure(embedded: &Embedded, calls: usize) -> Result<Vec<Run>, Error> {
    Ok(vec![run(embedded, 1, calls).await?, run(embedded, 100, calls.div_ceil(2)).await?])
}

async fn run(embedded: &Embedded, items_of_a_call: usize, calls: usize) -> Result<Run, Error> {
    let tables = Arc::new(Tables::memory(embedded.tables())?);
    let sdk = direct::sdk(embedded, &tables, DYNAMODB_WAIT);
    let functions = registry();
    let load = |name: &str| -> Result<Invoke, Error> {
        Ok(functions.get(name).ok_or("no such function")?.load(&embedded.env(name), &sdk)?)
    };
    let tool = caller(&load("key-generate")?, &load("authorize-key")?).await?;
    let (ingest, now) = (load("ingest")?, time::now());
    let items = WRITERS * calls * items_of_a_call;

    tables.record();
    let begin = Instant::now();
    let writers = (0..WRITERS).map(async |writer| {
        let mut repeated = 0;
        for call in 0..calls {
            let first = (writer * calls + call) * items_of_a_call;
            let items: Vec<_> = (first..first + items_of_a_call).map(|number| item(number, now)).collect();
            let event = request("PUT", "/api/ingest/transactions", Some(&tool), &json!({"items": items}));
            repeated += written(&ingest, &event, items_of_a_call).await?;
        }
        Ok::<_, Error>(repeated)
    });
    let repeated = try_join_all(writers).await?.into_iter().sum();
    let elapsed = begin.elapsed();
    let recorded = tables.recorded();

    let read = request("GET", "/api/devops/sync/revenue", Some(&tool), &Value::Null);
    let revenue: Value = body(&call(&load("sync-revenue")?, &read).await?)?;
    Ok(Run {
        items_of_a_call,
        items,
        sent: (0..items).map(dollars).sum::<usize>().to_string(),
        found: revenue["total_revenue"].to_string(),
        repeated,
        took: elapsed,
        calls: recorded,
    })
}

/// A key, and who calls with it.
async fn caller(generate: &Invoke, authorize: &Invoke) -> Result<Value, Error> {
    let person = Person {
        workspace: "org_bench".parse()?,
        subject: "user_bench".to_owned(),
        role: Role::Admin,
        expires_at: time::now() + TimeDelta::hours(1),
    };
    let context = serde_json::to_value(person.allow())?["context"].clone();
    let wanted = json!({
        "name": "bench", "permissions": ["read_metrics", "write_metrics"],
        "rate_limit": 1_000_000, "sync_rate_limit": 1_000_000,
    });
    let event = request("POST", "/api/devops/generate-key", Some(&context), &wanted);
    let made: Value = body(&call(generate, &event).await?)?;
    let key = made["api_key"].as_str().ok_or_else(|| format!("no key was generated: {made}"))?;
    Ok(call(authorize, &authorization("x-api-key", key)).await?["context"].clone())
}

async fn call(function: &Invoke, event: &Value) -> Result<Value, Error> {
    let event = serde_json::value::to_raw_value(event)?;
    let answer = function(event, Context::default()).await?;
    Ok(serde_json::from_str(answer.get())?)
}

/// Writes as a client does: again after a 503. How often again.
async fn written(ingest: &Invoke, event: &Value, items: usize) -> Result<usize, Error> {
    for attempt in 0..ATTEMPTS {
        let answer = call(ingest, event).await?;
        if answer["statusCode"] == 503 {
            continue;
        }
        let taken: Value = body(&answer)?;
        let results = taken["results"].as_array().ok_or_else(|| format!("no results: {answer}"))?;
        let good = |result: &&Value| matches!(result["outcome"].as_str(), Some("created" | "unchanged"));
        if results.iter().filter(good).count() != items {
            return Err(format!("not all is taken: {taken}").into());
        }
        return Ok(attempt);
    }
    Err("the ledger is too busy".into())
}

/// What a transaction is of.
fn dollars(number: usize) -> usize {
    number % 50 + 1
}

/// A transaction of the last days.
fn item(number: usize, now: DateTime<Utc>) -> Value {
    let at = now - TimeDelta::days(i64::try_from(number % 3).unwrap_or_default());
    json!({
        "id": format!("payment-{number:06}"),
        "kind": "subscription", "plan": "pro", "customer": format!("customer-{:05}", number / 7),
        "amount": dollars(number) * 100, "currency": "usd", "status": "succeeded",
        "occurred_at": at, "updated_at": at,
    })
}

impl Run {
    fn transactions(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.operation == "TransactWriteItems")
    }

    /// Transactions that ended so.
    fn ended(&self, refusal: Option<&str>) -> usize {
        self.transactions().filter(|call| call.refusal.as_deref() == refusal).count()
    }

    /// How often each of the rows that count all was written.
    fn shards(&self) -> Vec<usize> {
        let mut shards = BTreeMap::<String, usize>::new();
        for call in self.transactions().filter(|call| call.refusal.is_none()) {
            for row in direct::rows(&call.request).into_iter().filter(|row| row.ends_with("#SUM")) {
                *shards.entry(row).or_default() += 1;
            }
        }
        shards.into_values().collect()
    }
}

/// What was lost, or came twice.
pub fn wrong(runs: &[Run]) -> Vec<String> {
    runs.iter()
        .filter(|run| run.found != run.sent)
        .map(|run| format!("{} items a call: {} of {} arrived", run.items_of_a_call, run.found, run.sent))
        .collect()
}

/// The runs as a table.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub fn table(runs: &[Run]) -> String {
    let mut table = "| items a call | items | items/s | write units an item | read units an item | transactions | canceled by another | refused | answered 503 | writes of each shard |\n\
        |--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n"
        .to_owned();
    for run in runs {
        let items = run.items as f64;
        let units = |of: fn(&Call) -> f64| run.calls.iter().map(of).sum::<f64>() / items;
        let (done, contended) = (run.ended(None), run.ended(Some(CONFLICT)));
        let shards: Vec<_> = run.shards().iter().map(ToString::to_string).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | {} | {:.0} | {:.2} | {:.2} | {done} | {contended} ({:.0}%) | {} | {} | {} |",
            run.items_of_a_call,
            run.items,
            items / run.took.as_secs_f64(),
            units(|call| call.write_units),
            units(|call| call.read_units),
            100.0 * contended as f64 / (done + contended) as f64,
            run.ended(Some("ConditionalCheckFailed")),
            run.repeated,
            shards.join(" "),
        );
    }
    table
}
