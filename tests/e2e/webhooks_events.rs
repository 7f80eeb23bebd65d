//! `/api/webhooks/events`, replays, refusals and completeness.

use std::{collections::HashSet, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{SecondsFormat, TimeDelta, Utc};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tests::{Answer, Workspace, random};

const EVENTS: &str = "/api/webhooks/events";
const REPLAY: &str = "/api/webhooks/replay";

/// Where anybody may deliver to a workspace.
struct Inbox {
    workspace: Workspace,
    endpoint: String,
    url: String,
}

impl Inbox {
    /// One whose events are handled as those of `scheme` are.
    async fn new(workspace: Workspace, scheme: &str) -> Self {
        let mut order = json!({"name": scheme, "scheme": scheme, "verify_signature": false});
        if scheme == "token" {
            order["signature_header"] = json!("x-token");
            order["event_id_header"] = json!("x-event-id");
            order["event_type_header"] = json!("x-event-type");
        }
        let made = workspace.admin("POST", "/api/webhooks/endpoints").json(&order).send().await.json(201);
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        Self { endpoint: text("id"), url: text("url"), workspace }
    }

    /// Delivers; returns the event's id.
    async fn deliver(&self, id: &str, kind: &str, body: impl Into<Vec<u8>>) -> String {
        // Not as JSON: gateways hand on bytes only of what is no text.
        let call = self.workspace.server.request("POST", &self.url);
        let call = call.bytes(body.into(), "application/octet-stream");
        let call = call.header("x-event-id", id).header("x-event-type", kind);
        call.send().await.json(200)["id"].as_str().expect("an id").to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        self.workspace.member("GET", path).send().await.json(200)
    }

    async fn event(&self, id: &str) -> Value {
        self.get(&format!("{EVENTS}/{id}")).await
    }

    /// The event once it is worked off: `attempts` times in all.
    async fn ended(&self, id: &str, status: &str, attempts: usize) -> Value {
        let ended = |event: &Value| {
            event["status"] == status && event["log"].as_array().is_some_and(|log| log.len() == attempts)
        };
        self.workspace.event_when(id, ended).await
    }

    /// Ids of the listed events, read in pages; `between` runs after each.
    async fn listed(&self, query: &str, between: impl AsyncFn()) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{EVENTS}?{query}{cursor}")).await;
            let events = page["events"].as_array().expect("a list");
            ids.extend(events.iter().map(|event| event["id"].as_str().expect("an id").to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { return ids };
            cursor = format!("&cursor={next}");
            between().await;
        }
    }

    /// The same, once the list, which follows what is stored, has `count` of them.
    async fn settled(&self, query: &str, count: usize) -> Vec<String> {
        for _ in 0..100 {
            let ids = self.listed(query, async || {}).await;
            if ids.len() == count {
                return ids;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{query}: {:?}", self.listed(query, async || {}).await)
    }

    async fn replay(&self, id: &str) -> Answer {
        self.workspace.admin("POST", &format!("{EVENTS}/{id}/replay")).send().await
    }
}

fn ago(minutes: i64) -> String {
    (Utc::now() - TimeDelta::minutes(minutes)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn charge(id: &str, amount: u64) -> Value {
    let created = Utc::now().timestamp() - 60;
    json!({
        "id": format!("evt_{id}"), "object": "event", "type": "charge.succeeded", "created": created,
        "livemode": false,
        "data": {"object": {
            "id": format!("ch_{id}"), "object": "charge", "amount": amount, "amount_captured": amount,
            "amount_refunded": 0, "currency": "usd", "status": "succeeded", "created": created,
            "customer": "cus_1", "payment_intent": null, "metadata": {}, "livemode": false,
        }},
    })
}

#[tokio::test]
async fn events_are_picked_out_and_come_newest_first() {
    let inbox = Inbox::new(Workspace::new().await, "token").await;
    let stripe = Inbox::new(inbox.workspace.clone(), "stripe").await;
    let mut made = Vec::new();
    for number in 0..6 {
        made.push(inbox.deliver(&number.to_string(), ["a.b", "c.d"][number % 2], "{}").await);
    }
    let charge = stripe.deliver("", "", charge(&random(), 100).to_string()).await;
    let all = inbox.settled("", 7).await;
    assert_eq!(all[1..], made.iter().rev().cloned().collect::<Vec<_>>());
    stripe.ended(&charge, "processed", 1).await;
    for (query, expected) in [
        ("type=a.b", vec![4, 2, 0]),
        ("source=custom", vec![5, 4, 3, 2, 1, 0]),
        ("source=github", vec![]),
        ("source=custom&type=c.d", vec![5, 3, 1]),
        (&format!("endpoint={}&type=a.b", inbox.endpoint), vec![4, 2, 0]),
        (&format!("from={}&source=custom", ago(5)), vec![5, 4, 3, 2, 1, 0]),
        (&format!("to={}", ago(5)), vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|at: usize| made[at].clone()).collect();
        assert_eq!(inbox.settled(query, expected.len()).await, expected, "{query}");
    }
    assert_eq!(stripe.settled("source=stripe&status=processed", 1).await, [charge]);
}

#[tokio::test]
async fn pages_miss_nothing_and_repeat_nothing_while_more_arrives() {
    let inbox = Inbox::new(Workspace::new().await, "token").await;
    let made: HashSet<_> = stream::iter(0..40)
        .map(|number: usize| inbox.deliver(number.to_string().leak(), "x", "{}"))
        .buffer_unordered(8)
        .collect()
        .await;
    inbox.settled("limit=100", 40).await;
    let listed = inbox
        .listed("limit=7", async || {
            inbox.deliver(&random(), "later", "{}").await;
        })
        .await;
    let unique: HashSet<_> = listed.iter().cloned().collect();
    assert_eq!(unique.len(), listed.len(), "no event comes twice");
    assert!(made.is_subset(&unique), "all that was there is listed");
}

#[tokio::test]
async fn a_body_comes_back_byte_for_byte() {
    let inbox = Inbox::new(Workspace::new().await, "token").await;
    let random: Vec<u8> =
        (0..200_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for (case, body) in [
        ("empty", Vec::new()),
        ("JSON", br#"{"a": "\u00e4",  "b":1.0}"#.to_vec()),
        ("not UTF-8", b"\xff\xfe\x00{".to_vec()),
        ("in pieces", random.repeat(3)),
    ] {
        let id = inbox.deliver(case.replace(' ', "-").as_str(), "x", body.clone()).await;
        let event = inbox.event(&id).await;
        assert_eq!(event["size"], body.len(), "{case}");
        let (mut told, mut part) = (Vec::new(), event);
        loop {
            match part["body"].as_str() {
                Some(text) => told.extend_from_slice(text.as_bytes()),
                None => told.extend(STANDARD.decode(part["body_base64"].as_str().expect(case)).expect(case)),
            }
            let Some(offset) = part["next_offset"].as_u64() else { break };
            part = inbox.get(&format!("{EVENTS}/{id}?offset={offset}")).await;
        }
        assert!(told == body, "{case}: {} bytes", told.len());
    }
}

#[tokio::test]
async fn what_is_dead_is_processed_again_when_it_is_replayed() {
    let inbox = Inbox::new(Workspace::new().await, "stripe").await;
    let mut bad = charge(&random(), 100);
    bad["data"]["object"]["currency"] = json!("no such currency");
    let id = inbox.deliver("", "", bad.to_string()).await;
    let dead = inbox.ended(&id, "dead", 1).await;
    let error = dead["log"][0]["error"].as_str().expect("an error");
    assert!(error.contains("currency"), "{error}");

    let answer = inbox.replay(&id).await.json(200);
    assert_eq!(answer, json!({"id": id, "replayed": true}));
    let again = inbox.ended(&id, "dead", 2).await;
    assert_eq!(again["attempts"], 1, "attempts count anew: {again}");
    let log = inbox.get(&format!("/api/activity?target={id}")).await;
    assert_eq!(log["entries"][0]["action"], "webhook_event.replayed", "{log}");
}

#[tokio::test]
async fn replaying_what_was_processed_changes_no_totals() {
    let inbox = Inbox::new(Workspace::new().await, "stripe").await;
    let mut ids = Vec::new();
    for amount in [1_000, 2_000, 3_000] {
        let id = inbox.deliver("", "", charge(&random(), amount).to_string()).await;
        inbox.ended(&id, "processed", 1).await;
        ids.push(id);
    }
    let revenue = async || inbox.get("/api/metrics/revenue").await["total_revenue"].clone();
    assert_eq!(revenue().await, 60);
    inbox.settled("status=processed", 3).await;

    assert_eq!(inbox.replay(&ids[0]).await.json(200)["replayed"], true);
    inbox.ended(&ids[0], "processed", 2).await;
    let many = |body: Value| inbox.workspace.admin("POST", REPLAY).json(&body).send();
    let answer = many(json!({"ids": [ids[0], ids[1], "evt_unknown"]})).await.json(200);
    assert_eq!(answer, json!({"replayed": 2, "skipped": 1, "next_cursor": null}));
    inbox.ended(&ids[0], "processed", 3).await;
    inbox.ended(&ids[1], "processed", 2).await;
    inbox.settled("status=processed", 3).await;
    let window = json!({"from": ago(60), "to": ago(-1), "source": "stripe", "type": "charge.succeeded"});
    let answer = many(window).await.json(200);
    assert_eq!(answer, json!({"replayed": 3, "skipped": 0, "next_cursor": null}));
    inbox.ended(&ids[2], "processed", 2).await;
    let answer = many(json!({"from": ago(60), "to": ago(30)})).await.json(200);
    assert_eq!(answer, json!({"replayed": 0, "skipped": 0, "next_cursor": null}));
    inbox.ended(&ids[0], "processed", 4).await;
    assert_eq!(revenue().await, 60);
}

#[tokio::test]
async fn rubbish_is_refused_by_name() {
    let workspace = Workspace::new().await;
    for (path, query, fields) in [
        (
            EVENTS,
            "source=x&type=&status=x&endpoint=a%20b&from=today&to=x&limit=0&cursor=&order=asc",
            vec!["cursor", "endpoint", "from", "limit", "order", "source", "status", "to", "type"],
        ),
        (EVENTS, "cursor=bm90LWEtY3Vyc29y", vec!["cursor"]),
        (EVENTS, "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", vec!["to"]),
        ("/api/webhooks/refusals", "from=x&a=1", vec!["a", "from", "taker"]),
        (
            "/api/webhooks/refusals",
            "taker=stripe&from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z",
            vec!["from"],
        ),
        ("/api/webhooks/completeness", "source=custom&from=x&to=x", vec!["from", "source", "to"]),
        ("/api/webhooks/events/evt_1", "offset=-1", vec!["offset"]),
    ] {
        let answer = workspace.member("GET", &format!("{path}?{query}")).send().await;
        let mut named = answer.problem(422, "invalid");
        named.sort();
        assert_eq!(named, fields, "{path}?{query}");
    }
    for (body, fields) in [
        (json!({}), vec!["from", "to"]),
        (json!({"ids": [], "a": 1}), vec!["a", "ids"]),
        (json!({"from": ago(1), "to": ago(2), "status": "x"}), vec!["status", "to"]),
    ] {
        let mut named = workspace.admin("POST", REPLAY).json(&body).send().await.problem(422, "invalid");
        named.sort();
        assert_eq!(named, fields, "{body}");
    }
    workspace.admin("POST", REPLAY).body("{").send().await.problem(400, "malformed");
    workspace.admin("POST", REPLAY).body(" ".repeat(17_000)).send().await.problem(413, "too-large");
}

#[tokio::test]
async fn only_people_of_the_workspace_see_events_and_only_admins_replay() {
    let inbox = Inbox::new(Workspace::new().await, "token").await;
    let other = Workspace::on(inbox.workspace.server.clone(), inbox.workspace.issuer.clone());
    let id = inbox.deliver("1", "x", "{}").await;
    inbox.settled("", 1).await;
    let before = inbox.ended(&id, "processed", 1).await;
    let (event, replay) = (format!("{EVENTS}/{id}"), format!("{EVENTS}/{id}/replay"));
    let reads = [EVENTS, &event, "/api/webhooks/refusals?taker=stripe", "/api/webhooks/completeness"];
    for path in reads {
        inbox.workspace.server.get(path).send().await.gateway(401);
        let _ = inbox.workspace.member("GET", path).send().await.json(200);
    }
    let ids = json!({"ids": [id]});
    for (path, body) in [(replay.as_str(), json!({})), (REPLAY, ids.clone())] {
        inbox.workspace.server.request("POST", path).json(&body).send().await.gateway(401);
        inbox.workspace.member("POST", path).json(&body).send().await.problem(403, "forbidden");
    }
    assert_eq!(
        other.member("GET", EVENTS).send().await.json(200),
        json!({"events": [], "next_cursor": null})
    );
    other.member("GET", &event).send().await.problem(404, "not-found");
    other.admin("POST", &replay).send().await.problem(404, "not-found");
    let answer = other.admin("POST", REPLAY).json(&ids).send().await.json(200);
    assert_eq!(answer, json!({"replayed": 0, "skipped": 1, "next_cursor": null}));
    assert_eq!(inbox.event(&id).await, before, "nobody else changed it");
}

#[tokio::test]
async fn completeness_is_told_of_every_source() {
    let workspace = Workspace::new().await;
    let path = format!("/api/webhooks/completeness?source=stripe&from={}", ago(120));
    let told = workspace.member("GET", &path).send().await.json(200);
    assert_eq!(told["sources"][0]["source"], "stripe", "{told}");
    assert_eq!(told["sources"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(
        told["sources"][0]["status"], "unchecked",
        "only the operators' workspace is compared: {told}"
    );
    let hours = told["hours"].as_array().expect("hours");
    assert!((2..=3).contains(&hours.len()), "{told}");
    assert!(hours.iter().all(|hour| hour["status"] == "unchecked"), "{told}");
}
