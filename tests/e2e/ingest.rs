//! `PUT /api/ingest/users`, and what holds for every kind of entity.

use futures::future::join_all;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tests::{
    Workspace,
    ledger::{Totals, later, user, verified},
};

const PATH: &str = "/api/ingest/users";

#[tokio::test]
async fn each_outcome_is_told() {
    let key = Workspace::new().await.key().await;
    let (old, new) = (user(1), later(&user(1), 5));
    for (case, item, outcome) in [
        ("first", &old, "created"),
        ("same again", &old, "unchanged"),
        ("later state", &new, "updated"),
        ("the same later state", &new, "unchanged"),
        ("earlier state, late", &old, "stale"),
    ] {
        assert_eq!(key.outcomes(std::slice::from_ref(item)).await, [outcome], "{case}");
    }
    let (totals, users) = verified(&key).await;
    assert_eq!((totals.users, users), (1, vec![new]));
}

#[tokio::test]
async fn an_item_may_come_twice_in_one_call() {
    let key = Workspace::new().await.key().await;
    let (old, new) = (user(1), later(&user(1), 5));
    let items = [old.clone(), user(2), new.clone(), new.clone(), old];
    assert_eq!(key.outcomes(&items).await, ["created", "created", "updated", "unchanged", "stale"]);
    let (totals, users) = verified(&key).await;
    assert_eq!((totals.users, users), (2, vec![new, user(2)]));
}

#[tokio::test]
async fn what_a_user_may_leave_out_can_come_and_go() {
    let key = Workspace::new().await.key().await;
    let mut bare = later(&user(1), 1);
    bare.as_object_mut().map(|user| user.remove("email"));
    assert_eq!(key.outcomes(&[bare.clone()]).await, ["created"]);
    assert_eq!(verified(&key).await.1, [bare.clone()]);
    assert_eq!(key.outcomes(&[later(&user(1), 2)]).await, ["updated"]);
    bare["updated_at"] = later(&bare, 3)["updated_at"].clone();
    assert_eq!(key.outcomes(&[bare.clone()]).await, ["updated"]);
    assert_eq!(verified(&key).await.1, [bare]);
}

#[tokio::test]
async fn any_text_that_is_allowed_comes_back_as_it_was() {
    let key = Workspace::new().await.key().await;
    let mut first = user(1);
    first["id"] = json!("!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~");
    first["username"] = json!("Zoë \u{1f30a} \"quoted\" <b>'; DROP TABLE users");
    first["role"] = json!("a-b_c9");
    let mut second = user(2);
    second["id"] = json!("x".repeat(128));
    second["username"] = json!("\u{20ac}".repeat(100));
    second["role"] = json!("r".repeat(32));
    let items = [first, second];
    assert_eq!(key.outcomes(&items).await, ["created", "created"]);
    assert_eq!(verified(&key).await.1, items);
}

#[tokio::test]
async fn a_bad_item_is_rejected_by_field_and_keeps_nobody_out() {
    let key = Workspace::new().await.key().await;
    let cases = [
        ("id with the delimiter", "id", json!("a#b")),
        ("id with a space", "id", json!("a b")),
        ("id that is too long", "id", json!("x".repeat(129))),
        ("id that is no text", "id", json!(7)),
        ("address without @", "email", json!("nobody")),
        ("address with two @", "email", json!("a@b@c")),
        ("address that is too long", "email", json!(format!("{}@example.com", "x".repeat(250)))),
        ("name of 300 characters", "username", json!("x".repeat(300))),
        ("empty name", "username", json!("")),
        ("role in capitals", "role", json!("Admin")),
        ("role that is too long", "role", json!("r".repeat(33))),
        ("empty status", "status", json!("")),
        ("no status", "status", Value::Null),
        ("a day without a time", "signed_up_at", json!("2026-01-01")),
        ("signed up in the future", "signed_up_at", json!("2999-01-01T00:00:00Z")),
        ("changed in the future", "updated_at", json!("2999-01-01T00:00:00Z")),
        ("time as a number", "updated_at", json!(1_700_000_000)),
        ("unknown field", "admin", json!(true)),
    ];
    let mut items = vec![user(100)];
    for (n, (_, field, value)) in cases.iter().enumerate() {
        let mut item = user(n);
        item[field] = value.clone();
        items.push(item);
    }
    items.push(json!("not an object"));
    items.push(user(101));

    let answer = key.ingest(&items).await.json(200);
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), items.len());
    for (n, (case, field, _)) in cases.iter().enumerate() {
        let result = &results[n + 1];
        assert_eq!(result["outcome"], "rejected", "{case}: {result}");
        let errors = result["errors"].as_array().expect("errors");
        assert_eq!(errors.len(), 1, "{case}: {result}");
        assert_eq!(errors[0]["field"], format!("items[{}].{field}", n + 1), "{case}");
        let id = if *field == "id" { &result["id"] } else { &items[n + 1]["id"] };
        assert_eq!(result["id"], *id, "{case}");
    }
    assert_eq!(results[cases.len() + 1]["outcome"], "rejected");
    assert_eq!(results[cases.len() + 1]["id"], Value::Null);
    let good = [user(100), user(101)];
    assert_eq!(
        (&results[0]["outcome"], &results[cases.len() + 2]["outcome"]),
        (&json!("created"), &json!("created"))
    );
    assert_eq!(verified(&key).await.1, good);
}

#[tokio::test]
async fn a_bad_call_stores_nothing() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let call = || workspace.server.request("PUT", PATH).key(&key.text);
    for (case, body, field) in [
        ("nothing", json!({}), "items"),
        ("empty list", json!({"items": []}), "items"),
        ("no list", json!({"items": {"0": user(1)}}), "items"),
        ("unknown field", json!({"items": [user(1)], "mode": "replace"}), "mode"),
    ] {
        let answer = call().json(&body).send().await;
        assert_eq!(answer.problem(422, "invalid"), [field], "{case}");
    }
    for body in ["", "[]", "null"] {
        call().body(body).send().await.problem(422, "invalid");
    }
    for body in [r#"{"items": ["#, "items=1", "\u{feff}{}"] {
        call().body(body).send().await.problem(400, "malformed");
    }
    assert_eq!(verified(&key).await.0.users, 0);
}

#[tokio::test]
async fn of_too_many_items_the_first_hundred_are_stored() {
    let key = Workspace::new().await.key().await;
    let many: Vec<_> = (0..103).map(user).collect();
    let answer = key.ingest(&many).await.json(200);
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), many.len());
    for (at, result) in results.iter().enumerate() {
        assert_eq!(result["id"], many[at]["id"], "{at}: {result}");
        assert_eq!(result["outcome"], if at < 100 { "created" } else { "rejected" }, "{at}: {result}");
        if at >= 100 {
            assert_eq!(result["errors"][0]["field"], format!("items[{at}]"), "{at}: {result}");
        }
    }
    assert_eq!(verified(&key).await.1, many[..100]);
}

#[tokio::test]
async fn what_one_workspace_sends_no_other_sees() {
    let (mine, other) = (Workspace::new().await.key().await, Workspace::new().await.key().await);
    assert_eq!(mine.outcomes(&[user(1)]).await, ["created"]);
    assert_eq!(verified(&other).await.0.users, 0);
    assert_eq!(other.outcomes(&[later(&user(1), 9)]).await, ["created"], "the same id is another user");
    assert_eq!(verified(&mine).await.1, [user(1)]);
}

/// Sends again what lost a race against another writer, as the answer asks.
async fn insist(key: &tests::Key, items: &[Value]) {
    for _ in 0..20 {
        let answer = key.ingest(items).await;
        if answer.status != 503 {
            let answer = answer.json(200);
            for result in answer["results"].as_array().expect("results") {
                assert_ne!(result["outcome"], "rejected", "{result}");
            }
            return;
        }
    }
    panic!("still not stored after 20 calls");
}

#[tokio::test]
async fn parallel_writers_of_the_same_users_leave_exact_totals() {
    let key = Workspace::new().await.key().await;
    // Eight writers, each with its own states of overlapping thirds of 60 users.
    let calls = (0..8).map(|writer| {
        let items: Vec<_> = (0..60)
            .filter(|n| n % 3 != writer % 3)
            .map(|n| later(&user(n), 1 + (writer * 7 + n) % 16))
            .collect();
        let key = key.clone();
        async move {
            insist(&key, &items).await;
            items
        }
    });
    let sent = join_all(calls).await.concat();
    let (totals, users) = verified(&key).await;
    assert_eq!(totals.users, 60);
    for held in users {
        let states = sent.iter().filter(|state| state["id"] == held["id"]);
        let latest = states.max_by_key(|state| state["updated_at"].as_str().map(str::to_owned));
        assert_eq!(Some(&held), latest, "the latest state holds");
    }
}

#[test]
fn any_order_and_any_repetition_leave_the_same_totals() {
    let states: Vec<_> = (0..24).map(|n| later(&user(n % 6), n / 6 * 10)).collect();
    let repeated = || (0..states.len()).chain((0..states.len()).step_by(3)).collect::<Vec<_>>();
    let order = (Just(repeated()).prop_shuffle(), 1..10_usize);

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: 6, failure_persistence: None, ..Config::default() });
    runner
        .run(&order, |(order, size)| {
            runtime.block_on(async {
                let key = Workspace::new().await.key().await;
                let events: Vec<_> = order.iter().map(|n| states[*n].clone()).collect();
                for batch in events.chunks(size) {
                    insist(&key, batch).await;
                }
                let (totals, users) = verified(&key).await;
                prop_assert_eq!(&users, &states[18..], "the latest state of each holds");
                prop_assert_eq!(totals, Totals::of(&states[18..]));
                Ok(())
            })
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
