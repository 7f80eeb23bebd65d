//! Deliveries and kills: every event that was acknowledged has its effect, once.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tests::{
    Workspace,
    webhooks::{Endpoint, charge, stripe_event},
};
use tokio::time::{Instant, sleep};

use super::{Running, State, ledger::verified, port, tidegate};

const CHARGES: usize = 120;
const SENDERS: usize = 4;
const KILLS_AT_LEAST: usize = 8;

/// What Stripe tells of the `n`th charge: it succeeds and is given back in part, or it fails.
fn events(n: usize, begin: DateTime<Utc>) -> Vec<Value> {
    let (id, created) = (format!("ch_{n}"), begin.timestamp());
    let event = |which: usize, kind: &str, status: &str, refunded| {
        let at = created + i64::try_from(which).expect("small");
        stripe_event(&format!("evt_{n}_{which}"), kind, at, &charge(&id, status, created, refunded))
    };
    if n.is_multiple_of(5) {
        return vec![event(0, "charge.failed", "failed", 0)];
    }
    let mut events = vec![
        event(0, "charge.succeeded", "succeeded", 0),
        event(1, "charge.refunded", "succeeded", 100),
        event(2, "charge.refunded", "succeeded", 300),
    ];
    events.rotate_left(n % 3);
    events
}

/// Delivers until nothing is left, and what was not acknowledged again, as Stripe does. Notes the
/// ids of what was.
async fn deliver(
    endpoint: Endpoint,
    events: Arc<Vec<Value>>,
    next: Arc<AtomicUsize>,
    acknowledged: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let n = next.fetch_add(1, Ordering::SeqCst);
        let Some(event) = events.get(n) else { return };
        // Every fourth is delivered twice.
        for _ in 0..=usize::from(n.is_multiple_of(4)) {
            loop {
                match endpoint.event(event).try_send().await {
                    Ok(answer) if answer.status == 200 => {
                        let id = answer.json(200)["id"].as_str().expect("an id").to_owned();
                        acknowledged.lock().expect("no sender panicked").push(id);
                        break;
                    }
                    Ok(answer) => {
                        answer.problem(503, "unavailable");
                    }
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
        }
    }
}

/// Runs the sweep at once, for all that waits.
async fn sweep(state: &State) {
    let event: PathBuf = state.path().join("sweep.json");
    std::fs::write(&event, json!({"due_before": "2100-01-01T00:00:00Z"}).to_string()).expect("a file");
    let mut command = tidegate();
    command.args(["invoke", "webhook-sweep"]).arg(&event).arg("--state").arg(state.path());
    let output = command.output().await.expect("the command runs");
    assert!(output.status.success(), "{output:?}");
}

/// Waits until all of the events are processed.
async fn processed(workspace: &Workspace, ids: &[String]) {
    let begin = Instant::now();
    for id in ids {
        loop {
            let event = workspace.event(id).await.json(200);
            if event["status"] == "processed" {
                break;
            }
            assert!(begin.elapsed() < Duration::from_mins(2), "{event}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_event_has_its_effect_once_after_kills_at_random_moments() {
    let state = State::new();
    let (listener, free) = port();
    drop(listener);
    let mut running = Running::start(&state, free).await;
    let workspace = running.workspace(&state).await;
    let endpoint = workspace.endpoint("stripe").await;

    let begin = Utc::now() - chrono::Duration::hours(1);
    let events: Arc<Vec<_>> = Arc::new((0..CHARGES).flat_map(|n| events(n, begin)).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (events, next) = (Arc::clone(&events), Arc::clone(&next));
            tokio::spawn(deliver(endpoint.clone(), events, next, Arc::clone(&acknowledged)))
        })
        .collect();
    let random = |below| getrandom::u64().expect("random numbers") % below;
    let mut kills = 0;
    while next.load(Ordering::SeqCst) < events.len() {
        let due = next.load(Ordering::SeqCst) + 5 + usize::try_from(random(30)).expect("small");
        while next.load(Ordering::SeqCst) < due.min(events.len()) {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_micros(random(30_000))).await;
        running.kill().await;
        kills += 1;
        running = Running::start(&state, free).await;
    }
    for sender in senders {
        sender.await.expect("no sender panicked");
    }
    assert!(kills >= KILLS_AT_LEAST, "only {kills} kills");

    let mut ids = acknowledged.lock().expect("no sender panicked").clone();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "all were acknowledged in the end, once each");
    let mut waiting = 0;
    for id in &ids {
        waiting += usize::from(workspace.event(id).await.json(200)["status"] != "processed");
    }
    sweep(&state).await;
    processed(&workspace, &ids).await;
    println!("{kills} kills, {} events, {waiting} of them left to the sweep", ids.len());

    let report = verified(&state, &workspace.name).await;
    assert_eq!(report["entities"]["transactions"], CHARGES, "{report}");
    let key = workspace.key().await;
    let revenue = key.server().get("/api/devops/sync/revenue").key(&key.text).send().await.json(200);
    let succeeded = CHARGES - CHARGES.div_ceil(5);
    // 50 dollars each, of which 3 were given back.
    assert_eq!(revenue["total_revenue"], json!(succeeded * 47), "{revenue}");
    drop(running);
}
