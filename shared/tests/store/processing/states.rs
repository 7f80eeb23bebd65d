//! What becomes of events: processed, failed and tried again, dead.

use chrono::TimeDelta;
use serde_json::json;
use shared::webhooks::{Source, Status};

use super::{System, history, later, minute, now, stripe_event};
use crate::{
    ledger::{acme, ledger, rows},
    wire::Wire,
};

/// An invoice of a shape that does not name its payment, while nobody may ask Stripe for it.
fn unlinked() -> serde_json::Value {
    let lines = json!({"object": "list", "data": [{
        "id": "il_1", "amount": 700, "parent": {"type": "subscription_item_details",
            "subscription_item_details": {"subscription": "sub_1", "proration": false}},
        "pricing": {"type": "price_details", "price_details": {"price": "price_1", "product": "prod_1"}},
    }]});
    let invoice = json!({
        "id": "in_1", "object": "invoice", "customer": "cus_1", "currency": "usd", "status": "paid",
        "amount_paid": 700, "amount_due": 700, "total": 700, "created": minute(1), "lines": lines,
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
        "status_transitions": {"paid_at": minute(3)},
    });
    stripe_event("evt_unlinked", "invoice.paid", minute(3), &invoice)
}

#[tokio::test]
async fn a_batch_has_its_effects_and_is_marked() {
    let system = System::new().await;
    let mut wakes = system.stripe(&history(0)).await;
    wakes.push(system.deployment("1.2.3").await);
    assert!(system.process(&wakes, now()).await.is_empty());
    system.insist_processed(&wakes, "a batch").await;
    let figures = system.figures().await;
    assert_eq!(figures.get("t:charge.succeeded"), Some(&1), "{figures:?}");
    assert_eq!(figures.get("t:deployment"), Some(&1), "{figures:?}");
    assert!(!figures.contains_key("failed"), "{figures:?}");
    assert_eq!(system.rows("DEVOPS#").await.len(), 1);
    let event = system.event(&wakes[0]).await;
    assert_eq!((event.attempts, event.log.len()), (1, 1), "{event:?}");
    assert!(event.log[0].error.is_none(), "{event:?}");
    let report = ledger(&system.embedded).verify(&acme(), now(), &mut |_| ()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn one_bad_event_is_dead_at_once_and_holds_up_no_other() {
    let system = System::new().await;
    let mut good = system.stripe(&history(0)).await;
    let secret = format!("sk_{}_{}", "live", "a".repeat(24));
    for (case, source, kind, body) in [
        ("not JSON", Source::Stripe, "invoice.paid", format!("pay ada@example.com with {secret}")),
        ("empty", Source::Stripe, "charge.failed", String::new()),
        ("no object", Source::Stripe, "invoice.paid", json!({"id": "evt_none", "created": 1}).to_string()),
        (
            "fields refused",
            Source::Devops,
            "health",
            json!({"id": "h", "type": "health", "data": {"uptime": 101}}).to_string(),
        ),
    ] {
        let bad = system.accept(source, kind, body.as_bytes()).await;
        let mut batch = vec![bad.clone()];
        batch.extend(good.pop());
        assert!(system.process(&batch, now()).await.is_empty(), "{case}");
        let event = system.event(&bad).await;
        assert_eq!((event.status, event.attempts), (Status::Dead, 1), "{case}: {event:?}");
        assert_eq!(event.next_attempt_at, None, "{case}");
        let error = event.log[0].error.clone().unwrap();
        assert!(!error.is_empty() && !error.contains("ada@") && !error.contains(&secret), "{case}: {error}");
        let told = json!({"workspace": "acme", "event": bad.event, "error": error});
        assert_eq!(system.dead().await, [told], "{case}");
        assert_eq!(system.event(&batch[1]).await.status, Status::Processed, "{case}");
        assert!(system.process(&[bad], now()).await.is_empty(), "{case}: another wake-up");
        assert!(system.dead().await.is_empty(), "{case}: told once");
    }
    assert_eq!(system.figures().await.get("failed"), Some(&4));
}

#[tokio::test]
async fn what_passes_is_tried_again_ever_later_and_then_dead_until_it_is_replayed() {
    let system = System::new().await;
    let [wake] = system.stripe(&[unlinked()]).await.try_into().unwrap();
    let mut time = now();
    for (attempt, seconds) in (1..).zip([10, 40, 160, 640, 2_560, 10_240, 21_600, 21_600, 21_600]) {
        assert!(
            system.process(std::slice::from_ref(&wake), time).await.is_empty(),
            "{attempt}: its row says it"
        );
        let event = system.event(&wake).await;
        assert_eq!((event.status, event.attempts), (Status::Failed, attempt), "{event:?}");
        let error = event.log.last().unwrap().error.clone().unwrap();
        assert!(error.contains("STRIPE_API_KEY"), "it says what is missing: {error}");
        let pause = event.next_attempt_at.unwrap() - time;
        let bounds = TimeDelta::seconds(seconds * 4 / 5)..=TimeDelta::seconds(seconds * 6 / 5);
        assert!(bounds.contains(&pause), "{attempt}: {pause}");
        let early = system.process(std::slice::from_ref(&wake), time + pause / 2).await;
        assert!(early.is_empty());
        assert_eq!(system.event(&wake).await.attempts, attempt, "a wake-up before its time");
        // Long pauses are the sweep's.
        assert_eq!(system.delayed().await, usize::try_from(attempt).unwrap().min(4), "{attempt}");
        assert_eq!(system.sweep(time + pause / 2, time + pause / 2).await.woken, 0, "{attempt}");
        time += pause;
    }
    assert!(system.dead().await.is_empty());
    assert!(system.process(std::slice::from_ref(&wake), time).await.is_empty());
    let event = system.event(&wake).await;
    assert_eq!((event.status, event.attempts, event.log.len()), (Status::Dead, 10, 10), "{event:?}");
    assert!((20..30).contains(&(time - now()).num_hours()), "for about a day: {}", time - now());
    let dead = system.dead().await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0]["error"].as_str().unwrap().contains("STRIPE_API_KEY"), "{dead:?}");
    assert_eq!(system.figures().await.get("failed"), Some(&10));

    // The payment that pays it comes to be known.
    let link = json!({
        "id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "amount_paid": 700, "status": "paid",
        "payment": {"type": "payment_intent", "payment_intent": "pi_1"},
    });
    let [linked] = system
        .stripe(&[stripe_event("evt_link", "invoice_payment.paid", minute(3), &link)])
        .await
        .try_into()
        .unwrap();
    assert!(system.process(std::slice::from_ref(&linked), time).await.is_empty());
    assert!(system.reopen(&wake).await);
    assert!(system.process(std::slice::from_ref(&wake), time).await.is_empty());
    let event = system.event(&wake).await;
    assert_eq!((event.status, event.attempts, event.log.len()), (Status::Processed, 1, 10), "{event:?}");
    system.insist_processed(&[wake, linked], "replayed").await;
}

#[tokio::test]
async fn a_replay_of_what_was_processed_changes_and_counts_nothing() {
    let system = System::new().await;
    let mut wakes = system.stripe(&history(1)).await;
    wakes.push(system.deployment("1.2.3").await);
    assert!(system.process(&wakes, now()).await.is_empty());
    let (ledger, figures) = (rows(&system.embedded).await, system.figures().await);
    let first = system.event(&wakes[0]).await;
    for wake in &wakes {
        assert!(system.reopen(wake).await);
    }
    assert_eq!(system.pending().await, wakes.len());
    assert!(system.process(&wakes, later(60)).await.is_empty());
    system.insist_processed(&wakes, "replayed").await;
    assert_eq!(rows(&system.embedded).await, ledger);
    assert_eq!(system.figures().await, figures);
    assert_eq!(system.rows("DEVOPS#").await.len(), 1);
    let again = system.event(&wakes[0]).await;
    assert_eq!(again.processed_at, first.processed_at, "when it was processed first");
    assert_eq!((again.attempts, again.log.len()), (1, 2), "{again:?}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_holds_up_no_other_and_comes_again() {
    let system = System::new().await;
    let wakes = system.stripe(&history(0)).await;
    let client = aws_sdk_dynamodb::Client::new(&system.embedded.sdk());
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    client
        .update_item()
        .table_name("WebhooksTable")
        .key("pk", text(&format!("EVENT#acme#{}", wakes[2].event)))
        .key("sk", text("EVENT"))
        .update_expression("SET #status = :none")
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":none", text("nothing"))
        .send()
        .await
        .unwrap();
    let unknown = shared::webhooks::queue::Wake::of(&acme(), "evt_unknown");
    let batch: Vec<_> = wakes.iter().cloned().chain([unknown]).collect();
    let again = system.process(&batch, now()).await;
    assert_eq!(again, [wakes[2].clone()].into(), "and an event that is gone does not");
    for (at, wake) in wakes.iter().enumerate().filter(|(at, _)| *at != 2) {
        assert_eq!(system.event(wake).await.status, Status::Processed, "{at}");
    }
}

#[tokio::test]
async fn a_large_body_is_processed_and_one_that_lost_a_piece_is_tried_again() {
    let system = System::new().await;
    let mut noise = vec![0_u8; 600_000];
    getrandom::fill(&mut noise).unwrap();
    let noise: String = noise.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let data = json!({"environment": "production", "version": "9", "status": "success"});
    let large = |id: &str| {
        let body = json!({"id": id, "type": "backup", "data": {"noise": noise, "deployment": data}});
        body.to_string()
    };
    let whole = system.accept(Source::Devops, "backup", large("whole").as_bytes()).await;
    let torn = system.accept(Source::Devops, "backup", large("torn").as_bytes()).await;
    let pieces = system.rows(&format!("EVENT#acme#{}", torn.event)).await;
    let piece = pieces.iter().find(|row| row["sk"].as_s().unwrap().starts_with("BODY#")).expect("pieces");
    let client = aws_sdk_dynamodb::Client::new(&system.embedded.sdk());
    let delete = client.delete_item().table_name("WebhooksTable");
    delete.key("pk", piece["pk"].clone()).key("sk", piece["sk"].clone()).send().await.unwrap();
    assert!(system.process(&[whole.clone(), torn.clone()], now()).await.is_empty());
    assert_eq!(system.event(&whole).await.status, Status::Processed);
    let row = system.rows(&format!("EVENT#acme#{}", torn.event)).await;
    let row = row.iter().find(|row| row["sk"].as_s().unwrap() == "EVENT").unwrap();
    assert_eq!(row["status"].as_s().unwrap(), "failed");
}

#[tokio::test]
async fn a_message_moved_back_from_the_dead_letter_queue_replays_its_event_and_no_other() {
    let system = System::new().await;
    let [wake] = system.stripe(&[unlinked()]).await.try_into().unwrap();
    let processed = system.deployment("1").await;
    assert!(system.process(std::slice::from_ref(&processed), now()).await.is_empty());
    let mut time = now();
    while system.event(&wake).await.status != Status::Dead {
        assert!(system.process(std::slice::from_ref(&wake), time).await.is_empty());
        time += TimeDelta::hours(8);
    }
    for wake in [&wake, &processed] {
        system.processor.replay(wake, time).await.unwrap();
    }
    assert_eq!(system.event(&processed).await.status, Status::Processed);
    let event = system.event(&wake).await;
    assert_eq!((event.status, event.attempts), (Status::Received, 0), "{event:?}");
    assert!(system.process(std::slice::from_ref(&wake), time).await.is_empty());
    assert_eq!(system.event(&wake).await.attempts, 1, "it is tried again");
}

#[tokio::test]
async fn ten_events_are_one_read_and_one_transaction() {
    let wire = std::sync::OnceLock::new();
    let system = System::over(|sdk| {
        let (sdk, tap) = Wire::tap(sdk);
        assert!(wire.set(tap).is_ok());
        sdk
    })
    .await;
    let mut wakes = Vec::new();
    for n in 0..10 {
        let push = json!({"id": n.to_string(), "repository": {"full_name": "acme/site"}});
        wakes.push(system.accept(Source::Github, &format!("push-{n}"), push.to_string().as_bytes()).await);
    }
    assert!(system.process(&wakes, now()).await.is_empty());
    assert_eq!(wire.get().unwrap().seen().calls, ["BatchGetItem", "TransactWriteItems"]);
}
