//! The store of events: each once, whole, and in order; and the queue.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use shared::{
    Error,
    identity::Workspace,
    lambda::Env,
    webhooks::{
        DeadQueue, Queue, Source, Status, Webhooks,
        event::Via,
        queue::Wake,
        store::{Accepted, Filter, NewEvent, Outcome, Reopen},
    },
};
use tidegate::embedded::Embedded;

use crate::{
    at,
    faults::{Fault, Line},
};

const TABLE: &str = "WebhooksTable";
const NOW: &str = "2026-11-21T12:00:00Z";

struct World {
    embedded: Embedded,
    client: Client,
    webhooks: Webhooks,
}

fn acme() -> Workspace {
    "acme".parse().unwrap()
}

fn env() -> Env {
    Env::of([("WEBHOOKS_TABLE", TABLE), ("WEBHOOK_RETENTION_DAYS", "35")])
}

fn delivery(source: Source, kind: &str, provider_id: &str, received_at: DateTime<Utc>) -> NewEvent {
    NewEvent {
        source,
        endpoint: (source == Source::Custom).then(|| "whe_1".to_owned()),
        kind: kind.to_owned(),
        provider_id: provider_id.to_owned(),
        via: Via::Delivery,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        received_at,
    }
}

impl World {
    async fn new() -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let client = Client::new(&embedded.sdk());
        let webhooks = Webhooks::load(&env(), &embedded.sdk()).unwrap();
        Self { embedded, client, webhooks }
    }

    async fn accept(&self, id: &str, body: &[u8], now: DateTime<Utc>) -> Accepted {
        let new = delivery(Source::Stripe, "invoice.paid", id, now);
        self.webhooks.accept(&acme(), new, body).await.unwrap()
    }

    /// Sets the status of an event as processing does.
    async fn mark(&self, id: &str, status: Status) {
        let key = |name: &str, value: String| (name.to_owned(), AttributeValue::S(value));
        let update = self.client.update_item().table_name(TABLE);
        let key = HashMap::from([key("pk", format!("EVENT#acme#{id}")), key("sk", "EVENT".to_owned())]);
        let update = update
            .set_key(Some(key))
            .update_expression("SET #status = :status, attempts = :attempts REMOVE gsi2pk, gsi2sk")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", AttributeValue::S(status.word().to_owned()))
            .expression_attribute_values(":attempts", AttributeValue::N("7".to_owned()));
        update.send().await.unwrap();
    }

    /// When events are pending, by the index, with the keys of their rows.
    async fn pending(&self) -> Vec<(String, i64)> {
        let mut found = Vec::new();
        for bucket in 0..shared::webhooks::store::PENDING_BUCKETS {
            let query = self.client.query().table_name(TABLE).index_name("gsi2");
            let query = query
                .key_condition_expression("gsi2pk = :pk")
                .expression_attribute_values(":pk", AttributeValue::S(format!("PENDING#{bucket}")));
            for item in query.send().await.unwrap().items() {
                let due = item["gsi2sk"].as_n().unwrap().parse().unwrap();
                found.push((item["pk"].as_s().unwrap().clone(), due));
            }
        }
        found
    }

    async fn all(&self, filter: &Filter, limit: usize, now: DateTime<Utc>) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.webhooks.list(&acme(), filter, limit, cursor.as_deref(), now).await.unwrap();
            assert!(page.events.len() <= limit);
            ids.extend(page.events.into_iter().map(|event| event.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return ids;
            }
        }
    }
}

#[tokio::test]
async fn an_event_is_stored_once_and_comes_back_byte_for_byte() {
    let (world, now) = (World::new().await, at(NOW));
    let mut random = vec![0; 6 * 1024 * 1024];
    getrandom::fill(&mut random).unwrap();
    let repeated = vec![b'x'; 1024 * 1024];
    for (case, body) in [
        ("empty", &b""[..]),
        ("JSON", br#"{"id":"evt_1", "a": 1.0}"#),
        ("not UTF-8", b"\xff\xfe\x00\r\n"),
        ("a megabyte that packs well", &repeated),
        ("a megabyte that does not", &random[..1024 * 1024]),
        ("the largest", &random),
    ] {
        let first = world.accept(case, body, now).await;
        assert_eq!(first.outcome, Outcome::Accepted, "{case}");
        let again = world.accept(case, body, now + TimeDelta::seconds(1)).await;
        assert_eq!(again, Accepted { outcome: Outcome::Duplicate, id: first.id.clone() }, "{case}");

        let stored = world.webhooks.get(&acme(), &first.id, now).await.unwrap();
        assert!(stored.body == body, "{case}: {} bytes came back", stored.body.len());
        let event = &stored.event;
        assert_eq!((event.size, event.status), (body.len() as u64, Status::Received), "{case}");
        assert_eq!((event.received_at, event.provider_id.as_str()), (now, case));
        assert_eq!(event.headers, [("content-type".to_owned(), "application/json".to_owned())]);

        let other: Workspace = "other".parse().unwrap();
        let foreign = world.webhooks.get(&other, &first.id, now).await;
        assert!(matches!(foreign, Err(Error::NotFound("event"))), "{case}: {foreign:?}");
    }
    let ids = world.all(&Filter::default(), 100, now).await;
    let mut asked: Vec<_> = ids.iter().map(String::as_str).collect();
    asked.push("evt_unknown");
    let batch = world.webhooks.batch_get(&acme(), &asked, now).await.unwrap();
    assert_eq!(batch.len(), 6);
    assert!(batch.iter().any(|one| one.body == random));
}

#[tokio::test]
async fn a_redelivery_of_what_failed_is_processed_again_and_of_nothing_else() {
    let (world, now) = (World::new().await, at(NOW));
    let later = now + TimeDelta::hours(1);
    for (status, outcome) in [
        (Status::Received, Outcome::Duplicate),
        (Status::Processed, Outcome::Duplicate),
        (Status::Failed, Outcome::Accepted),
        (Status::Dead, Outcome::Accepted),
    ] {
        let name = status.word();
        let Accepted { id, .. } = world.accept(name, b"{}", now).await;
        world.mark(&id, status).await;
        assert_eq!(world.accept(name, b"{}", later).await.outcome, outcome, "{name}");
        let stored = world.webhooks.get(&acme(), &id, later).await.unwrap();
        let expected = if outcome == Outcome::Accepted { (Status::Received, 0, 2) } else { (status, 7, 1) };
        assert_eq!((stored.event.status, stored.event.attempts, stored.revision), expected, "{name}");
        let due = world.pending().await.into_iter().find(|(pk, _)| pk.ends_with(&id)).map(|(_, due)| due);
        let expected = (outcome == Outcome::Accepted).then(|| (later + TimeDelta::minutes(5)).timestamp());
        assert_eq!(due, expected, "{name}: when the sweep finds it");
        assert_eq!(world.accept(name, b"{}", later).await.outcome, Outcome::Duplicate, "{name}: once");
    }
}

#[tokio::test]
async fn a_replay_reopens_what_it_is_told_to() {
    let (world, now) = (World::new().await, at(NOW));
    let Accepted { id, .. } = world.accept("1", b"{}", now).await;
    world.mark(&id, Status::Processed).await;
    let reopen = async |id: &str, which| world.webhooks.reopen(&acme(), id, which, now).await.unwrap();
    assert!(!reopen(&id, Reopen::Failed).await, "it did not fail");
    assert!(reopen(&id, Reopen::Any).await);
    assert!(!reopen("evt_unknown", Reopen::Any).await, "nothing comes of nothing");
    assert!(matches!(world.webhooks.get(&acme(), "evt_unknown", now).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn of_parallel_deliveries_each_event_is_stored_once() {
    let (world, now) = (World::new().await, at(NOW));
    // 1,000 deliveries of 700 events.
    let outcomes: Vec<_> = stream::iter(0..1000)
        .map(|number| {
            let (world, id) = (&world, format!("evt_{}", number % 700));
            async move { world.accept(&id, id.as_bytes(), now + TimeDelta::milliseconds(number)).await }
        })
        .buffer_unordered(64)
        .collect()
        .await;
    let accepted: Vec<_> = outcomes.iter().filter(|one| one.outcome == Outcome::Accepted).collect();
    assert_eq!(accepted.len(), 700, "each was accepted by one delivery of it");
    let stored = world.all(&Filter::default(), 90, now + TimeDelta::hours(1)).await;
    let distinct: BTreeSet<_> = stored.iter().collect();
    assert_eq!((stored.len(), distinct.len()), (700, 700));
    assert_eq!(world.pending().await.len(), 700);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_one_delivery() {
    let embedded = Embedded::memory().await.unwrap();
    let (sdk, counts) = Line::of("DynamoDB_20120810.PutItem", embedded.sdk(), |nth, _| {
        if nth == 0 { Fault::AnswerLost } else { Fault::None }
    });
    let webhooks = Webhooks::load(&env(), &sdk).unwrap();
    let new = delivery(Source::Stripe, "invoice.paid", "1", at(NOW));
    let accepted = webhooks.accept(&acme(), new, b"{}").await.unwrap();
    assert_eq!(accepted.outcome, Outcome::Accepted, "else nobody would queue it");
    assert_eq!(counts.attempted.load(std::sync::atomic::Ordering::SeqCst), 2, "the SDK repeated it");
}

#[tokio::test]
async fn what_ended_is_not_there_even_before_it_is_deleted() {
    let (world, now) = (World::new().await, at(NOW));
    let Accepted { id, .. } = world.accept("1", b"old", now).await;
    let (before, after) = (now + TimeDelta::days(35) - TimeDelta::seconds(1), now + TimeDelta::days(35));
    assert_eq!(world.webhooks.get(&acme(), &id, before).await.unwrap().body, b"old");
    assert_eq!(world.all(&Filter::default(), 10, before).await.len(), 1);
    assert!(matches!(world.webhooks.get(&acme(), &id, after).await, Err(Error::NotFound(_))));
    assert!(world.webhooks.batch_get(&acme(), &[&id], after).await.unwrap().is_empty());
    assert!(world.webhooks.heads(&acme(), &[&id], after).await.unwrap().is_empty());
    assert!(world.all(&Filter::default(), 10, after).await.is_empty());

    assert_eq!(world.accept("1", b"new", after).await.outcome, Outcome::Accepted, "it is a new one");
    assert_eq!(world.webhooks.get(&acme(), &id, after).await.unwrap().body, b"new");
}

#[tokio::test]
async fn the_list_is_newest_first_and_pages_meet() {
    let (world, now) = (World::new().await, at(NOW));
    let sources = [Source::Stripe, Source::Github, Source::Custom];
    let mut expected = Vec::new();
    for number in 0..60_usize {
        // Two at a time come at the very same moment.
        let time = now + TimeDelta::seconds(i64::try_from(number / 2).unwrap());
        let (source, kind) = (sources[number % 3], if number % 2 == 0 { "even" } else { "odd" });
        let new = delivery(source, kind, &number.to_string(), time);
        let Accepted { id, .. } = world.webhooks.accept(&acme(), new, b"{}").await.unwrap();
        if number % 10 == 0 {
            world.mark(&id, Status::Dead).await;
        }
        expected.push((time, id, source, kind, number % 10 == 0));
    }
    expected.sort();
    expected.reverse();
    let asked = now + TimeDelta::hours(1);
    let time = |seconds| Some(now + TimeDelta::seconds(seconds));
    for (case, filter) in [
        ("all", Filter::default()),
        ("one source", Filter { source: Some(Source::Github), ..Filter::default() }),
        ("one type", Filter { kind: Some("odd".to_owned()), ..Filter::default() }),
        ("one status", Filter { status: Some(Status::Dead), ..Filter::default() }),
        ("one endpoint", Filter { endpoint: Some("whe_1".to_owned()), ..Filter::default() }),
        ("no such endpoint", Filter { endpoint: Some("whe_2".to_owned()), ..Filter::default() }),
        ("a window", Filter { from: time(5), to: time(20), ..Filter::default() }),
        (
            "all of it",
            Filter {
                source: Some(Source::Stripe),
                kind: Some("even".to_owned()),
                status: Some(Status::Dead),
                from: time(1),
                ..Filter::default()
            },
        ),
    ] {
        let wanted: Vec<_> = expected
            .iter()
            .filter(|(at, _, source, kind, dead)| {
                filter.source.is_none_or(|one| one == *source)
                    && filter.kind.as_ref().is_none_or(|one| one == kind)
                    && filter.status.is_none_or(|_| *dead)
                    && filter.endpoint.as_ref().is_none_or(|one| *source == Source::Custom && one == "whe_1")
                    && filter.from.is_none_or(|from| *at >= from)
                    && filter.to.is_none_or(|to| *at < to)
            })
            .map(|(_, id, ..)| id.clone())
            .collect();
        for limit in [1, 7, 100] {
            assert_eq!(world.all(&filter, limit, asked).await, wanted, "{case}, {limit} at a time");
        }
    }
    let page = world.webhooks.list(&acme(), &Filter::default(), 1, None, asked).await.unwrap();
    let event = &page.events[0];
    assert!(event.headers.is_empty() && event.size == 2 && event.via == Via::Delivery, "{event:?}");

    let cursor = page.next_cursor.unwrap();
    let other: Workspace = "other".parse().unwrap();
    let early = Filter { to: time(1), ..Filter::default() };
    for (case, workspace, filter, cursor) in [
        ("another workspace's", &other, &Filter::default(), cursor.as_str()),
        ("of another window", &acme(), &early, &cursor),
        ("made up", &acme(), &Filter::default(), "abc"),
    ] {
        let refused = world.webhooks.list(workspace, filter, 10, Some(cursor), asked).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{case}: {refused:?}");
    }
}

#[tokio::test]
async fn the_queue_takes_one_many_and_late_messages() {
    let world = World::new().await;
    let sdk = world.embedded.sdk();
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let url =
        async |name: &str| sqs.get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap();
    let (url, dead) = (url("WebhooksQueue").await, url("WebhooksDeadQueue").await);
    let env = Env::of([("WEBHOOKS_QUEUE_URL", url.as_str()), ("WEBHOOKS_DEAD_QUEUE_URL", dead.as_str())]);
    let queue = Queue::load(&env, &sdk).unwrap();
    let wakes: Vec<_> = (0..23).map(|number| Wake::of(&acme(), format!("evt_{number}"))).collect();
    assert_eq!(queue.send_all(&wakes).await.unwrap(), []);
    queue.send(&wakes[0], Duration::ZERO).await.unwrap();
    queue.send(&wakes[0], Duration::from_hours(1)).await.unwrap();
    let attributes = async |url: &str| {
        let all = aws_sdk_sqs::types::QueueAttributeName::All;
        let read = sqs.get_queue_attributes().queue_url(url).attribute_names(all).send().await.unwrap();
        let number = |name: &str| {
            let found = read.attributes().unwrap().iter().find(|(one, _)| one.as_str() == name);
            found.unwrap().1.clone()
        };
        (number("ApproximateNumberOfMessages"), number("ApproximateNumberOfMessagesDelayed"))
    };
    assert_eq!(attributes(&url).await, ("24".to_owned(), "1".to_owned()));

    DeadQueue::load(&env, &sdk).unwrap().put(&wakes[1], "it cannot be read").await.unwrap();
    let read = sqs.receive_message().queue_url(&dead).send().await.unwrap();
    let text = read.messages()[0].body().unwrap();
    assert_eq!(text, r#"{"error":"it cannot be read","event":"evt_1","workspace":"acme"}"#);
}
