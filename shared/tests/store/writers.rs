//! Writers who meet, and a DynamoDB that fails them: nothing is lost, nothing counts twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use shared::{
    Error,
    lambda::Env,
    ledger::{
        Entity, Ledger, Outcome, commissions::Commission, subscriptions::Subscription,
        transactions::Transaction, users::User,
    },
};
use tidegate::embedded::Embedded;

use crate::{
    at,
    faults::{Counts, Fault, Line},
    ledger::{NOW, acme, entity, ledger, rows},
};

/// A ledger on a line that fails so.
fn faulty(
    embedded: &Embedded,
    faults: impl Fn(usize, &str) -> Fault + Send + Sync + 'static,
) -> (Ledger, Arc<Counts>) {
    let env = Env::of([("LEDGER_TABLE", "LedgerTable"), ("TIME_ZONE", "UTC")]);
    let (sdk, counts) = Line::with(embedded.sdk(), faults);
    (Ledger::load(&env, &sdk).unwrap(), counts)
}

/// 64 writers at once bring overlapping versions of `ids` entities, each in an order of its own;
/// one writer after another brings the same.
async fn writers_agree<E: Entity + 'static>(kind: &'static str, ids: usize) {
    const VERSIONS: i64 = 9;
    let (parallel, plain) = (Embedded::memory().await.unwrap(), Embedded::memory().await.unwrap());
    let (contended, counts) = faulty(&parallel, |_, _| Fault::None);
    let (begin, refused) = (Instant::now(), Arc::<AtomicUsize>::default());
    let writers = (0..64_usize).map(|writer| {
        let (ledger, refused) = (contended.clone(), Arc::clone(&refused));
        tokio::spawn(async move {
            let versions = (0..8).map(|n| {
                let (id, version) =
                    ((writer * 5 + n * 7) % ids, i64::try_from((writer + n * 3) % 9).unwrap());
                entity::<E>(kind, id, version)
            });
            // What was given up may be sent again: it is then found as it was left.
            for _ in 0..4 {
                if ledger.put(&acme(), versions.clone().collect(), at(NOW)).await.is_ok() {
                    return;
                }
                refused.fetch_add(1, SeqCst);
            }
            panic!("{kind} {ids}: four calls gave up");
        })
    });
    let all = tokio::time::timeout(Duration::from_mins(1), join_all(writers));
    all.await.expect("writers hold each other up").into_iter().for_each(|done| done.unwrap());
    let (attempted, done) = (counts.attempted.load(SeqCst), counts.done.load(SeqCst));
    println!(
        "{ids} {kind}: {done} of {attempted} transactions done, {} calls given up, {:.1} s",
        refused.load(SeqCst),
        begin.elapsed().as_secs_f32()
    );
    // The rest of the versions, so that both have all of them.
    let alone = ledger(&plain);
    for version in (0..VERSIONS).rev() {
        let versions = || (0..ids).map(|id| entity::<E>(kind, id, version)).collect();
        contended.put(&acme(), versions(), at(NOW)).await.unwrap();
        alone.put(&acme(), versions(), at(NOW)).await.unwrap();
    }
    agree(&parallel, &plain, kind).await;
}

async fn agree(one: &Embedded, other: &Embedded, case: &str) {
    let (one, other) = (rows(one).await, rows(other).await);
    for (key, row) in &other {
        assert_eq!(one.get(key), Some(row), "{case}: {key}");
    }
    assert_eq!(one.len(), other.len(), "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_the_same_and_of_other_entities_lose_and_double_nothing() {
    for ids in [1, 60] {
        writers_agree::<User>("user", ids).await;
        writers_agree::<Subscription>("subscription", ids).await;
        writers_agree::<Transaction>("transaction", ids).await;
        writers_agree::<Commission>("commission", ids).await;
    }
}

/// Whether it moves counters in another shard than this one or one that is a multiple of eight on.
fn elsewhere(text: &str, shard: u8) -> bool {
    !(0..4).any(|turn| text.contains(&format!("TOTALS#acme#{}\"", shard + 8 * turn)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_and_counts_once() {
    type Faults = fn(usize, &str) -> Fault;
    let cases: [(&str, Faults); 9] = [
        ("seven of eight shards are busy", |_, text| {
            if elsewhere(text, 5) { Fault::Cancelled("TransactionConflict") } else { Fault::None }
        }),
        ("seven of eight shards are hot", |_, text| {
            if elsewhere(text, 2) { Fault::Cancelled("ProvisionedThroughputExceeded") } else { Fault::None }
        }),
        ("every other one is throttled", |nth, _| match nth % 2 {
            0 => Fault::Cancelled("ThrottlingError"),
            _ => Fault::None,
        }),
        ("every other one is too much for the table", |nth, _| match nth % 2 {
            0 => Fault::Refused("ProvisionedThroughputExceededException"),
            _ => Fault::None,
        }),
        ("every other one fails inside", |nth, _| match nth % 2 {
            0 => Fault::Refused("InternalServerError"),
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
        ("applied, and said to be in progress", |nth, _| match nth {
            0..6 => Fault::AppliedBut("TransactionInProgressException"),
            _ => Fault::None,
        }),
        ("applied, and said to be in conflict", |nth, _| match nth % 3 {
            0 => Fault::AppliedBut("InternalServerError"),
            1 => Fault::Cancelled("TransactionConflict"),
            _ => Fault::None,
        }),
    ];
    let plain = Embedded::memory().await.unwrap();
    let versions = |version| (0..60).map(|id| entity::<Transaction>("transaction", id, version)).collect();
    for version in [4, 2, 6] {
        ledger(&plain).put(&acme(), versions(version), at(NOW)).await.unwrap();
    }
    for (case, faults) in cases {
        let embedded = Embedded::memory().await.unwrap();
        let (ledger, counts) = faulty(&embedded, faults);
        for version in [4, 2, 6] {
            let mut calls = 0;
            // Only answers that are lost again and again are the caller's to ask for once more.
            while let Err(error) = ledger.put(&acme(), versions(version), at(NOW)).await {
                calls += 1;
                assert!(case.contains("for good") && calls < 4, "{case}: {error:?}");
            }
            let again = ledger.put(&acme(), versions(version), at(NOW)).await.unwrap();
            let expected = if version == 2 { Outcome::Stale } else { Outcome::Unchanged };
            assert_eq!(again, vec![expected; 60], "{case}: what was taken is there");
        }
        println!("{case}: {counts:?}");
        agree(&embedded, &plain, case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_given_up_in_time_and_leaves_nothing() {
    let embedded = Embedded::memory().await.unwrap();
    let (ledger, counts) = faulty(&embedded, |_, _| Fault::Cancelled("TransactionConflict"));
    let begin = Instant::now();
    let given_up = ledger.put(&acme(), vec![entity::<Transaction>("transaction", 1, 1)], at(NOW)).await;
    assert!(matches!(given_up, Err(Error::Unavailable(..))), "{given_up:?}");
    assert!(begin.elapsed() < Duration::from_secs(9), "the function has ten seconds: {:?}", begin.elapsed());
    assert!(counts.attempted.load(SeqCst) > 8, "each shard was tried: {counts:?}");
    assert!(rows(&embedded).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_lost_to_another_writer_is_written_again() {
    let embedded = Embedded::memory().await.unwrap();
    let one = |id, version| entity::<Transaction>("transaction", id, version);
    let other = ledger(&embedded);
    other.put(&acme(), (0..30).map(|id| one(id, 1)).collect(), at(NOW)).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let (ledger, counts) = faulty(&embedded, move |nth, _| {
        if nth == 0 {
            // Between reading and writing.
            let put = async || other.put(&acme(), vec![one(7, 2), one(8, 4)], at(NOW)).await;
            tokio::task::block_in_place(|| runtime.block_on(put())).unwrap();
        }
        Fault::None
    });
    let outcomes = ledger.put(&acme(), (0..30).map(|id| one(id, 3)).collect(), at(NOW)).await.unwrap();
    let mut expected = vec![Outcome::Updated; 30];
    expected[8] = Outcome::Stale;
    assert_eq!(outcomes, expected);
    let (attempted, done) = (counts.attempted.load(SeqCst), counts.done.load(SeqCst));
    assert_eq!((attempted, done), (3, 2), "all, those that were not lost, and the two that were");
}
