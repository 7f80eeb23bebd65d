//! Services that fail: nothing is lost, and nothing happens twice.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use shared::webhooks::Status;

use super::{System, history, later, now};
use crate::{
    faults::{Fault, Line},
    ledger::{acme, ledger},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_fails_now_and_then_costs_no_effect_and_doubles_none() {
    type Faults = fn(usize, &str) -> Fault;
    let cases: [(&str, Faults); 8] = [
        ("every other transaction meets another", |nth, _| match nth % 2 {
            0 => Fault::Cancelled("TransactionConflict"),
            _ => Fault::None,
        }),
        ("every other one is throttled", |nth, _| match nth % 2 {
            0 => Fault::Cancelled("ThrottlingError"),
            _ => Fault::None,
        }),
        ("every other one is too much for the table", |nth, _| match nth % 2 {
            0 => Fault::Refused("ProvisionedThroughputExceededException"),
            _ => Fault::None,
        }),
        ("the first ten are too much for the table", |nth, _| match nth {
            0..10 => Fault::Refused("ProvisionedThroughputExceededException"),
            _ => Fault::None,
        }),
        ("every other answer is lost", |nth, _| match nth % 2 {
            0 => Fault::AnswerLost,
            _ => Fault::None,
        }),
        ("the first answers are lost for good", |nth, _| match nth {
            0..8 => Fault::AnswerLost,
            _ => Fault::None,
        }),
        ("marks are applied, and said to have failed", |nth, text| {
            if text.contains("EVENT#acme") && nth < 12 {
                Fault::AppliedBut("InternalServerError")
            } else {
                Fault::None
            }
        }),
        ("one event can be marked only by itself", |_, text| {
            if text.contains("EVENT#acme") && text.matches("#log = :log").count() > 1 {
                Fault::Refused("ValidationException")
            } else {
                Fault::None
            }
        }),
    ];
    for (case, faults) in cases {
        let system = System::over(|sdk| Line::with(sdk, faults).0).await;
        let mut wakes = system.stripe(&history(1)).await;
        wakes.push(system.deployment("1").await);
        // As the queue, and the sweep, would have it.
        let (mut rounds, mut time) = (0, now());
        loop {
            let _ = system.process(&wakes, time).await;
            if system.pending().await == 0 {
                break;
            }
            rounds += 1;
            assert!(rounds < 10, "{case}: it does not end");
            time += chrono::TimeDelta::hours(8);
        }
        println!("{case}: {rounds} more rounds");
        system.insist_processed(&wakes, case).await;
        assert_eq!(system.figures().await.get("t:deployment"), Some(&1), "{case}");
        assert_eq!(system.rows("DEVOPS#").await.len(), 1, "{case}");
        assert!(system.dead().await.is_empty(), "{case}");
        let report = ledger(&system.embedded).verify(&acme(), now(), &mut |_| ()).await.unwrap();
        assert!(report.is_clean(), "{case}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_does_not_take_comes_again_as_it_was() {
    let system = System::over(|sdk| {
        let fault = |_, text: &str| {
            if text.contains("EVENT#acme") { Fault::Refused("ValidationException") } else { Fault::None }
        };
        Line::with(sdk, fault).0
    })
    .await;
    let wakes = system.stripe(&history(0)).await;
    let again = system.process(&wakes, now()).await;
    assert_eq!(again.len(), wakes.len(), "the queue is told to bring all again");
    for wake in &wakes {
        let event = system.event(wake).await;
        assert_eq!((event.status, event.attempts), (Status::Received, 0), "{event:?}");
    }
    assert!(system.figures().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_does_not_take_is_a_failed_attempt_of_its_event_only() {
    let fails = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&fails);
    let system = System::over(move |sdk| {
        let told = Arc::clone(&told);
        let fault = move |_, text: &str| {
            if told.load(SeqCst) && text.contains("ch_1") && text.contains("LedgerTable") {
                Fault::Refused("ValidationException")
            } else {
                Fault::None
            }
        };
        Line::with(sdk, fault).0
    })
    .await;
    let wakes = system.stripe(&[history(0), history(1)].concat()).await;
    let (first, second) = wakes.split_at(history(0).len());
    assert!(system.process(&wakes, now()).await.is_empty(), "their rows say it");
    for wake in first {
        let event = system.event(wake).await;
        assert_eq!(event.status, Status::Processed, "of another customer: {event:?}");
    }
    let mut failed = 0;
    for wake in second {
        let event = system.event(wake).await;
        failed += usize::from(event.status == Status::Failed);
        assert_ne!(event.status, Status::Dead, "{event:?}");
    }
    assert!(failed >= 3, "{failed} events bring the charge");
    fails.store(false, SeqCst);
    assert!(system.process(&wakes, later(30)).await.is_empty());
    system.insist_processed(&wakes, "the ledger is back").await;
    let report = ledger(&system.embedded).verify(&acme(), now(), &mut |_| ()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_not_dead_before_the_dead_letter_queue_has_it() {
    let fails = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&fails);
    let system = System::over(move |sdk| {
        let told = Arc::clone(&told);
        let fault = move |_, _: &str| {
            if told.load(SeqCst) { Fault::Refused("AccessDeniedException") } else { Fault::None }
        };
        Line::of("AmazonSQS.SendMessage", sdk, fault).0
    })
    .await;
    let bad = system.accept(shared::webhooks::Source::Stripe, "charge.failed", b"{").await;
    let batch = [bad.clone()];
    assert_eq!(system.process(&batch, now()).await, [bad.clone()].into());
    assert_eq!(system.event(&bad).await.status, Status::Received);
    fails.store(false, SeqCst);
    assert!(system.process(&batch, now()).await.is_empty());
    assert_eq!(system.event(&bad).await.status, Status::Dead);
    assert_eq!(system.dead().await.len(), 1);
}
