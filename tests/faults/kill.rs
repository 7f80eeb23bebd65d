//! What was acknowledged survives `kill -9` at any moment.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tests::{
    Key,
    ledger::{later, user, verified},
    within_one_hour,
};
use tokio::time::sleep;

use super::{Running, State, port};

const CALLS: usize = 500;
const WRITERS: usize = 4;
const USERS: usize = 40;
const KILLS_AT_LEAST: usize = 10;

/// What the `n`th call sends: three users, in a state that only this call sends.
fn items(n: usize) -> Vec<Value> {
    (0..3).map(|which| later(&user((n * 7 + which * 11) % USERS), n + 1)).collect()
}

/// Takes calls until none are left; what the server acknowledged goes into `acknowledged`, by
/// call. A call that got no answer is not repeated: whether it was made is not known.
async fn write(key: Key, next: Arc<AtomicUsize>, acknowledged: Arc<Mutex<Vec<usize>>>) {
    loop {
        let n = next.fetch_add(1, Ordering::SeqCst);
        if n >= CALLS {
            return;
        }
        let call = key.server().request("PUT", "/api/ingest/users").key(&key.text);
        match call.json(&json!({"items": items(n)})).try_send().await {
            Ok(answer) if answer.status == 200 => {
                let answer = answer.json(200);
                for result in answer["results"].as_array().expect("results") {
                    assert_ne!(result["outcome"], "rejected", "{result}");
                }
                acknowledged.lock().expect("no writer panicked").push(n);
            }
            // Writers that race for the same users may be told to try again.
            Ok(answer) => {
                answer.problem(503, "unavailable");
            }
            Err(_) => wait_for(&key).await,
        }
    }
}

pub(super) async fn wait_for(key: &Key) {
    while key.server().get("/api/health").try_send().await.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_survives_kills_at_random_moments() {
    within_one_hour(120).await;
    let state = State::new();
    let (listener, free) = port();
    drop(listener);
    let mut running = Running::start(&state, free).await;
    let workspace = running.workspace(&state).await;
    let key = workspace.key_with(json!({"rate_limit": 1_000_000, "sync_rate_limit": 1_000_000})).await;

    let next = Arc::new(AtomicUsize::new(0));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| tokio::spawn(write(key.clone(), Arc::clone(&next), Arc::clone(&acknowledged))))
        .collect();

    // By calls and not by time, so that as many fall into a run on a quick machine as on a slow one.
    let random = |below| getrandom::u64().expect("random numbers") % below;
    let mut kills = 0;
    while next.load(Ordering::SeqCst) < CALLS {
        let due = next.load(Ordering::SeqCst) + 5 + usize::try_from(random(35)).expect("small");
        while next.load(Ordering::SeqCst) < due.min(CALLS) {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_micros(random(15_000))).await;
        running.kill().await;
        kills += 1;
        running = Running::start(&state, free).await;
    }
    for writer in writers {
        writer.await.expect("no writer panicked");
    }
    running.kill().await;
    let _running = Running::start(&state, free).await;
    assert!(kills >= KILLS_AT_LEAST, "only {kills} kills");

    let (totals, users) = verified(&key).await;
    let held: HashMap<_, _> = users.iter().map(|user| (user["id"].as_str(), user)).collect();
    assert_eq!(totals.users, u64::try_from(held.len()).expect("few"));
    let acknowledged = acknowledged.lock().expect("no writer panicked").clone();
    println!("{kills} kills, {} of {CALLS} calls acknowledged", acknowledged.len());
    assert!(acknowledged.len() > CALLS / 2, "{} acknowledged", acknowledged.len());
    for n in &acknowledged {
        for sent in items(*n) {
            let held = held.get(&sent["id"].as_str()).unwrap_or_else(|| panic!("lost: {sent}"));
            let at = |user: &Value| user["updated_at"].as_str().map(str::to_owned);
            assert!(at(held) >= at(&sent), "lost: {sent}, held: {held}");
        }
    }
    for user in users {
        assert!((0..CALLS).any(|n| items(n).contains(&user)), "nobody sent {user}");
    }
    // Counted once each: no less than was acknowledged, no more than was sent.
    let usage = workspace.usage(&key.id).await;
    let counted = usage["routes"]["ingest-users"].as_u64().expect("ingests were counted");
    let bounds = u64::try_from(acknowledged.len()).expect("few")..=u64::try_from(CALLS).expect("few");
    assert!(bounds.contains(&counted), "{counted} counted, {bounds:?}");
}
