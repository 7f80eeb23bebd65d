//! What becomes of events after they were acknowledged.

use chrono::Utc;
use serde_json::Value;
use tests::{
    Workspace, random,
    webhooks::{charge, stripe_event},
};

fn id(accepted: &Value) -> String {
    accepted["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn what_stripe_tells_is_in_the_revenue_once_however_it_is_told() {
    let workspace = Workspace::new().await;
    let stripe = workspace.endpoint("stripe").await;
    let now = Utc::now().timestamp() - 60;
    let events = [("charge.refunded", 2, 300), ("charge.succeeded", 0, 0), ("charge.refunded", 1, 100)];
    let events = events.map(|(kind, after, refunded)| {
        let object = charge("ch_1", "succeeded", now, refunded);
        stripe_event(&format!("evt_{after}"), kind, now + after, &object)
    });
    let mut ids = Vec::new();
    for sent in events.iter().chain(&events) {
        let accepted = stripe.event(sent).send().await.json(200);
        ids.push(id(&accepted));
    }
    assert_eq!(ids[..3], ids[3..], "the same events");
    for id in &ids[..3] {
        let event = workspace.event_when(id, |event| event["status"] == "processed").await;
        assert!(event["processed_at"].is_string(), "{event}");
    }
    let key = workspace.key().await;
    let read = async || key.server().get("/api/devops/sync/revenue").key(&key.text).send().await.json(200);
    let revenue = read().await;
    assert_eq!(revenue["total_revenue"], 47, "{revenue}");

    // Processed again, it changes nothing.
    let path = format!("/api/webhooks/events/{}/replay", ids[0]);
    let replayed = workspace.admin("POST", &path).json(&serde_json::json!({})).send().await.json(200);
    assert_eq!(replayed["replayed"], true, "{replayed}");
    let log = |event: &Value| event["log"].as_array().map_or(0, Vec::len);
    let again = workspace.event_when(&ids[0], |event| event["status"] == "processed" && log(event) > 1).await;
    assert_eq!(again["attempts"], 1, "since it was replayed: {again}");
    assert_eq!(read().await["total_revenue"], 47);
}

#[tokio::test]
async fn a_message_that_nobody_can_read_is_dead_and_says_why_and_can_be_replayed() {
    let workspace = Workspace::new().await;
    let github = workspace.endpoint("github").await;
    for (case, body) in
        [("not JSON", &b"{\"ref\": secret-of-somebody"[..]), ("invalid UTF-8", b"\xff\xfe"), ("empty", b"")]
    {
        let accepted = github.deliver("push", &random(), body).send().await.json(200);
        assert_eq!(accepted["outcome"], "accepted", "{case}: nothing is lost: {accepted}");
        let id = id(&accepted);
        let dead = workspace.event_when(&id, |event| event["status"] == "dead").await;
        assert_eq!(dead["attempts"], 1, "{case}: {dead}");
        let log = dead["log"].as_array().expect("attempts");
        let error = log[0]["error"].as_str().expect("an error");
        assert!(error.contains("not valid JSON") && !error.contains("secret"), "{case}: {error}");
        assert!(dead["next_attempt_at"].is_null(), "{case}: {dead}");

        let path = format!("/api/webhooks/events/{id}/replay");
        let replayed = workspace.admin("POST", &path).json(&serde_json::json!({})).send().await.json(200);
        assert_eq!(replayed["replayed"], true, "{case}: {replayed}");
        // It is as unreadable as it was; that it was tried again, its log says.
        let again =
            |event: &Value| event["status"] == "dead" && event["log"].as_array().map_or(0, Vec::len) == 2;
        let dead = workspace.event_when(&id, again).await;
        assert_eq!(dead["attempts"], 1, "{case}: since it was replayed: {dead}");
    }
    let listed = workspace.member("GET", "/api/webhooks/events?status=dead").send().await.json(200);
    assert_eq!(listed["events"].as_array().map(Vec::len), Some(3), "{listed}");
}

#[tokio::test]
async fn one_that_cannot_be_read_holds_up_no_other() {
    let workspace = Workspace::new().await;
    let github = workspace.endpoint("github").await;
    let mut good = Vec::new();
    for n in 0..20 {
        let _ = github.deliver("push", &random(), format!("no JSON {n}").as_bytes()).send().await.json(200);
        let push = br#"{"ref": "refs/heads/main", "repository": {"full_name": "acme/site"}}"#;
        good.push(id(&github.deliver("push", &random(), push).send().await.json(200)));
    }
    for id in &good {
        let _ = workspace.event_when(id, |event| event["status"] == "processed").await;
    }
    let log = workspace.member("GET", "/api/activity?target=acme/site&limit=100").send().await.json(200);
    let entries = log["entries"].as_array().expect("entries");
    let pushed = entries.iter().filter(|entry| entry["action"] == "repository.pushed").count();
    assert_eq!(pushed, good.len(), "once each: {log}");
}
