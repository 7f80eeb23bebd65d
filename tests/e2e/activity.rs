//! `/api/activity`

use serde_json::{Value, json};
use tests::Workspace;

const ACTIVITY: &str = "/api/activity";

async fn entries(workspace: &Workspace, query: &str) -> Vec<Value> {
    let list = workspace.admin("GET", &format!("{ACTIVITY}?{query}")).send().await.json(200);
    list["entries"].as_array().expect("a list of entries").clone()
}

fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["action"].as_str().expect("an action")).collect()
}

#[tokio::test]
async fn every_change_is_told_newest_first_with_who_and_what() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    workspace.rotate(&key.id, 1).await;
    workspace.revoke(&key.id).await;
    let told = entries(&workspace, "").await;
    assert_eq!(actions(&told), ["api_key.revoked", "api_key.rotated", "api_key.generated"]);
    for entry in &told {
        assert_eq!((&entry["target"], &entry["actor_kind"]), (&json!(key.id), &json!("person")), "{entry}");
        assert!(entry["actor"].as_str().is_some_and(|actor| !actor.is_empty()), "{entry}");
        assert!(entry["id"].as_str().is_some_and(|id| id.starts_with("act_")), "{entry}");
    }
    assert_eq!(told[0]["detail"]["reason"], "test");
    assert!(!json!(told).to_string().contains(&key.text), "no secret");
}

#[tokio::test]
async fn filters_pick_and_pages_go_on() {
    let (workspace, other) = (Workspace::new().await, Workspace::new().await);
    let (first, second) = (workspace.key().await, workspace.key().await);
    workspace.revoke(&first.id).await;
    let actor = entries(&workspace, "limit=1").await[0]["actor"].as_str().expect("an actor").to_owned();
    let generated = "api_key.generated";
    for (query, expected) in [
        (format!("target={}", first.id), vec!["api_key.revoked", generated]),
        (format!("actor={actor}"), vec!["api_key.revoked", generated, generated]),
        ("action=api_key.revoked".to_owned(), vec!["api_key.revoked"]),
        ("action=api_key".to_owned(), vec!["api_key.revoked", generated, generated]),
        ("action=api_key.".to_owned(), vec!["api_key.revoked", generated, generated]),
        ("action=credential.".to_owned(), vec![]),
        (format!("target={}&action={generated}&actor={actor}", second.id), vec![generated]),
        ("actor=nobody".to_owned(), vec![]),
        ("to=2026-01-01".to_owned(), vec![]),
        ("from=2020-01-01&to=2020-06-01".to_owned(), vec![]),
    ] {
        assert_eq!(actions(&entries(&workspace, &query).await), expected, "{query}");
    }
    for filter in [String::new(), format!("&actor={actor}"), "&action=api_key.".to_owned()] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("{ACTIVITY}?limit=1{filter}{cursor}");
            let page = workspace.member("GET", &path).send().await.json(200);
            let read = page["entries"].as_array().expect("entries");
            seen.extend(read.iter().map(|entry| entry["id"].clone()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 3, "{filter}: {seen:?}");
        if filter.is_empty() {
            // The last cursor continues this workspace's list only.
            let path = format!("{ACTIVITY}?limit=1{cursor}");
            assert_eq!(other.admin("GET", &path).send().await.problem(422, "invalid"), ["cursor"]);
        }
    }
}

#[tokio::test]
async fn another_workspace_sees_nothing_of_it() {
    let (mine, other) = (Workspace::new().await, Workspace::new().await);
    let key = other.key().await;
    assert_eq!(entries(&mine, "").await, Vec::<Value>::new());
    assert_eq!(entries(&mine, &format!("target={}", key.id)).await, Vec::<Value>::new());
}

#[tokio::test]
async fn without_a_token_nothing_is_told() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    workspace.server.get(ACTIVITY).send().await.gateway(401);
    workspace.server.get(ACTIVITY).key(&key.text).send().await.gateway(401);
}

#[tokio::test]
async fn a_bad_query_names_every_parameter() {
    let workspace = Workspace::new().await;
    for (query, fields) in [
        ("limit=0", vec!["limit"]),
        ("limit=101", vec!["limit"]),
        ("cursor=junk", vec!["cursor"]),
        ("actor=a%23b", vec!["actor"]),
        ("action=Key!", vec!["action"]),
        ("target=", vec!["target"]),
        ("from=2026-02-30", vec!["from"]),
        ("from=2026-02-02&to=2026-02-02", vec!["to"]),
        ("from=2020-01-01", vec!["from"]),
        ("order=asc&limit=x", vec!["limit", "order"]),
    ] {
        let answer = workspace.admin("GET", &format!("{ACTIVITY}?{query}")).send().await;
        assert_eq!(answer.problem(422, "invalid"), fields, "{query}");
    }
}
