//! The ledger after kills: every total is what its entities come to.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use serde_json::{Value, json};
use tests::{Key, ledger::time, within_one_hour};
use tokio::time::{Instant, sleep};

use super::{Running, State, kill::wait_for, port, tidegate};

const KINDS: [&str; 4] = ["users", "subscriptions", "transactions", "commissions"];
const CALLS: usize = 240;
const WRITERS: usize = 4;
const ENTITIES: usize = 30;
const KILLS_AT_LEAST: usize = 6;
const TRIALS: usize = 400;

/// An entity of a kind as of `minute` minutes after the year began.
fn item(kind: &str, n: usize, minute: usize) -> Value {
    let of_id = |words: &[&'static str]| words[n % words.len()];
    let nth = |words: &[&'static str]| words[minute % words.len()];
    let mut item = match kind {
        "users" => json!({"username": "ann", "role": nth(&["owner", "guest"]), "status": "active"}),
        "subscriptions" => json!({
            "customer": "customer", "plan": of_id(&["basic", "pro"]), "currency": "USD",
            "status": nth(&["active", "trialing", "past_due", "canceled"]),
            "items": [{"unit_amount": 1_000 + minute, "interval": "month"}],
        }),
        "transactions" => json!({
            "kind": "subscription", "plan": "pro", "customer": "customer", "currency": of_id(&["USD", "JPY"]),
            "amount": 5_000, "refunded": minute, "status": if minute.is_multiple_of(3) { "failed" } else { "succeeded" },
        }),
        _ => json!({
            "username": of_id(&["Zoë", "bob"]), "tier": nth(&["gold", "iron"]), "amount": minute,
            "currency": "USD", "transaction": "transaction",
        }),
    };
    let began = match kind {
        "users" => "signed_up_at",
        "subscriptions" => "started_at",
        _ => "occurred_at",
    };
    item["id"] = json!(format!("{kind}-{n}"));
    item[began] = json!(format!("2026-01-{:02}T00:00:00Z", 1 + n % 20));
    item["updated_at"] = json!(format!("2026-02-{:02}T{:02}:00:00Z", 1 + minute % 28, minute / 28 % 24));
    item
}

/// Makes calls until none are left. One that got no answer, or was told to try again, is made
/// again every other time: whatever it left behind, the totals must not show it twice.
async fn write(key: Key, next: Arc<AtomicUsize>) {
    loop {
        let n = next.fetch_add(1, Ordering::SeqCst);
        if n >= CALLS {
            return;
        }
        let kind = KINDS[n % KINDS.len()];
        let items: Vec<_> =
            (0..8).map(|which| item(kind, (n * 7 + which * 11) % ENTITIES, n + which)).collect();
        let call = || {
            let call = key.server().request("PUT", &format!("/api/ingest/{kind}")).key(&key.text);
            call.json(&json!({"items": items})).try_send()
        };
        for _ in 0..=n % 2 {
            match call().await {
                Ok(answer) if answer.status == 200 => {
                    for result in answer.json(200)["results"].as_array().expect("results") {
                        assert_ne!(result["outcome"], "rejected", "{result}");
                    }
                    break;
                }
                Ok(answer) => {
                    answer.problem(503, "unavailable");
                }
                Err(_) => wait_for(&key).await,
            }
        }
    }
}

/// What `tidegate ledger verify` says of a workspace; insists that it is clean.
pub(super) async fn verified(state: &State, workspace: &str) -> Value {
    let mut command = tidegate();
    command.args(["ledger", "verify", "--json", "--workspace", workspace, "--state"]).arg(state.path());
    let output = command.output().await.expect("the command runs");
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["clean"], true, "{report}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_of_all_kinds_survive_kills_at_random_moments() {
    within_one_hour(180).await;
    let state = State::new();
    let (listener, free) = port();
    drop(listener);
    let mut running = Running::start(&state, free).await;
    let workspace = running.workspace(&state).await;
    let key = workspace.key_with(json!({"rate_limit": 1_000_000, "sync_rate_limit": 1_000_000})).await;

    let next = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(write(key.clone(), Arc::clone(&next)))).collect();
    let random = |below| getrandom::u64().expect("random numbers") % below;
    let mut kills = 0;
    while next.load(Ordering::SeqCst) < CALLS {
        let due = next.load(Ordering::SeqCst) + 5 + usize::try_from(random(20)).expect("small");
        while next.load(Ordering::SeqCst) < due.min(CALLS) {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_micros(random(30_000))).await;
        running.kill().await;
        kills += 1;
        running = Running::start(&state, free).await;
    }
    for writer in writers {
        writer.await.expect("no writer panicked");
    }
    assert!(kills >= KILLS_AT_LEAST, "only {kills} kills");
    let beside = verified(&state, &workspace.name).await;
    running.kill().await;
    let alone = verified(&state, &workspace.name).await;
    assert_eq!(beside, alone, "on a server's state and on one that nobody uses");
    for kind in KINDS {
        assert_eq!(alone["entities"][kind], ENTITIES, "{alone}");
    }
    assert!(alone["earlier_versions"].as_u64() > Some(0), "{alone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trials_that_ended_are_counted_once_when_the_counting_is_killed() {
    within_one_hour(300).await;
    let state = State::new();
    let (listener, free) = port();
    drop(listener);
    let running = Running::start(&state, free).await;
    let workspace = running.workspace(&state).await;
    let key = workspace.key().await;
    let ends = Utc::now() + chrono::Duration::seconds(20);
    for chunk in (0..TRIALS).collect::<Vec<_>>().chunks(100) {
        let trial = |n: &usize| {
            let mut trial = item("subscriptions", *n, 1);
            trial["trial_ends_at"] = json!(time(ends));
            trial
        };
        let items: Vec<_> = chunk.iter().map(trial).collect();
        let call = key.server().request("PUT", "/api/ingest/subscriptions").key(&key.text);
        let _ = call.json(&json!({"items": items})).send().await.expect(200);
    }
    let left = (ends - Utc::now()).to_std().unwrap_or_default();
    sleep(left + Duration::from_secs(1)).await;
    let overdue = |report: Value| report["overdue"].as_u64().expect("a number");
    let mut waiting = overdue(verified(&state, &workspace.name).await);
    assert_eq!(waiting, TRIALS as u64);

    let invoke = || {
        let event = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/ledger-due.json");
        let mut command = tidegate();
        command.args(["invoke", "ledger-due"]).arg(event).arg("--state").arg(state.path());
        command
    };
    // Later each time, until one gets through.
    let mut half_way = 0;
    let begin = Instant::now();
    let mut patience = Duration::from_millis(50);
    loop {
        patience = patience.mul_f64(1.15);
        let mut child = invoke().spawn().expect("the command runs");
        let ended = tokio::time::timeout(patience, child.wait()).await;
        if ended.is_ok_and(|ended| ended.expect("it ends").success()) {
            break;
        }
        child.kill().await.expect("it can be killed");
        let now = overdue(verified(&state, &workspace.name).await);
        half_way += u32::from(now < waiting);
        waiting = now;
        assert!(begin.elapsed() < Duration::from_mins(8), "{waiting} still wait");
    }
    println!("{half_way} kills half-way");
    let report = verified(&state, &workspace.name).await;
    assert_eq!(overdue(report), 0);
}
