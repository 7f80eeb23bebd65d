//! A process that is killed at any of its calls, before or after the call was made.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};
use serde_json::json;
use shared::webhooks::{Queue, Source, Status, Webhooks, process::Processor, queue::Wake};
use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

use super::{System, accept, history, later, now};
use crate::ledger::{acme, ledger};

/// Lets so many calls through. The next one ends the process, after it was made or before.
#[derive(Debug, Clone)]
struct Cut {
    inner: SharedHttpClient,
    left: Arc<AtomicUsize>,
    made: bool,
    reached: Arc<Notify>,
}

impl Cut {
    fn after(calls: usize, made: bool, sdk: &SdkConfig) -> (SdkConfig, Arc<Notify>) {
        let (left, reached) = (Arc::new(AtomicUsize::new(calls)), Arc::<Notify>::default());
        let cut = Self { inner: sdk.http_client().unwrap(), left, made, reached: Arc::clone(&reached) };
        (sdk.clone().into_builder().http_client(SharedHttpClient::new(cut)).build(), reached)
    }
}

impl HttpClient for Cut {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, cut: self.clone() })
    }
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    cut: Cut,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Cut { left, made, reached, .. } = self.cut.clone();
        let passes = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        let answered = (passes || made).then(|| self.inner.call(request));
        HttpConnectorFuture::new(async move {
            let answer = match answered {
                Some(answered) => Some(answered.await?),
                None => None,
            };
            if let Some(answer) = answer.filter(|_| passes) {
                return Ok(answer);
            }
            reached.notify_one();
            std::future::pending().await
        })
    }
}

/// Takes in a payment, a deployment, a push and a body that nobody can read, and processes them.
/// What was acknowledged stands in `acknowledged`.
async fn work(system: &System, sdk: &SdkConfig, acknowledged: &Mutex<Vec<Wake>>) {
    let env = system.embedded.env("webhook-process");
    let (events, queue) = (Webhooks::load(&env, sdk).unwrap(), Queue::load(&env, sdk).unwrap());
    let processor = Processor::load(&env, sdk).unwrap();
    let deployment = json!({"environment": "production", "version": "1", "status": "success"});
    let push = json!({"id": "push", "ref": "refs/heads/main", "repository": {"full_name": "acme/site"}});
    let mut bodies: Vec<_> = history(0)[1..4]
        .iter()
        .map(|event| (Source::Stripe, event["type"].as_str().unwrap().to_owned(), event.to_string()))
        .collect();
    let told = json!({"type": "deployment", "id": "1", "data": deployment}).to_string();
    bodies.push((Source::Devops, "deployment".to_owned(), told));
    bodies.push((Source::Github, "push".to_owned(), push.to_string()));
    bodies.push((Source::Stripe, "charge.failed".to_owned(), "{".to_owned()));
    for (source, kind, body) in bodies {
        let wake = accept(&events, &acme(), source, &kind, body.as_bytes()).await;
        queue.send(&wake, Duration::ZERO).await.unwrap();
        acknowledged.lock().unwrap().push(wake);
    }
    let wakes: HashSet<_> = acknowledged.lock().unwrap().iter().cloned().collect();
    let end = Instant::now() + Duration::from_secs(25);
    assert!(processor.process(wakes, now(), end).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_a_process_is_killed_at_what_it_acknowledged_has_its_effect_once() {
    let (mut kills, mut calls) = (0, 0);
    loop {
        let mut ended = 0;
        for made in [false, true] {
            let case = format!("killed at call {calls}, {}", if made { "made" } else { "not made" });
            let system = System::new().await;
            let (sdk, reached) = Cut::after(calls, made, &system.embedded.sdk());
            let acknowledged = Mutex::default();
            tokio::select! {
                () = reached.notified() => kills += 1,
                () = work(&system, &sdk, &acknowledged) => ended += 1,
            }
            recovered(&system, &acknowledged.into_inner().unwrap(), &case).await;
        }
        if ended == 2 {
            break;
        }
        calls += 1;
    }
    println!("{kills} kills at {calls} calls");
    assert!(calls > 15, "{calls} calls");
}

/// Another process starts, and the sweep fires.
async fn recovered(system: &System, acknowledged: &[Wake], case: &str) {
    let swept = system.sweep(later(86_400), later(1)).await;
    assert_eq!((swept.dead, swept.failed), (0, 0), "{case}");
    let messages = system.woken().await;
    for batch in messages.chunks(10) {
        assert!(system.process(batch, later(2)).await.is_empty(), "{case}");
    }
    assert_eq!(system.pending().await, 0, "{case}");
    let mut statuses = Vec::new();
    for wake in acknowledged {
        statuses.push(system.event(wake).await.status);
    }
    let processed = statuses.iter().filter(|status| **status == Status::Processed).count();
    assert_eq!(processed, acknowledged.len().min(5), "{case}: {statuses:?}");
    assert_eq!(statuses.get(5).copied().unwrap_or(Status::Dead), Status::Dead, "{case}");
    let unread = system.rows("EVENT#").await.iter().any(|row| row["status"].as_s().unwrap() == "dead");
    assert!(unread != system.dead().await.is_empty(), "{case}: who is dead is told of");

    // What was stored has its effect, be it acknowledged or not.
    let stored = system.rows("EVENT#").await.len();
    let figures = system.figures().await;
    assert_eq!(figures.get("processed").copied().unwrap_or_default(), stored.min(5), "{case}: {figures:?}");
    assert_eq!(system.rows("DEVOPS#").await.len(), usize::from(stored > 3), "{case}");
    let client = Client::new(&system.embedded.sdk());
    let log = client.scan().table_name("ActivityTable").send().await.unwrap();
    assert_eq!(log.count(), i32::from(stored > 4), "{case}: {:?}", log.items());
    let report = ledger(&system.embedded).verify(&acme(), now(), &mut |_| ()).await.unwrap();
    assert!(report.is_clean(), "{case}: {report:?}");
    assert_eq!(
        report.entities.get("transactions").copied().unwrap_or_default(),
        u64::from(stored > 0),
        "{case}"
    );
}
