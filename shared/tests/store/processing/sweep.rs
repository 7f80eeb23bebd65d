//! The sweep: what nothing else woke.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use chrono::TimeDelta;
use shared::webhooks::{Source, Status, sweep::Swept};

use super::{System, history, later, now};
use crate::faults::{Fault, Line};

fn woken(woken: u64) -> Swept {
    Swept { woken, ..Swept::default() }
}

#[tokio::test]
async fn what_no_message_woke_is_woken_once_it_is_due_and_then_processed() {
    let system = System::new().await;
    let mut wakes = system.stripe(&(0..5).flat_map(history).collect::<Vec<_>>()).await;
    let other = "other".parse().unwrap();
    let body = br#"{"id": "else", "type": "backup"}"#;
    wakes.push(system.accept_in(&other, Source::Devops, "backup", body).await);
    assert_eq!(system.sweep(later(299), later(299)).await, woken(0), "their messages are on the way");
    assert_eq!(system.sweep(later(300), later(300)).await, woken(wakes.len() as u64));
    assert_eq!(system.sweep(later(301), later(301)).await, woken(0), "two sweeps wake once");
    let messages = system.woken().await;
    assert_eq!(messages.len(), wakes.len());
    for wake in &wakes {
        assert!(messages.contains(wake), "{wake:?}");
    }
    for batch in messages.chunks(10) {
        assert!(system.process(batch, later(310)).await.is_empty());
    }
    system.insist_processed(&wakes, "swept").await;
    assert_eq!(system.sweep(later(100_000), later(100_000)).await, woken(0));
}

#[tokio::test]
async fn an_event_that_ends_its_workers_is_given_up_and_told_of() {
    let system = System::new().await;
    let wake = system.deployment("1").await;
    let mut time = now() + TimeDelta::minutes(5);
    for (nth, minutes) in (1..).zip([5, 10, 20, 40, 80]) {
        assert_eq!(system.sweep(time, time).await, woken(1), "{nth}");
        // A worker takes it and dies without a word.
        assert_eq!(system.woken().await.len(), 1, "{nth}");
        let before = time + TimeDelta::minutes(minutes) - TimeDelta::seconds(1);
        assert_eq!(system.sweep(before, before).await, woken(0), "{nth}: left alone for longer each time");
        time += TimeDelta::minutes(minutes);
    }
    assert_eq!(system.sweep(time, time).await, Swept { dead: 1, ..Swept::default() });
    let event = system.event(&wake).await;
    assert_eq!(event.status, Status::Dead, "{event:?}");
    let error = event.log[0].error.clone().unwrap();
    assert_eq!(error, "processing ended without a result");
    let dead = system.dead().await;
    assert_eq!(dead, [serde_json::json!({"workspace": "acme", "event": wake.event, "error": error})]);
    assert_eq!(system.sweep(time + TimeDelta::days(1), time + TimeDelta::days(1)).await, woken(0));

    // The workers had only been away: the messages are still there.
    assert!(system.process(std::slice::from_ref(&wake), time).await.is_empty());
    system.insist_processed(&[wake], "after all").await;
}

#[tokio::test]
async fn an_attempt_and_a_replay_give_an_event_all_its_chances_back() {
    let system = System::new().await;
    let wake = system.deployment("1").await;
    let wakes = async || {
        let rows = system.rows("EVENT#").await;
        rows[0].get("wakes").map_or(0, |wakes| wakes.as_n().unwrap().parse::<u32>().unwrap())
    };
    assert_eq!(system.sweep(later(300), later(300)).await, woken(1));
    assert_eq!(wakes().await, 1);
    assert!(system.reopen(&wake).await);
    assert_eq!(wakes().await, 0, "a replay");
    assert_eq!(system.sweep(later(600), later(600)).await, woken(1));
    assert!(system.process(std::slice::from_ref(&wake), later(600)).await.is_empty());
    assert_eq!(wakes().await, 0, "an attempt");
}

#[tokio::test]
async fn an_operator_wakes_all_that_waits_and_uses_up_none_of_their_chances() {
    let system = System::new().await;
    let fresh = system.deployment("1").await;
    let line = br#"{"id": "evt_unlinked", "type": "invoice.paid", "created": 1, "data": {"object": {"object": "invoice", "id": "in_1"}}}"#;
    let failing = system.accept(Source::Stripe, "invoice.paid", line).await;
    assert!(system.process(std::slice::from_ref(&failing), now()).await.is_empty());
    let status = system.event(&failing).await.status;
    for nth in 0..8 {
        let pending = u64::from(status == Status::Failed) + 1;
        assert_eq!(system.sweep(later(100_000), now()).await, woken(pending), "{nth}");
        let messages = system.woken().await;
        assert_eq!(messages.len() as u64, pending, "{nth}: once each");
    }
    assert_eq!(system.event(&failing).await.next_attempt_at, None, "a worker may try it now");
    assert!(system.process(&[fresh.clone(), failing], now()).await.is_empty());
    assert_eq!(system.event(&fresh).await.status, Status::Processed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_fails_uses_up_no_chance_and_is_told_of() {
    let fails = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&fails);
    let system = System::over(move |sdk| {
        let told = Arc::clone(&told);
        let fault = move |_, _: &str| {
            if told.load(SeqCst) { Fault::Refused("AccessDeniedException") } else { Fault::None }
        };
        Line::of("AmazonSQS.SendMessageBatch", sdk, fault).0
    })
    .await;
    let wakes = [system.deployment("1").await, system.deployment("2").await];
    for nth in 0..8 {
        let time = later(300 * (nth + 1));
        assert_eq!(system.sweep(time, time).await, Swept { failed: 2, ..Swept::default() }, "{nth}");
    }
    fails.store(false, SeqCst);
    assert_eq!(system.sweep(later(3000), later(3000)).await, woken(2));
    assert!(system.process(&system.woken().await, later(3000)).await.is_empty());
    system.insist_processed(&wakes, "the queue is back").await;
}
