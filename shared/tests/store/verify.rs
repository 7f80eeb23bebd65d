//! Verification: whatever is wrong is found, whatever writers do meanwhile is not taken for wrong,
//! and a rebuild puts right what was wrong, once.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use futures::future::{join, join_all};
use shared::{
    Error,
    lambda::Env,
    ledger::{
        Difference, Entity, Ledger, Rebuild, Report, commissions::Commission, subscriptions::Subscription,
        transactions::Transaction, users::User,
    },
};
use tidegate::embedded::Embedded;

use crate::{
    admin, at,
    ledger::{acme, entity, ledger},
};

const NOW: &str = "2026-05-31T12:00:00Z";

/// Sends versions until they are taken: what was given up may be sent again.
async fn put<E: Entity>(ledger: &Ledger, versions: Vec<E>) {
    while ledger.put(&acme(), versions.clone(), at(NOW)).await.is_err() {}
}

/// Versions of entities of one kind, in an order of the writer's own, some of them twice.
async fn write<E: Entity>(ledger: &Ledger, kind: &str, ids: usize, writer: usize) {
    let versions = (0..6).map(|n| {
        let place = (n * 7 + writer * 5) % 5;
        let version = i64::try_from((writer + place * 4) % 9).unwrap();
        entity::<E>(kind, (writer * 3 + place * 11) % ids, version)
    });
    put(ledger, versions.collect()).await;
}

async fn write_all(ledger: &Ledger, ids: usize, writer: usize) {
    match writer % 4 {
        0 => write::<User>(ledger, "user", ids, writer).await,
        1 => write::<Subscription>(ledger, "subscription", ids, writer).await,
        2 => write::<Transaction>(ledger, "transaction", ids, writer).await,
        _ => write::<Commission>(ledger, "commission", ids, writer).await,
    }
}

async fn verified(ledger: &Ledger) -> Report {
    ledger.verify(&acme(), at(NOW), &mut |_| ()).await.unwrap()
}

/// A workspace with all kinds of entities, some of whose versions came late.
async fn filled(embedded: &Embedded) -> Ledger {
    let ledger = ledger(embedded);
    for writer in 0..16 {
        write_all(&ledger, 20, writer).await;
    }
    ledger
}

/// Differences as they may be compared.
fn told(differences: &[Difference]) -> BTreeSet<(&str, &str, i128, i128)> {
    let told = |one: &'_ Difference| (one.expected, one.found);
    let numbers = differences.iter().map(told);
    let names = differences.iter().map(|one| (one.row.as_str(), one.attribute.as_str()));
    names
        .zip(numbers)
        .map(|((row, attribute), (expected, found))| (row, attribute, expected, found))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_interleaving_of_writers_of_all_kinds_verifies_clean() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded);
    let writing = Arc::new(AtomicBool::new(true));
    let watcher = tokio::spawn({
        let (ledger, writing) = (ledger.clone(), Arc::clone(&writing));
        async move {
            let mut reports = 0;
            while writing.load(Ordering::SeqCst) {
                let report = verified(&ledger).await;
                assert!(report.differences.is_empty(), "beside writers: {:?}", report.differences);
                reports += 1;
            }
            reports
        }
    });
    let writers = (0..64).map(|writer| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            for round in 0..2 {
                write_all(&ledger, 24, writer + round).await;
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|done| done.unwrap());
    writing.store(false, Ordering::SeqCst);
    assert!(watcher.await.unwrap() > 0, "verified while they wrote");
    let report = verified(&ledger).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.rounds, 1, "nobody writes any more");
    assert_eq!(report.entities.len(), 4, "{report:?}");
    assert!(report.earlier_versions > 0 && report.counters > 200, "{report:?}");
}

#[tokio::test]
async fn whatever_was_changed_behind_the_ledger_is_told_to_the_number() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = filled(&embedded).await;
    let client = Client::new(&embedded.sdk());
    assert!(verified(&ledger).await.is_clean());

    let by = |pk: &str, sk: &str, name: &str, by: i64| {
        client
            .update_item()
            .table_name("LedgerTable")
            .key("pk", AttributeValue::S(pk.to_owned()))
            .key("sk", AttributeValue::S(sk.to_owned()))
            .update_expression("ADD #name :by")
            .expression_attribute_names("#name", name)
            .expression_attribute_values(":by", AttributeValue::N(by.to_string()))
            .send()
    };
    // A shard that does not exist yet, one of a day that nobody has, names that nothing has.
    for (pk, sk, name, moved) in [
        ("USERS#acme", "SUM#03", "total", 2),
        ("USERS#acme", "MONTH#2026-03#05", "01", -1),
        ("TOTALS#acme#1", "REVENUE#SUM", "net:XAU:other", 7),
        ("TOTALS#acme#7", "REVENUE#DAY#2019-01-01", "m:subs:active:paid", 1),
        ("TOTALS#acme#2", "REVENUE#MONTH#2026-03", "m:digest", 5),
        ("TOTALS#acme#2", "COMMISSIONS#SUM", "total:USD", 1),
        ("PERFORMERS#acme#0", "USD#no#body", "gsi2sk", 100),
        ("PERFORMERDAYS#acme#0", "2026-03-01#USD#nobody", "count", 1),
    ] {
        by(pk, sk, name, moved).await.unwrap();
        let report = verified(&ledger).await;
        assert_eq!(report.differences.len(), 1, "{sk} {name}: {report:?}");
        assert!(report.undecided.is_empty(), "{sk} {name}: {report:?}");
        let Difference { row, attribute, expected, found } = &report.differences[0];
        assert_eq!((attribute.as_str(), found - expected), (name, i128::from(moved)), "{row}");
        by(pk, sk, name, -moved).await.unwrap();
    }
    assert!(verified(&ledger).await.is_clean(), "all of it was taken back");
}

#[tokio::test]
async fn a_lost_row_is_told_be_it_an_entity_its_history_or_a_counter() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded);
    // An id that is the beginning of another, with what sorts before the separator in between.
    for id in ["t", "t!", "t\"x", "t-1"] {
        for version in [5, 1, 3] {
            let mut one: Transaction = entity("transaction", 1, version);
            id.clone_into(&mut one.id);
            put(&ledger, vec![one]).await;
        }
    }
    assert!(verified(&ledger).await.is_clean());
    let client = Client::new(&embedded.sdk());
    let rows = client.scan().table_name("LedgerTable").send().await.unwrap().items.unwrap();
    let mut tried = 0;
    for row in rows {
        let text = |name: &str| row[name].as_s().unwrap().clone();
        let key = [("pk", text("pk")), ("sk", text("sk"))]
            .map(|(name, text)| (name.to_owned(), AttributeValue::S(text)));
        let is_zero = |(name, value): (&String, &AttributeValue)| {
            ["pk", "sk"].contains(&name.as_str()) || value.as_n().is_ok_and(|number| number == "0")
        };
        // Names of counters are noted again when they are used again.
        if row.iter().all(is_zero) || text("pk").starts_with("NAMES#") {
            continue;
        }
        let delete = client.delete_item().table_name("LedgerTable").set_key(Some(key.into()));
        delete.send().await.unwrap();
        let report = verified(&ledger).await;
        assert!(!report.differences.is_empty(), "{}: {report:?}", text("sk"));
        client.put_item().table_name("LedgerTable").set_item(Some(row.clone())).send().await.unwrap();
        tried += 1;
    }
    assert!(tried > 12, "{tried}");
    assert!(verified(&ledger).await.is_clean());
}

fn rebuild(embedded: &Embedded) -> Rebuild {
    let variables =
        [("LEDGER_TABLE", "LedgerTable"), ("ACTIVITY_TABLE", "ActivityTable"), ("TIME_ZONE", "UTC")];
    Rebuild::load(&Env::of(variables), &embedded.sdk()).unwrap()
}

async fn activity(embedded: &Embedded) -> usize {
    let client = Client::new(&embedded.sdk());
    client.scan().table_name("ActivityTable").send().await.unwrap().items.unwrap().len()
}

/// Loses every counter, as a restore of entities alone would.
async fn lose_counters(embedded: &Embedded) {
    let client = Client::new(&embedded.sdk());
    let mut rows = client.scan().table_name("LedgerTable").into_paginator().items().send();
    while let Some(row) = rows.next().await {
        let mut row = row.unwrap();
        row.retain(|name, _| ["pk", "sk"].contains(&name.as_str()));
        let [pk, sk] = ["pk", "sk"].map(|name| row[name].as_s().unwrap().clone());
        let is_counter = ["TOTALS#", "PERFORMER"].iter().any(|prefix| pk.starts_with(prefix))
            || ["SUM#", "DAY#", "MONTH#"].iter().any(|prefix| sk.starts_with(prefix));
        if is_counter {
            client.delete_item().table_name("LedgerTable").set_key(Some(row)).send().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_puts_every_counter_right_once_also_beside_writers() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = filled(&embedded).await;
    let leaders = || async { performers(&embedded).await };
    let before = leaders().await;
    lose_counters(&embedded).await;
    let lost = verified(&ledger).await;
    assert!(lost.differences.len() > 100, "{lost:?}");

    let (rebuild, operator) = (rebuild(&embedded), admin("acme"));
    let done = rebuild.apply(&operator, at(NOW), &mut |_| ()).await.unwrap();
    assert_eq!(told(&done.differences), told(&lost.differences));
    let report = verified(&ledger).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(leaders().await, before, "the index of performers is whole again");
    let entries = activity(&embedded).await;
    assert!(entries > 0, "it is told who rebuilt");

    let again = rebuild.apply(&operator, at(NOW), &mut |_| ()).await.unwrap();
    assert!(again.is_clean(), "{again:?}");
    assert_eq!(activity(&embedded).await, entries, "nothing was changed");

    // Two at once, and writers beside them.
    lose_counters(&embedded).await;
    let apply = || async {
        loop {
            match rebuild.apply(&operator, at(NOW), &mut |_| ()).await {
                Ok(report) => return report,
                Err(Error::Conflict(_)) => {}
                Err(error) => panic!("{error}: {}", error.causes()),
            }
        }
    };
    let writers = join_all((0..8).map(|writer| {
        let ledger = ledger.clone();
        async move { write_all(&ledger, 40, writer + 16).await }
    }));
    Box::pin(join(join(apply(), apply()), writers)).await;
    let _ = apply().await;
    let report = verified(&ledger).await;
    assert!(report.is_clean(), "{report:?}");
}

/// The index of performers, all of it.
async fn performers(embedded: &Embedded) -> BTreeSet<(String, String)> {
    let client = Client::new(&embedded.sdk());
    let query = client.query().table_name("LedgerTable").index_name("gsi2");
    let query = query
        .key_condition_expression("gsi2pk = :pk")
        .expression_attribute_values(":pk", AttributeValue::S("TOP#acme#USD".to_owned()));
    let rows = query.send().await.unwrap().items.unwrap();
    let rows =
        rows.iter().map(|row| (row["sk"].as_s().unwrap().clone(), row["gsi2sk"].as_n().unwrap().clone()));
    rows.collect()
}
