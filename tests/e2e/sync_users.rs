//! `GET /api/devops/sync/users`

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tests::{
    Key, Workspace,
    ledger::{Totals, later, read_all, user},
};

const SYNC: &str = "/api/devops/sync/users";

#[tokio::test]
async fn a_new_workspace_is_empty() {
    let key = Workspace::new().await.key().await;
    let answer = key.sync("").await.json(200);
    let told: DateTime<Utc> =
        answer["timestamp"].as_str().and_then(|time| time.parse().ok()).expect("a timestamp");
    assert!((Utc::now() - told).num_seconds().abs() < 60);
    let mut rest = answer.clone();
    rest.as_object_mut().map(|answer| answer.remove("timestamp"));
    assert_eq!(
        rest,
        json!({
            "total_users": 0, "users_by_role": {}, "users_by_status": {}, "recent_signups": 0,
            "users": [], "next_cursor": null,
        })
    );
}

#[tokio::test]
async fn totals_and_pages_tell_of_the_same_users() {
    let key = Workspace::new().await.key().await;
    let users: Vec<_> = (0..60).map(user).collect();
    key.outcomes(&users).await;
    for limit in [7, 20, 60, 100] {
        let (totals, listed) = read_all(&key, limit, "").await;
        assert_eq!(totals, Totals::of(&users), "pages of {limit}");
        assert_eq!(listed, users, "pages of {limit}");
    }
    // A role or a status that nobody has left is not listed with zero.
    let moved: Vec<_> = users.iter().map(|user| later(user, 6)).collect();
    key.outcomes(&moved).await;
    let answer = key.sync("?limit=1").await.json(200);
    assert_eq!(Totals::told(&answer), Totals::of(&moved));
}

fn joined(n: usize, at: &str) -> Value {
    let mut user = user(n);
    user["signed_up_at"] = json!(at);
    user
}

async fn with_five_signups() -> (Key, Vec<Value>) {
    let key = Workspace::new().await.key().await;
    let users = vec![
        joined(1, "2026-03-01T00:00:00Z"),
        joined(2, "2026-03-01T23:59:59Z"),
        joined(3, "2026-03-02T00:00:00Z"),
        joined(4, "2026-03-05T12:00:00Z"),
        joined(5, "2026-04-01T00:00:00Z"),
    ];
    key.outcomes(&users).await;
    (key, users)
}

#[tokio::test]
async fn a_window_is_half_open_and_newest_first() {
    let (key, users) = with_five_signups().await;
    for (query, expected) in [
        ("?from=2026-03-01&to=2026-03-02", vec![2, 1]),
        ("?from=2026-03-02&to=2026-03-05", vec![3]),
        ("?from=2026-03-02&to=2026-03-06", vec![4, 3]),
        ("?from=2026-03-02", vec![5, 4, 3]),
        ("?from=2026-03-06&to=2026-04-01", vec![]),
    ] {
        let answer = key.sync(query).await.json(200);
        let expected: Vec<_> = expected.into_iter().map(|n: usize| users[n - 1].clone()).collect();
        assert_eq!(answer["users"], json!(expected), "{query}");
        let (told, counted) = (Totals::told(&answer), Totals::of(&expected));
        assert_eq!(told.users, counted.users, "{query}");
        let rest = ["users_by_role", "users_by_status"];
        let whole = |totals: &Value| {
            rest.map(|name| {
                totals[name].as_object().map(|counts| counts.values().filter_map(Value::as_u64).sum::<u64>())
            })
        };
        assert_eq!(whole(&answer), [Some(counted.users); 2], "{query}: {answer}");
    }
}

#[tokio::test]
async fn a_window_has_pages_too() {
    let (key, users) = with_five_signups().await;
    let newest_first: Vec<_> = users[..4].iter().rev().cloned().collect();
    for limit in [1, 2, 3] {
        let (totals, listed) = read_all(&key, limit, "&from=2026-03-01&to=2026-04-01").await;
        assert_eq!(listed, newest_first, "pages of {limit}");
        assert_eq!(totals.users, 4, "the totals are those of the whole window");
    }
}

#[tokio::test]
async fn a_user_who_moves_to_another_day_leaves_the_first() {
    let (key, _) = with_five_signups().await;
    let mut moved = later(&joined(1, "2026-04-02T00:00:00Z"), 1);
    moved["role"] = json!("moved");
    key.outcomes(&[moved.clone()]).await;
    let before = key.sync("?from=2026-03-01&to=2026-03-02").await.json(200);
    assert_eq!(before["total_users"], 1);
    assert_eq!(before["users"][0]["id"], "user-0002");
    let after = key.sync("?from=2026-04-02&to=2026-04-03").await.json(200);
    assert_eq!((&after["total_users"], &after["users"]), (&json!(1), &json!([moved])));
    assert_eq!(after["users_by_role"], json!({"moved": 1}));
}

#[tokio::test]
async fn a_caller_who_is_up_to_date_gets_no_body() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    key.outcomes(&[user(1)]).await;
    let ask = |tag: String| workspace.server.get(SYNC).key(&key.text).header("if-none-match", &tag).send();

    let first = key.sync("").await.expect(200);
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let same = ask(tag.clone()).await.expect(304);
    assert_eq!((same.text.as_str(), same.header("etag")), ("", tag.as_str()));
    assert_eq!(
        same.number("ratelimit-remaining"),
        first.number("ratelimit-remaining") - 1,
        "a poll is a call"
    );
    let _ = ask(format!("W/{tag}, \"other\"")).await.expect(304);
    let _ = ask("\"other\"".to_owned()).await.expect(200);

    key.outcomes(&[user(2)]).await;
    let changed = ask(tag.clone()).await.expect(200);
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn a_bad_query_is_named() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-5", "limit"),
        ("limit=many", "limit"),
        ("cursor=junk", "cursor"),
        ("cursor=", "cursor"),
        ("from=yesterday", "from"),
        ("from=2026-02-30", "from"),
        ("to=2026-3-1", "to"),
        ("to=2026-03-01T00:00:00Z", "to"),
        ("role=admin", "role"),
        ("to=2026-03-01", "from"),
    ] {
        assert_eq!(key.sync(&format!("?{query}")).await.problem(422, "invalid"), [field], "{query}");
    }
    let empty = key.sync("?from=2026-03-02&to=2026-03-01").await.problem(422, "invalid");
    assert_eq!(empty.len(), 1, "{empty:?}");
    let mut all = key.sync("?limit=x&from=x&to=x&more=x").await.problem(422, "invalid");
    all.sort();
    assert_eq!(all, ["from", "limit", "more", "to"]);
}

#[tokio::test]
async fn a_cursor_works_only_where_it_came_from() {
    let (mine, other) = (Workspace::new().await, Workspace::new().await);
    let (key, foreign) = (mine.key().await, other.key().await);
    for key in [&key, &foreign] {
        key.outcomes(&[user(1), user(2), user(3)]).await;
    }
    let page = key.sync("?limit=1").await.json(200);
    let cursor = page["next_cursor"].as_str().expect("more to come");
    let next = key.sync(&format!("?limit=1&cursor={cursor}")).await.json(200);
    assert_eq!(next["users"][0]["id"], "user-0002");
    let refused = foreign.sync(&format!("?limit=1&cursor={cursor}")).await;
    assert_eq!(refused.problem(422, "invalid"), ["cursor"]);
    // Another key of the same workspace may go on.
    let colleague = mine.key().await;
    let _ = colleague.sync(&format!("?limit=1&cursor={cursor}")).await.expect(200);
}
