//! Webhooks on the embedded runner: how many signed deliveries it accepts in a second, and how
//! many it processes.
//!
//! Both happen on one machine, over HTTP, with the database on disk. Deliveries are accepted first,
//! while no worker runs, and processed after that, so that neither is in the other's figure. Beside
//! them stands a call that only reads three rows, so that the figures say something elsewhere.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use aws_sdk_secretsmanager::Client as Secrets;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, RequestBuilder};
use shared::{
    identity::Workspace,
    lambda::Env,
    time,
    webhooks::{Status, Webhooks, store::Filter},
};
use tidegate::{
    TEMPLATE, functions,
    runner::{Config, Runner},
};

use crate::{
    Error,
    case::{STRIPE_PATH, STRIPE_SECRET, charge, stripe_headers},
};

/// Senders at a time.
const SENDERS: usize = 16;
/// The workspace whose events they are.
const HOME: &str = "bench";

/// What was measured.
pub struct Run {
    deliveries: usize,
    accepted: Duration,
    processed: Duration,
    /// As many of the calls beside them.
    health: Duration,
    left: usize,
}

/// Accepts and processes this many deliveries, on a runner with its state in `directory`.
pub async fn measure(directory: &Path, deliveries: usize) -> Result<Run, Error> {
    let client = Client::builder().no_proxy().build()?;
    let runner = start(directory, false).await?;
    let secrets = Secrets::new(&runner.sdk);
    secrets
        .create_secret()
        .name("tidegate/STRIPE_WEBHOOK_SECRET")
        .secret_string(STRIPE_SECRET)
        .send()
        .await?;
    let url = runner.running.url.clone();

    let begin = Instant::now();
    send(deliveries, |number| {
        let body = charge(number);
        let post = client.post(format!("{url}{STRIPE_PATH}")).headers(stripe_headers(&body));
        post.header("content-type", "application/json").body(body)
    })
    .await?;
    let accepted = begin.elapsed();
    let begin = Instant::now();
    send(deliveries, |_| client.get(format!("{url}/api/health"))).await?;
    let health = begin.elapsed();
    runner.stop().await;

    let begin = Instant::now();
    let runner = start(directory, true).await?;
    let webhooks = Webhooks::load(&Env::of([("WEBHOOKS_TABLE", "WebhooksTable")]), &runner.sdk)?;
    let home: Workspace = HOME.parse()?;
    let received = Filter { status: Some(Status::Received), ..Filter::default() };
    // Nothing that is accepted may stay: who waits longer than this waits for something lost.
    let patience = begin + Duration::from_mins(10);
    while !webhooks.list(&home, &received, 1, None, time::now()).await?.events.is_empty()
        && Instant::now() < patience
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = begin.elapsed();
    let processed = Filter { status: Some(Status::Processed), ..Filter::default() };
    let mut count = 0;
    let mut cursor = None;
    loop {
        let page = webhooks.list(&home, &processed, 100, cursor.as_deref(), time::now()).await?;
        count += page.events.len();
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    runner.stop().await;
    Ok(Run { deliveries, accepted, processed: took, health, left: deliveries.saturating_sub(count) })
}

async fn start(directory: &Path, workers: bool) -> Result<Runner, Error> {
    let config = Config {
        template: TEMPLATE.to_owned(),
        functions: functions::registry(),
        parameters: BTreeMap::from([("OperatorsWorkspace".to_owned(), HOME.to_owned())]),
        state: directory.join("webhooks"),
        bind: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        aws_port: 0,
        workers,
    };
    Ok(Runner::start(config).await?)
}

async fn send(calls: usize, call: impl Fn(usize) -> RequestBuilder) -> Result<(), Error> {
    stream::iter(0..calls)
        .map(|number| {
            let call = call(number);
            async move {
                let answer = call.send().await?;
                let status = answer.status();
                let text = answer.text().await?;
                if status.is_success() { Ok(()) } else { Err(Error::from(format!("{status}: {text}"))) }
            }
        })
        .buffer_unordered(SENDERS)
        .try_collect()
        .await
}

/// What is not as it must be.
pub fn wrong(run: &Run) -> Vec<String> {
    let lost = Some(run.left).filter(|left| *left > 0);
    lost.map(|left| format!("{left} of {} deliveries were not processed", run.deliveries))
        .into_iter()
        .collect()
}

/// The figures as a table.
pub fn table(run: &Run) -> String {
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let rate = |took: Duration| run.deliveries as f64 / took.as_secs_f64();
    let health = rate(run.health);
    let mut table = format!(
        "| {} deliveries, {SENDERS} at a time | a second | of health |\n|---|--:|--:|\n",
        run.deliveries
    );
    for (name, took) in [("accepted", run.accepted), ("processed", run.processed), ("health", run.health)] {
        let rate = rate(took);
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {name} | {rate:.0} | {:.2} |", rate / health);
    }
    table
}
