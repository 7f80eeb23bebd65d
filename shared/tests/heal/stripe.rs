//! Stripe's list, which has the events themselves.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::webhooks::{
    Source,
    event::{Via, event_id},
};
use tokio::time::Instant;

use crate::{
    World, counts,
    fake::{Fake, Reply, Seen},
    home, noon,
};

/// What Stripe has, newest first.
type Events = Arc<Mutex<Vec<Value>>>;

fn event(number: usize, created: DateTime<Utc>) -> Value {
    json!({
        "id": id(number), "object": "event", "type": "charge.succeeded", "created": created.timestamp(),
        "data": {"object": {"id": format!("ch_{number}"), "object": "charge", "amount": 1000 + number}},
    })
}

fn id(number: usize) -> String {
    format!("evt_{number:05}")
}

/// `count` events, the first of them `SETTLED` ago, one every `step`.
fn events(count: usize, step: TimeDelta) -> Vec<Value> {
    let newest = noon() - TimeDelta::minutes(11);
    (0..count).map(|number| event(number, newest - step * i32::try_from(number).unwrap())).collect()
}

/// Answers as Stripe does.
fn list(events: &[Value], seen: &Seen) -> Reply {
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/v1/events"));
    assert!(seen.header("authorization").starts_with("Bearer rk_test_"));
    assert!(!seen.header("stripe-version").is_empty());
    assert!(seen.query.contains_key("types[]"), "{:?}", seen.query);
    let number = |name: &str| seen.query[name].parse::<i64>().unwrap();
    let after = seen.query.get("starting_after");
    if after.is_some_and(|after| !events.iter().any(|event| event["id"] == after.as_str())) {
        let error = json!({"error": {"type": "invalid_request_error", "message": "No such event"}});
        return Reply::Json(400, error);
    }
    let mut rest: Vec<_> = events
        .iter()
        .skip_while(|event| after.is_some_and(|after| event["id"] != after.as_str()))
        .skip(usize::from(after.is_some()))
        .filter(|event| {
            (number("created[gte]")..number("created[lt]")).contains(&event["created"].as_i64().unwrap())
        })
        .cloned()
        .collect();
    let limit = usize::try_from(number("limit")).unwrap();
    let has_more = rest.len() > limit;
    rest.truncate(limit);
    Reply::Json(200, json!({"object": "list", "data": rest, "has_more": has_more}))
}

async fn stripe(events: Vec<Value>) -> (Fake, Events) {
    let events = Arc::new(Mutex::new(events));
    let shown = events.clone();
    (Fake::start(move |_, seen| list(&shown.lock().unwrap(), seen)).await, events)
}

/// What the hours add up to: listed, held, healed, missing.
fn sums(hours: &[Value]) -> [u64; 4] {
    ["listed", "held", "healed", "missing"]
        .map(|name| hours.iter().map(|hour| hour[name].as_u64().unwrap()).sum())
}

#[tokio::test]
async fn what_was_not_delivered_is_taken_in_and_every_hour_says_so() {
    let all = events(250, TimeDelta::minutes(2));
    let (fake, _) = stripe(all.clone()).await;
    let world = World::with_stripe(&fake).await;
    let dropped = |number: usize| number % 25 == 3;
    for number in (0..250).filter(|number| !dropped(*number)) {
        world.deliver(Source::Stripe, &id(number), noon()).await;
    }

    let outcome = world.heal(Source::Stripe, noon()).await;
    assert_eq!((outcome.healed, outcome.more), (10, false));
    assert_eq!(fake.seen().len(), 3, "pages of a hundred");
    let mut woken = Vec::new();
    for (number, listed) in all.iter().enumerate() {
        let (via, body) = world.held(Source::Stripe, &id(number)).await.unwrap();
        if dropped(number) {
            assert_eq!(via, Via::Healing);
            assert_eq!(&serde_json::from_slice::<Value>(&body).unwrap(), listed, "as a delivery has it");
            woken.push(event_id(&home(), "stripe", &id(number)));
        } else {
            assert_eq!((via, body), (Via::Delivery, b"{}".to_vec()));
        }
    }
    woken.sort();
    assert_eq!(world.woken().await, woken, "the worker is woken up for what is new, and nothing else");

    let (told, hours) = world.told("stripe", 80, noon()).await;
    assert_eq!(
        (&told["status"], &told["through"]),
        (&json!("checked"), &json!("2026-11-20T12:00:00Z")),
        "{told}"
    );
    assert_eq!(sums(&hours), [250, 250, 10, 0]);
    counts(&hours[0], "open", [("listed", 10), ("held", 10), ("missing", 0)]);
    counts(&hours[1], "complete", [("listed", 30), ("held", 30), ("missing", 0)]);
    let status = |status: &str| hours.iter().filter(|hour| hour["status"] == status).count();
    assert_eq!(
        (status("open"), status("complete"), status("unchecked")),
        (1, 71, 9),
        "three days, also empty hours"
    );

    let again = world.heal(Source::Stripe, noon()).await;
    assert_eq!(again.healed, 0);
    assert_eq!(world.woken().await, Vec::<String>::new());
    assert_eq!(sums(&world.told("stripe", 80, noon()).await.1), [250, 250, 10, 0], "counted anew, not again");
}

#[tokio::test]
async fn a_later_run_looks_at_what_is_new_and_at_what_came_late() {
    let (fake, shown) = stripe(events(60, TimeDelta::minutes(2))).await;
    let world = World::with_stripe(&fake).await;
    assert_eq!(world.heal(Source::Stripe, noon()).await.healed, 60);

    // One that the list did not have at first, one too old to be looked for, and two new ones.
    let late = event(900, noon() - TimeDelta::minutes(100));
    let lost = event(901, noon() - TimeDelta::hours(4));
    let new = [902, 903].map(|number| event(number, noon() + TimeDelta::minutes(20)));
    shown.lock().unwrap().extend([vec![late, lost], new.to_vec()].concat());
    shown.lock().unwrap().sort_by_key(|event| std::cmp::Reverse(event["created"].as_i64()));
    let later = noon() + TimeDelta::hours(1);
    assert_eq!(world.heal(Source::Stripe, later).await.healed, 3);
    let (told, hours) = world.told("stripe", 5, later).await;
    assert_eq!(told["through"], "2026-11-20T13:00:00Z", "{told}");
    counts(&hours[0], "open", [("listed", 0), ("held", 0), ("missing", 0)]);
    counts(&hours[1], "complete", [("listed", 12), ("held", 12), ("healed", 12)]);
    counts(&hours[3], "complete", [("listed", 21), ("held", 21), ("healed", 21)]);
    assert_eq!(sums(&hours)[0], 63);
}

#[tokio::test]
async fn a_run_that_is_killed_goes_on_where_it_was() {
    let (fake, shown) = stripe(events(500, TimeDelta::minutes(1))).await;
    let world = World::with_stripe(&fake).await;
    let all = shown.clone();
    fake.follow(move |call, seen| match call {
        3 => Reply::Hang,
        _ => list(&all.lock().unwrap(), seen),
    });
    let healer = world.healer();
    let run = tokio::spawn(async move { healer.heal(noon(), Instant::now() + Duration::from_mins(5)).await });
    while fake.seen().len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run.abort();
    assert_eq!(world.woken().await.len(), 300);
    let (told, hours) = world.told("stripe", 80, noon()).await;
    assert_eq!(told["status"], "unchecked", "{told}");
    assert_eq!(sums(&hours)[0], 260, "the hours that are whole: {hours:?}");

    let all = shown.clone();
    fake.follow(move |_, seen| list(&all.lock().unwrap(), seen));
    let outcome = world.heal(Source::Stripe, noon() + TimeDelta::minutes(1)).await;
    assert_eq!(fake.seen()[0].query["starting_after"], id(299), "nothing is read twice");
    assert_eq!((outcome.healed, outcome.more), (200, false));
    let (told, hours) = world.told("stripe", 80, noon()).await;
    assert_eq!(told["status"], "checked", "{told}");
    assert_eq!(sums(&hours), [500, 500, 500, 0]);
}

#[tokio::test]
async fn a_run_without_time_left_says_that_there_is_more() {
    let (fake, _) = stripe(events(10, TimeDelta::minutes(1))).await;
    let world = World::with_stripe(&fake).await;
    let outcomes = world.healer().heal(noon(), Instant::now()).await;
    let outcome = outcomes.into_iter().next().unwrap().unwrap();
    assert_eq!((outcome.healed, outcome.more), (0, true));
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn a_place_that_is_forgotten_begins_its_hour_anew() {
    let (fake, shown) = stripe(events(300, TimeDelta::minutes(1))).await;
    let world = World::with_stripe(&fake).await;
    let all = shown.clone();
    let down = Arc::new(AtomicBool::new(true));
    let is_down = down.clone();
    fake.follow(move |call, seen| {
        if call >= 2 && is_down.load(Ordering::Relaxed) {
            return Reply::Json(401, json!({"error": {"message": "Expired API Key"}}));
        }
        list(&all.lock().unwrap(), seen)
    });
    assert_eq!(world.heal(Source::Stripe, noon()).await.healed, 200);
    let (told, _) = world.told("stripe", 80, noon()).await;
    assert_eq!((&told["status"], &told["cause"]), (&json!("unchecked"), &json!("auth")), "{told}");

    // What the walk ended at is gone.
    shown.lock().unwrap().remove(199);
    down.store(false, Ordering::Relaxed);
    let outcome = world.heal(Source::Stripe, noon()).await;
    assert_eq!((outcome.healed, outcome.more), (100, false));
    let (told, hours) = world.told("stripe", 80, noon()).await;
    assert_eq!(told["status"], "checked", "{told}");
    assert_eq!(sums(&hours), [299, 299, 299, 0]);
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    let (fake, shown) = stripe(events(150, TimeDelta::minutes(1))).await;
    let world = World::with_stripe(&fake).await;
    let all = shown.clone();
    fake.follow(move |call, seen| match call {
        0 | 3 => {
            Reply::With(429, vec![("retry-after", "0".to_owned())], json!({"error": {"message": "Slow"}}))
        }
        1 => Reply::With(503, vec![("retry-after", "0".to_owned())], json!({})),
        _ => list(&all.lock().unwrap(), seen),
    });
    assert_eq!(world.heal(Source::Stripe, noon()).await.healed, 150);
    let (told, hours) = world.told("stripe", 80, noon()).await;
    assert_eq!((&told["status"], &hours[1]["status"]), (&json!("checked"), &json!("complete")));
}

#[tokio::test]
async fn a_provider_that_refuses_leaves_its_hours_unchecked_and_says_why() {
    let (fake, shown) = stripe(events(150, TimeDelta::minutes(2))).await;
    let world = World::with_stripe(&fake).await;
    let patience = vec![("retry-after", "3600".to_owned())];
    let error = json!({"error": {"message": "You did not provide a valid key"}});
    for (case, reply, cause) in [
        ("key revoked", Reply::Json(401, error.clone()), "auth"),
        ("key without the right", Reply::Json(403, error.clone()), "scope"),
        ("asks for an hour", Reply::With(429, patience, error), "rate_limited"),
    ] {
        fake.follow(move |_, _| reply.clone());
        let begun = Instant::now();
        assert_eq!(world.heal(Source::Stripe, noon()).await.healed, 0, "{case}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{case}: what does not pass is not waited for");
        let (told, hours) = world.told("stripe", 80, noon()).await;
        assert_eq!((&told["status"], &told["cause"]), (&json!("unchecked"), &json!(cause)), "{case}: {told}");
        assert!(told["message"].as_str().unwrap().starts_with("Stripe "), "{case}: {told}");
        assert!(hours.iter().all(|hour| hour["status"] == "unchecked"), "{case}: {hours:?}");
    }
    let all = shown.clone();
    fake.follow(move |_, seen| list(&all.lock().unwrap(), seen));
    let day = noon() + TimeDelta::hours(5);
    assert_eq!(world.heal(Source::Stripe, day).await.healed, 150, "the next one that may ask finds all");
    let (told, hours) = world.told("stripe", 80, day).await;
    assert_eq!((&told["status"], told.get("cause")), (&json!("checked"), None), "{told}");
    assert_eq!(sums(&hours), [150, 150, 150, 0]);
}

#[tokio::test]
async fn a_list_that_lies_is_not_believed() {
    let all = events(150, TimeDelta::minutes(2));
    let page = json!({"data": &all[..100], "has_more": true});
    let repeats = page.clone();
    let (fake, _) = stripe(Vec::new()).await;
    let world = World::with_stripe(&fake).await;
    fake.follow(move |_, _| Reply::Json(200, repeats.clone()));
    assert_eq!(world.heal(Source::Stripe, noon()).await.healed, 100);
    let (told, _) = world.told("stripe", 80, noon()).await;
    assert_eq!((&told["status"], &told["cause"]), (&json!("unchecked"), &json!("provider")), "{told}");
    assert!(fake.seen().len() < 5, "a page that repeats is not read for ever");

    fake.follow(|_, _| Reply::Json(200, json!({"data": [], "has_more": true})));
    world.heal(Source::Stripe, noon()).await;
    assert_eq!(
        world.told("stripe", 80, noon()).await.0["status"],
        "unchecked",
        "more, and nothing to go on from"
    );
}

#[tokio::test]
async fn rows_that_are_no_events_or_not_asked_for_are_not_taken_in() {
    let mut rows = events(5, TimeDelta::minutes(1));
    rows.insert(1, rows[0].clone());
    rows.insert(3, json!({"id": "evt_without_a_time", "type": "charge.succeeded", "data": {"object": {}}}));
    rows.insert(4, json!("what"));
    rows.push(event(900, noon() + TimeDelta::hours(1)));
    rows.push(event(901, noon() - TimeDelta::days(9)));
    rows.push(
        json!({"id": "evt#forged", "type": "x", "created": noon().timestamp(), "data": {"object": {}}}),
    );
    let (fake, _) = stripe(Vec::new()).await;
    let world = World::with_stripe(&fake).await;
    fake.follow(move |_, _| Reply::Json(200, json!({"data": rows, "has_more": false})));
    assert_eq!(world.heal(Source::Stripe, noon()).await.healed, 5);
    assert_eq!(world.held(Source::Stripe, &id(900)).await, None, "later than what is settled");
    assert_eq!(world.held(Source::Stripe, &id(901)).await, None, "earlier than was asked for");
    let (_, hours) = world.told("stripe", 1, noon()).await;
    counts(&hours[0], "incomplete", [("listed", 8), ("held", 5), ("missing", 3)]);
    assert_eq!(hours[0]["missing_events"][0]["provider_id"], Value::Null);
}
