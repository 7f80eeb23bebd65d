//! What time alone changes: found by its index, counted once, and never kept from it by others.

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use futures::future::join;
use serde_json::json;
use shared::{
    identity::Workspace,
    ledger::{Due, Entity, Ledger, Recounted, subscriptions::Subscription},
};
use tidegate::embedded::Embedded;

use crate::{
    at,
    ledger::{acme, item, ledger, rows},
};

const NOW: &str = "2026-05-31T12:00:00Z";
const ENDS: &str = "2026-06-10T00:00:00.5Z";

/// Subscriptions whose trial ends at the same time.
async fn trials(ledger: &Ledger, workspace: &Workspace, count: usize) {
    let trials: Vec<_> = (0..count)
        .map(|id| {
            let mut trial = item("subscription", id, 0);
            trial["trial_ends_at"] = json!(ENDS);
            trial["discounts"] = json!([]);
            Subscription::parse("items[0]", trial, at(NOW)).unwrap()
        })
        .collect();
    for trials in trials.chunks(100) {
        ledger.put(workspace, trials.to_vec(), at(NOW)).await.unwrap();
    }
}

/// Does all that is due at a time, in one workspace or another.
async fn work(ledger: &Ledger, now: &str) -> Recounted {
    let mut all = Recounted::default();
    for mut due in Due::at(at(now)) {
        while let Some(page) = ledger.recount_due(&mut due).await.unwrap() {
            all.done += page.done;
            all.failed += page.failed;
        }
    }
    all
}

/// Trials and paying subscriptions of acme, as the sum counts them.
async fn sums(embedded: &Embedded) -> [Option<String>; 2] {
    let sum = &rows(embedded).await["TOTALS#acme REVENUE#SUM"];
    ["subs:trialing:paid", "subs:active:paid"].map(|name| sum.get(name).cloned())
}

#[tokio::test]
async fn a_trial_that_ends_is_counted_once_whoever_comes() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded);
    let other: Workspace = "other".parse().unwrap();
    trials(&ledger, &acme(), 250).await;
    trials(&ledger, &other, 3).await;
    assert_eq!(work(&ledger, "2026-06-10T00:00:00Z").await, Recounted::default(), "half a second early");
    assert_eq!(sums(&embedded).await, [Some("250".to_owned()), None]);

    // Broken off after the first page, as by the end of the function's time.
    let mut due = Due::at(at("2026-06-10T00:00:01Z")).next().unwrap();
    let first = ledger.recount_due(&mut due).await.unwrap().unwrap();
    assert!(first.done > 0 && first.failed == 0, "{first:?}");
    // Two at once do the rest, and find nothing after.
    let (one, two) = join(work(&ledger, "2026-06-10T00:00:01Z"), work(&ledger, "2026-06-10T00:00:01Z")).await;
    assert_eq!((one.failed, two.failed), (0, 0));
    assert_eq!(sums(&embedded).await, [None, Some("250".to_owned())]);
    assert_eq!(work(&ledger, "2027-01-01T00:00:00Z").await, Recounted::default());
    for workspace in [acme(), other] {
        let report = ledger.verify(&workspace, at("2027-01-01T00:00:00Z"), &mut |_| ()).await.unwrap();
        assert!(report.is_clean() && report.overdue == 0, "{workspace}: {report:?}");
    }
}

#[tokio::test]
async fn what_waits_is_told_by_verify_and_is_no_difference() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded);
    trials(&ledger, &acme(), 3).await;
    for (now, overdue) in [(NOW, 0), ("2026-06-11T00:00:00Z", 3)] {
        let report = ledger.verify(&acme(), at(now), &mut |_| ()).await.unwrap();
        assert!(report.is_clean(), "{now}: {report:?}");
        assert_eq!(report.overdue, overdue, "{now}");
    }
}

#[tokio::test]
async fn one_that_cannot_be_counted_keeps_no_other_from_it_and_is_left_for_later() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded);
    trials(&ledger, &acme(), 12).await;
    let client = Client::new(&embedded.sdk());
    let index = client.scan().table_name("LedgerTable").index_name("gsi2").send().await.unwrap();
    let row = index
        .items
        .unwrap()
        .into_iter()
        .find(|row| row["sk"].as_s().unwrap() == "SUBSCRIPTION#subscription-5")
        .unwrap();
    let spoil = |status: &str, due: &str| {
        client
            .update_item()
            .table_name("LedgerTable")
            .key("pk", row["pk"].clone())
            .key("sk", row["sk"].clone())
            .update_expression("SET #status = :status, gsi2sk = :due")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", AttributeValue::S(status.to_owned()))
            .expression_attribute_values(":due", AttributeValue::N(due.to_owned()))
            .send()
    };
    // It has waited longest, so it stands first.
    spoil("no status", "1").await.unwrap();
    assert_eq!(work(&ledger, "2026-06-10T00:01:00Z").await, Recounted { done: 11, failed: 1 });
    assert_eq!(sums(&embedded).await[1].as_deref(), Some("11"));
    assert_eq!(work(&ledger, "2026-06-10T00:10:00Z").await, Recounted::default(), "left alone for a while");
    assert_eq!(work(&ledger, "2026-06-10T00:20:00Z").await, Recounted { done: 0, failed: 1 });
    spoil("trialing", "1").await.unwrap();
    assert_eq!(work(&ledger, "2026-06-10T00:40:00Z").await, Recounted { done: 1, failed: 0 });
    assert_eq!(sums(&embedded).await, [None, Some("12".to_owned())]);
}
