//! GitHub's list of deliveries, which has no bodies.

use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::webhooks::{
    Source,
    event::{Via, event_id},
};

use crate::{
    World, counts,
    fake::{Fake, Reply, Seen},
    home, noon,
};

static KEY: LazyLock<String> = LazyLock::new(|| {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let text = STANDARD.encode(pair.as_der().unwrap().as_ref());
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
});

fn delivery(number: usize, guid: &str, at: DateTime<Utc>) -> Value {
    json!({
        "id": number, "guid": guid, "delivered_at": at, "redelivery": false, "duration": 0.3,
        "status": "OK", "status_code": 200, "event": "issues", "action": "opened",
        "installation_id": 42, "repository_id": null,
    })
}

fn guid(number: usize) -> String {
    format!("0b989ba4-242f-11e5-81e1-{number:012}")
}

/// `count` deliveries, one every `step`.
fn deliveries(count: usize, step: TimeDelta) -> Vec<Value> {
    let newest = noon() - TimeDelta::minutes(11);
    let at = |number: usize| newest - step * i32::try_from(number).unwrap();
    (0..count).map(|number| delivery(10_000 - number, &guid(number), at(number))).collect()
}

/// Answers as GitHub does, in pages of `size`.
fn github(all: &[Value], size: usize, seen: &Seen) -> Reply {
    assert_eq!(seen.method, "GET");
    assert!(seen.header("authorization").starts_with("Bearer ey"), "the app's own token");
    assert!(seen.header("user-agent").starts_with("tidegate/"));
    let Some(id) = seen.path.strip_prefix("/app/hook/deliveries/") else {
        assert_eq!(seen.path, "/app/hook/deliveries");
        let after: usize = seen.query.get("cursor").map_or(0, |cursor| cursor[3..].parse().unwrap());
        let page: Vec<_> = all.iter().skip(after).take(size).cloned().collect();
        let next = after + size;
        let link = format!("<https://evil.example/steal?per_page={size}&cursor=v1_{next}>; rel=\"next\"");
        let link = if next < all.len() { vec![("link", link)] } else { Vec::new() };
        return Reply::With(200, link, json!(page));
    };
    let id: u64 = id.parse().unwrap();
    match all.iter().find(|delivery| delivery["id"] == id) {
        Some(delivery) => Reply::Json(200, detail(delivery)),
        None => Reply::Json(404, json!({"message": "Not Found"})),
    }
}

fn detail(delivery: &Value) -> Value {
    let mut detail = delivery.clone();
    detail["request"] = json!({
        "headers": {
            "X-GitHub-Event": "issues", "X-GitHub-Delivery": delivery["guid"],
            "X-Hub-Signature-256": "sha256=0123456789abcdef", "Content-Type": "application/json",
        },
        "payload": payload(delivery),
    });
    detail["response"] = json!({"headers": {}, "payload": ""});
    detail
}

fn payload(delivery: &Value) -> Value {
    json!({"action": "opened", "issue": {"number": delivery["id"], "title": "Gräben schließen"}})
}

async fn provider(all: Vec<Value>, size: usize) -> (Fake, Arc<Mutex<Vec<Value>>>) {
    let all = Arc::new(Mutex::new(all));
    let shown = all.clone();
    (Fake::start(move |_, seen| github(&shown.lock().unwrap(), size, seen)).await, all)
}

fn fetched(fake: &Fake) -> usize {
    fake.seen().iter().filter(|seen| seen.path != "/app/hook/deliveries").count()
}

#[tokio::test]
async fn what_was_not_delivered_is_fetched_as_it_was_sent() {
    let all = deliveries(120, TimeDelta::minutes(2));
    let (fake, _) = provider(all.clone(), 50).await;
    let world = World::with_github(&fake, &KEY).await;
    for number in (0..120).filter(|number| number % 12 != 5) {
        world.deliver(Source::Github, &guid(number), noon()).await;
    }
    let outcome = world.heal(Source::Github, noon()).await;
    assert_eq!((outcome.healed, outcome.more), (10, false));
    assert_eq!(fetched(&fake), 10, "what is here is not fetched");
    for (number, listed) in all.iter().enumerate() {
        let (via, body) = world.held(Source::Github, &guid(number)).await.unwrap();
        assert_eq!(via, if number % 12 == 5 { Via::Healing } else { Via::Delivery });
        if via == Via::Healing {
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), payload(listed));
            let stored = world.store.get(&home(), &event_id(&home(), "github", &guid(number)), noon()).await;
            let event = stored.unwrap().event;
            let header = |name: &str| {
                let found = event.headers.iter().find(|(one, _)| one == name);
                found.map(|(_, value)| value.as_str())
            };
            assert_eq!((event.kind.as_str(), header("x-github-event")), ("issues", Some("issues")));
            assert_eq!(header("x-hub-signature-256"), Some("[redacted]"));
        }
    }
    assert_eq!(world.woken().await.len(), 10);
    let (told, hours) = world.told("github", 5, noon()).await;
    assert_eq!(told["status"], "checked", "{told}");
    counts(&hours[1], "complete", [("listed", 30), ("held", 30), ("missing", 0)]);
}

#[tokio::test]
async fn deliveries_of_one_event_are_one_event() {
    let mut all = deliveries(10, TimeDelta::minutes(1));
    // Twice within the hour, and once more in the next one.
    let again = |number: usize, at| {
        let mut again = delivery(number, &guid(4), at);
        again["redelivery"] = json!(true);
        again
    };
    all.insert(0, again(10_002, noon() - TimeDelta::minutes(10) - TimeDelta::seconds(2)));
    all.push(again(9_000, noon() - TimeDelta::hours(1)));
    let (fake, _) = provider(all, 4).await;
    let world = World::with_github(&fake, &KEY).await;
    assert_eq!(world.heal(Source::Github, noon()).await.healed, 10);
    assert_eq!(world.woken().await.len(), 10);
    let (_, hours) = world.told("github", 2, noon()).await;
    counts(&hours[0], "open", [("listed", 10), ("held", 10), ("healed", 10)]);
    counts(&hours[1], "complete", [("listed", 1), ("held", 1), ("healed", 1)]);
}

#[tokio::test]
async fn what_cannot_be_fetched_is_named_and_tried_again_for_a_day() {
    let all = deliveries(6, TimeDelta::minutes(30));
    let (fake, _) = provider(Vec::new(), 50).await;
    let world = World::with_github(&fake, &KEY).await;
    let listed = all.clone();
    fake.follow(move |_, seen| match seen.path.rsplit_once('/').unwrap().1 {
        "10000" => Reply::Json(404, json!({"message": "Not Found"})),
        "9999" => Reply::Json(200, detail(&delivery(9999, "another", noon()))),
        "9998" => Reply::Json(200, json!({"guid": guid(2), "request": {"headers": {}, "payload": null}})),
        "9997" => Reply::Raw(200, "text/html", "<p>Unicorn!</p>".to_owned()),
        _ => github(&listed, 50, seen),
    });
    assert_eq!(
        world.heal(Source::Github, noon()).await.healed,
        2,
        "one that is bad does not stop the others"
    );
    let (told, hours) = world.told("github", 4, noon()).await;
    assert_eq!(told["status"], "checked", "{told}");
    counts(&hours[0], "incomplete", [("listed", 1), ("held", 0), ("missing", 1)]);
    let named = &hours[0]["missing_events"][0];
    assert_eq!(named["provider_id"], guid(0), "{named}");
    assert!(named["message"].as_str().unwrap().contains("Not Found"), "{named}");
    counts(&hours[1], "incomplete", [("listed", 2), ("held", 0), ("missing", 2)]);
    counts(&hours[2], "incomplete", [("listed", 2), ("held", 1), ("missing", 1)]);

    let later = noon() + TimeDelta::hours(20);
    let listed = all.clone();
    fake.follow(move |_, seen| github(&listed, 50, seen));
    assert_eq!(world.heal(Source::Github, later).await.healed, 4);
    let (_, hours) = world.told("github", 24, later).await;
    assert!(hours[1..].iter().all(|hour| hour["status"] == "complete"), "{hours:?}");
}

#[tokio::test]
async fn a_provider_that_fails_at_everything_is_left_for_the_next_run() {
    let all = deliveries(20, TimeDelta::minutes(5));
    let (fake, _) = provider(Vec::new(), 50).await;
    let world = World::with_github(&fake, &KEY).await;
    let down = vec![("retry-after", "0".to_owned())];
    let listed = all.clone();
    fake.follow(move |_, seen| match seen.path.as_str() {
        "/app/hook/deliveries" => github(&listed, 50, seen),
        _ => Reply::With(502, down.clone(), json!({"message": "Server Error"})),
    });
    assert_eq!(world.heal(Source::Github, noon()).await.healed, 0);
    let (told, hours) = world.told("github", 4, noon()).await;
    assert_eq!((&told["status"], &told["cause"]), (&json!("unchecked"), &json!("provider")), "{told}");
    assert!(hours.iter().all(|hour| hour["status"] == "unchecked"), "{hours:?}");

    fake.follow(move |_, seen| github(&all, 50, seen));
    assert_eq!(world.heal(Source::Github, noon()).await.healed, 20);
}

#[tokio::test]
async fn hours_that_the_list_may_have_lost_are_not_called_complete() {
    // The list has what it had three days long, and a little more.
    let kept = |number: usize, hours: i64| delivery(number, &guid(number), noon() - TimeDelta::hours(hours));
    let (fake, all) = provider(vec![kept(1, 1)], 50).await;
    let world = World::with_github(&fake, &KEY).await;
    world.heal(Source::Github, noon()).await;
    // Ten days without a run.
    let later = noon() + TimeDelta::days(10);
    let ago = |hours: i64| later - TimeDelta::hours(hours);
    *all.lock().unwrap() = vec![delivery(3, &guid(3), ago(5)), delivery(2, &guid(2), ago(80))];
    assert_eq!(world.heal(Source::Github, later).await.healed, 2);
    let (told, hours) = world.told("github", 24 * 11, later).await;
    assert_eq!(told["status"], "checked", "{told}");
    let hour = |hours_ago: i64| {
        let time = (ago(hours_ago)).format("%Y-%m-%dT%H:00:00Z").to_string();
        hours.iter().find(|hour| hour["hour"] == time.as_str()).unwrap()["status"].as_str().unwrap()
    };
    assert_eq!(hour(5), "complete");
    assert_eq!(hour(71), "complete", "within what is surely kept");
    assert_eq!(hour(79), "complete", "the list goes further back");
    assert_eq!(hour(81), "unchecked", "it may have been on the list");
    assert_eq!(hour(10 * 24 + 2), "complete", "known from before");
}

#[tokio::test]
async fn dead_events_are_told() {
    let (fake, _) = provider(deliveries(3, TimeDelta::minutes(1)), 50).await;
    let world = World::with_github(&fake, &KEY).await;
    world.deliver(Source::Github, &guid(1), noon()).await;
    let id = event_id(&home(), "github", &guid(1));
    let dynamodb = aws_sdk_dynamodb::Client::new(&world.embedded.sdk());
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let row = dynamodb.update_item().table_name(&world.variables["WEBHOOKS_TABLE"]);
    let row = row.key("pk", text(&format!("EVENT#acme#{id}"))).key("sk", text("EVENT"));
    let row = row.update_expression("SET #s = :dead").expression_attribute_names("#s", "status");
    row.expression_attribute_values(":dead", text("dead")).send().await.unwrap();
    world.heal(Source::Github, noon()).await;
    let (_, hours) = world.told("github", 1, noon()).await;
    counts(&hours[0], "open", [("listed", 3), ("held", 3), ("dead", 1)]);
    assert_eq!(hours[0]["dead_events"], json!([id]), "{}", hours[0]);
}

#[tokio::test]
async fn what_fails_of_one_provider_does_not_stop_the_other() {
    let all = deliveries(5, TimeDelta::minutes(1));
    let (fake, _) = provider(Vec::new(), 50).await;
    let world = World::with_github(&fake, &KEY).await;
    world.secret("STRIPE_API_KEY", &format!("rk_{}_{}", "test", "x".repeat(24))).await;
    fake.follow(move |_, seen| match seen.path.as_str() {
        "/v1/events" => Reply::Redirect("https://evil.example/".to_owned()),
        _ => github(&all, 50, seen),
    });
    assert_eq!(world.heal(Source::Github, noon()).await.healed, 5);
    assert_eq!(world.told("github", 2, noon()).await.0["status"], "checked");
    let (told, _) = world.told("stripe", 2, noon()).await;
    assert_eq!((&told["status"], &told["cause"]), (&json!("unchecked"), &json!("provider")), "{told}");
}
