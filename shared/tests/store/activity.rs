//! The activity log: newest first, whole, in pages, and by whom, what and when.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use shared::{
    Error,
    activity::{Activity, Filter},
    identity::Person,
    keys::{ApiKey, Environment, KeyAdmin, Order, Permission},
};
use tidegate::embedded::Embedded;

use crate::{admin, at};

struct World {
    embedded: Embedded,
    activity: Activity,
    keys: KeyAdmin,
}

impl World {
    async fn new() -> Self {
        let embedded = Embedded::memory().await.unwrap();
        Self {
            activity: Activity::reader(&embedded.env("activity"), &embedded.sdk()).unwrap(),
            keys: KeyAdmin::load(&embedded.env("keys"), &embedded.sdk()).unwrap(),
            embedded,
        }
    }

    /// Any change that is recorded; returns its target.
    async fn change(&self, person: &Person, now: DateTime<Utc>) -> String {
        let order = Order {
            name: "partner".to_owned(),
            permissions: vec![Permission::ReadMetrics],
            expires_in_days: 365,
            rate_limit: 1000,
            sync_rate_limit: 300,
            user_id: None,
            environment: Environment::Live,
        };
        let (key, _) = ApiKey::issue(person, order, now);
        self.keys.insert(person, &key, now).await.unwrap();
        key.id
    }

    async fn page(
        &self,
        person: &Person,
        filter: &Filter,
        limit: u64,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Value, Error> {
        let page = self.activity.list(&person.workspace, filter, limit, cursor, now).await?;
        Ok(serde_json::to_value(&page).unwrap())
    }

    /// All entries, read in pages.
    async fn all(&self, person: &Person, filter: &Filter, limit: u64, now: DateTime<Utc>) -> Vec<Value> {
        let (mut entries, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = self.page(person, filter, limit, cursor.as_deref(), now).await.unwrap();
            let read = page["entries"].as_array().unwrap();
            assert!(read.len() <= usize::try_from(limit).unwrap(), "{page}");
            entries.extend(read.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return entries,
            }
        }
    }
}

fn targets(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["target"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_go_on_over_months_without_gap_or_repeat() {
    let (world, ada) = (World::new().await, admin("acme"));
    let mut made = Vec::new();
    // Some months have none, and two entries share a moment.
    for time in [
        "2025-11-30T23:59:59.999Z",
        "2025-12-01T00:00:00Z",
        "2026-02-28T12:00:00Z",
        "2026-02-28T12:00:00Z",
        "2026-05-01T00:00:00Z",
        "2026-05-31T23:59:59Z",
    ] {
        made.insert(0, world.change(&ada, at(time)).await);
    }
    let now = at("2026-06-15T00:00:00Z");
    for limit in [1, 2, 3, 5, 6, 100] {
        let entries = world.all(&ada, &Filter::default(), limit, now).await;
        let mut times: Vec<_> = entries.iter().map(|entry| entry["at"].as_str().unwrap()).collect();
        assert_eq!(times[5], "2025-11-30T23:59:59.999Z");
        times.pop();
        assert!(times.is_sorted_by(|one, other| one >= other), "{times:?}");
        let (mut listed, mut made) = (targets(&entries), made.iter().map(String::as_str).collect::<Vec<_>>());
        listed.sort_unstable();
        made.sort_unstable();
        assert_eq!(listed, made, "limit {limit}");
    }
}

#[tokio::test]
async fn every_filter_picks_what_it_says_and_nothing_else() {
    let (world, ada) = (World::new().await, admin("acme"));
    let grace = Person { subject: "user_2".to_owned(), ..ada.clone() };
    let day = at("2026-05-10T10:00:00Z");
    let old = world.change(&grace, day - Duration::days(500)).await;
    let first = world.change(&ada, day).await;
    let second = world.change(&grace, day + Duration::days(1)).await;
    world.keys.revoke(&grace, &first, "left", day + Duration::days(2)).await.unwrap();
    let now = day + Duration::days(3);
    let filter = Filter::default;
    let some = |text: &str| Some(text.to_owned());
    for (case, filter, expected) in [
        ("all of a year", filter(), vec![&first, &second, &first]),
        ("an actor", Filter { actor: some("user_2"), ..filter() }, vec![&first, &second, &old]),
        ("a target", Filter { target: Some(first.clone()), ..filter() }, vec![&first, &first]),
        ("an old target", Filter { target: Some(old.clone()), ..filter() }, vec![&old]),
        ("both", Filter { target: Some(first.clone()), actor: some("user_1"), ..filter() }, vec![&first]),
        ("an action", Filter { action: some("api_key.revoked"), ..filter() }, vec![&first]),
        ("a kind", Filter { action: some("api_key."), ..filter() }, vec![&first, &second, &first]),
        ("part of a word", Filter { action: some("api_key.rev"), ..filter() }, vec![]),
        (
            "actor and action",
            Filter { actor: some("user_2"), action: some("api_key.generated"), ..filter() },
            vec![&second, &old],
        ),
        ("from", Filter { from: Some(day + Duration::days(1)), ..filter() }, vec![&first, &second]),
        (
            "to leaves out its start",
            Filter { to: Some(day + Duration::days(2)), ..filter() },
            vec![&second, &first],
        ),
        (
            "a window of a target",
            Filter { target: Some(first.clone()), to: Some(day + Duration::hours(1)), ..filter() },
            vec![&first],
        ),
        ("nobody", Filter { actor: some("user_3"), ..filter() }, vec![]),
    ] {
        for limit in [1, 2, 100] {
            let entries = world.all(&ada, &filter, limit, now).await;
            assert_eq!(targets(&entries), expected, "{case}, limit {limit}");
        }
    }
    let nobody = admin("other");
    assert_eq!(world.all(&nobody, &filter(), 100, now).await, Vec::<Value>::new());
    let theirs = Filter { target: Some(first), ..filter() };
    assert_eq!(world.all(&nobody, &theirs, 100, now).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_request_reads_a_bounded_number_of_entries() {
    let (world, ada) = (World::new().await, admin("acme"));
    let start = at("2026-05-01T00:00:00Z");
    let rare = world.change(&ada, start).await;
    world.keys.revoke(&ada, &rare, "left", start + Duration::seconds(1)).await.unwrap();
    let table = activity_table(&world.embedded);
    let client = aws_sdk_dynamodb::Client::new(&world.embedded.sdk());
    let row = client.query().table_name(&table).key_condition_expression("pk = :pk");
    let row = row.expression_attribute_values(":pk", text("WORKSPACE#acme#2026-05")).limit(1);
    let row = row.send().await.unwrap().items.unwrap().remove(0);
    for second in 0..1500 {
        let time =
            (start + Duration::seconds(10 + second)).to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut copy = row.clone();
        copy.insert("sk".to_owned(), text(&format!("{time}#act_{second}")));
        client.put_item().table_name(&table).set_item(Some(copy)).send().await.unwrap();
    }
    let now = start + Duration::days(1);
    let filter = Filter { action: Some("api_key.revoked".to_owned()), ..Filter::default() };
    let first = world.page(&ada, &filter, 10, None, now).await.unwrap();
    assert_eq!(first["entries"], json!([]), "1,000 entries were read and none was picked");
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let second = world.page(&ada, &filter, 10, Some(cursor), now).await.unwrap();
    assert_eq!(targets(second["entries"].as_array().unwrap()), [rare.as_str()]);
    assert_eq!(second["next_cursor"], Value::Null);
}

fn text(text: &str) -> aws_sdk_dynamodb::types::AttributeValue {
    aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned())
}

fn activity_table(embedded: &Embedded) -> String {
    embedded.env("activity").required("ACTIVITY_TABLE").unwrap()
}

#[tokio::test]
async fn what_cannot_be_read_at_a_bounded_cost_is_refused() {
    let (world, ada) = (World::new().await, admin("acme"));
    let now = at("2026-05-10T10:00:00Z");
    let long = Filter { from: Some(now - Duration::days(400)), ..Filter::default() };
    let refused = world.page(&ada, &long, 10, None, now).await;
    assert!(matches!(&refused, Err(Error::Invalid(errors)) if errors[0].field == "from"), "{refused:?}");
    let of_one = Filter { actor: Some("user_1".to_owned()), ..long };
    assert!(world.page(&ada, &of_one, 10, None, now).await.is_ok());
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let (world, ada) = (World::new().await, admin("acme"));
    let now = at("2026-05-10T10:00:00Z");
    for day in 0..3 {
        world.change(&ada, now + Duration::days(day)).await;
    }
    let now = now + Duration::days(4);
    let page = world.page(&ada, &Filter::default(), 1, None, now).await.unwrap();
    let cursor = page["next_cursor"].as_str().unwrap();
    let elsewhere = Filter { to: Some(at("2026-05-11T00:00:00Z")), ..Filter::default() };
    for (case, person, filter, cursor) in [
        ("another workspace", &admin("other"), &Filter::default(), cursor),
        ("another window", &ada, &elsewhere, cursor),
        ("junk", &ada, &Filter::default(), "junk"),
    ] {
        let refused = world.page(person, filter, 1, Some(cursor), now).await;
        assert!(matches!(&refused, Err(Error::Invalid(errors)) if errors[0].field == "cursor"), "{case}");
    }
}

#[tokio::test]
async fn an_entry_holds_no_secret_that_a_person_typed() {
    let (world, ada) = (World::new().await, admin("acme"));
    let now = at("2026-05-10T10:00:00Z");
    let id = world.change(&ada, now).await;
    let leaked = format!("rr_l{}", "x".repeat(36));
    let reason = format!("{leaked} was posted by ada@example.com");
    world.keys.revoke(&ada, &id, &reason, now + Duration::seconds(1)).await.unwrap();
    let entries = world.all(&ada, &Filter::default(), 100, now + Duration::days(1)).await;
    assert_eq!(entries[0]["detail"]["reason"], "[redacted] was posted by [redacted]");
    assert_eq!((&entries[0]["actor"], &entries[0]["actor_kind"]), (&json!("user_1"), &json!("person")));
    assert_eq!(entries[0]["action"], "api_key.revoked");
}
