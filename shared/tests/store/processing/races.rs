//! Workers who meet, and people who replay meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use futures::future::join_all;
use shared::webhooks::{Status, store::Reopen};
use tokio::{
    runtime::Handle,
    task::block_in_place,
    time::{Duration, Instant},
};

use super::{System, history, now};
use crate::{
    faults::{Fault, Line},
    ledger::{acme, ledger, rows},
};

#[tokio::test(flavor = "multi_thread")]
async fn workers_on_the_same_events_have_each_effect_once() {
    const CUSTOMERS: usize = 3;
    let alone = System::new().await;
    let together = System::new().await;
    let events: Vec<_> = (0..CUSTOMERS).flat_map(history).collect();
    for batch in alone.stripe(&events).await.chunks(10) {
        assert!(alone.process(batch, now()).await.is_empty());
    }
    let mut wakes = together.stripe(&events).await;
    for version in 0..10 {
        wakes.push(together.deployment(&version.to_string()).await);
    }
    let together = Arc::new(together);
    let workers = (0..6_usize).map(|worker| {
        let (system, mut wakes) = (Arc::clone(&together), wakes.clone());
        tokio::spawn(async move {
            let places = wakes.len();
            wakes.rotate_left(worker * 5 % places);
            for batch in wakes.chunks(10) {
                // What comes back comes again, as the queue would have it.
                let mut left = batch.to_vec();
                let begin = Instant::now();
                while !left.is_empty() {
                    left = system.process(&left, now()).await.into_iter().collect();
                    assert!(begin.elapsed() < Duration::from_mins(1), "workers hold each other up: {left:?}");
                }
            }
        })
    });
    join_all(workers).await.into_iter().for_each(|worker| worker.unwrap());
    together.insist_processed(&wakes, "six workers").await;
    let figures = together.figures().await;
    assert_eq!(figures.get("t:deployment"), Some(&10), "{figures:?}");
    assert_eq!(figures.get("t:charge.succeeded"), Some(&CUSTOMERS), "{figures:?}");
    assert_eq!(together.rows("DEVOPS#").await.len(), 10);
    let report = ledger(&together.embedded).verify(&acme(), now(), &mut |_| ()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    let entities = async |system: &System| {
        let mut rows = rows(&system.embedded).await;
        rows.retain(|key, row| row.remove("updated_at").is_some() && !key.contains(" HISTORY#"));
        rows
    };
    assert_eq!(entities(&together).await, entities(&alone).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_replayed_while_it_is_processed_is_processed_again() {
    type Replay = Box<dyn Fn() + Send + Sync>;
    let runtime = Handle::current();
    let replay = Arc::new(std::sync::OnceLock::<Replay>::new());
    let marks = Arc::new(AtomicUsize::new(0));
    let (hook, seen) = (Arc::clone(&replay), Arc::clone(&marks));
    let system = System::over(move |sdk| {
        let (hook, seen) = (Arc::clone(&hook), Arc::clone(&seen));
        let fault = move |_, text: &str| {
            // Between loading and marking.
            if text.contains("EVENT#acme#") && seen.fetch_add(1, SeqCst) == 0 {
                hook.get().unwrap()();
            }
            Fault::None
        };
        Line::with(sdk, fault).0
    })
    .await;
    let wakes = system.stripe(&history(0)).await;
    let (events, id) = (system.events.clone(), wakes[0].event.clone());
    let made = replay.set(Box::new(move || {
        let reopen = async { events.reopen(&acme(), &id, Reopen::Any, now()).await };
        assert!(block_in_place(|| runtime.block_on(reopen)).unwrap());
    }));
    assert!(made.is_ok());
    assert!(system.process(&wakes, now()).await.is_empty());
    system.insist_processed(&wakes, "replayed meanwhile").await;
    assert_eq!(marks.load(SeqCst), 3, "all, all but the one that was replayed, and that one");
    let event = system.event(&wakes[0]).await;
    assert_eq!((event.status, event.attempts, event.log.len()), (Status::Processed, 1, 1), "{event:?}");
}
