//! Events in any order, any number of times.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{System, history, now};
use crate::ledger::{acme, ledger, rows};

/// What two customers cause, and how often and in which order it is processed: places of the
/// history, in batches.
fn batches() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let count = history(0).len() + history(1).len();
    let order = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
    let again = proptest::collection::vec(0..count, 0..6);
    let size = 1..8_usize;
    (order, again, size).prop_map(|(mut order, again, size)| {
        order.extend(again);
        order.chunks(size).map(<[usize]>::to_vec).collect()
    })
}

/// What the ledger holds now, but for what the order of events changes: a payment's versions are
/// told apart by when something became known, and the digest of movements is of all versions.
async fn held(system: &System) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut held = rows(&system.embedded).await;
    held.retain(|key, row| {
        row.retain(|name, _| !["updated_at", "m:digest"].contains(&name.as_str()));
        !key.contains(" HISTORY#")
    });
    held
}

#[test]
fn events_in_any_order_any_number_of_times_leave_the_same_ledger() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let events: Vec<_> = [history(0), history(1)].concat();
    let expected = runtime.block_on(async {
        let system = System::new().await;
        for wake in system.stripe(&events).await {
            assert!(system.process(&[wake], now()).await.is_empty());
        }
        held(&system).await
    });
    let entities = expected.keys().filter(|key| !key.starts_with("TOTALS")).count();
    assert_eq!(entities, 4, "two subscriptions and two payments: {expected:#?}");
    let mut runner = TestRunner::new(Config { cases: 10, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&batches(), |batches| {
        runtime.block_on(async {
            let system = System::new().await;
            let wakes = system.stripe(&events).await;
            for batch in &batches {
                let batch: Vec<_> = batch.iter().map(|at| wakes[*at].clone()).collect();
                // What is repeated was replayed.
                for wake in &batch {
                    if system.event(wake).await.processed_at.is_some() {
                        assert!(system.reopen(wake).await);
                    }
                }
                assert!(system.process(&batch, now()).await.is_empty());
            }
            system.insist_processed(&wakes, "shuffled").await;
            let report = ledger(&system.embedded).verify(&acme(), now(), &mut |_| ()).await.unwrap();
            assert!(report.is_clean(), "{report:?}");
            assert_eq!(held(&system).await, expected, "after {batches:?}");
        });
        Ok(())
    });
    ran.unwrap();
}
