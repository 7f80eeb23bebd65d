//! Users to send, and the totals that recomputing from them gives.

use std::{collections::BTreeMap, sync::LazyLock};

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::Key;

const ROLES: [&str; 3] = ["customer", "reseller", "pro_reseller"];
const STATUSES: [&str; 2] = ["active", "paused"];

/// The same for all calls, so that one user is always the same.
static NOW: LazyLock<DateTime<Utc>> = LazyLock::new(Utc::now);

/// The `n`th user: every fifth signed up long ago, the others within the last three weeks.
#[must_use]
pub fn user(n: usize) -> Value {
    let days = if n.is_multiple_of(5) { 90 } else { n % 20 };
    let days = Duration::days(i64::try_from(days).unwrap_or_default());
    json!({
        "id": format!("user-{n:04}"),
        "email": format!("user-{n}@example.com"),
        "username": format!("User {n}"),
        "role": ROLES[n % ROLES.len()],
        "status": STATUSES[n % STATUSES.len()],
        "signed_up_at": time(*NOW - days - Duration::hours(1)),
        "updated_at": "2026-01-01T00:00:00Z",
    })
}

/// The same user as of `minute` minutes later, with another role and status.
#[must_use]
pub fn later(user: &Value, minute: usize) -> Value {
    let mut user = user.clone();
    user["role"] = json!(ROLES[minute % ROLES.len()]);
    user["status"] = json!(STATUSES[minute / 2 % STATUSES.len()]);
    let since = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap_or_default().to_utc();
    user["updated_at"] = json!(time(since + Duration::minutes(i64::try_from(minute).unwrap_or_default())));
    user
}

/// As answers spell times.
#[must_use]
pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Totals of a workspace's users.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many.
    pub users: u64,
    by_role: BTreeMap<String, u64>,
    by_status: BTreeMap<String, u64>,
    recent: u64,
}

impl Totals {
    /// Recomputed from users.
    #[must_use]
    pub fn of<'a>(users: impl IntoIterator<Item = &'a Value>) -> Self {
        let recent = Utc::now() - Duration::days(30);
        let mut totals = Self::default();
        for user in users {
            let text = |name: &str| user[name].as_str().expect("text").to_owned();
            totals.users += 1;
            *totals.by_role.entry(text("role")).or_default() += 1;
            *totals.by_status.entry(text("status")).or_default() += 1;
            let signed_up = DateTime::parse_from_rfc3339(&text("signed_up_at")).expect("a time");
            totals.recent += u64::from(signed_up > recent);
        }
        totals
    }

    /// As an answer tells them.
    #[must_use]
    pub fn told(answer: &Value) -> Self {
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number: {answer}"));
        let counts = |name: &str| {
            let counts = answer[name].as_object().unwrap_or_else(|| panic!("no {name}: {answer}"));
            counts.iter().map(|(name, count)| (name.clone(), number(count))).collect()
        };
        Self {
            users: number(&answer["total_users"]),
            by_role: counts("users_by_role"),
            by_status: counts("users_by_status"),
            recent: number(&answer["recent_signups"]),
        }
    }
}

/// All that a key reads, page by page: the first answer's totals and every user. Insists that
/// each page but the last is full.
pub async fn read_all(key: &Key, limit: usize, more: &str) -> (Totals, Vec<Value>) {
    let mut answer = key.sync(&format!("?limit={limit}{more}")).await.json(200);
    let totals = Totals::told(&answer);
    let mut users = Vec::new();
    loop {
        let page = answer["users"].as_array().expect("a list of users").clone();
        let length = page.len();
        users.extend(page);
        let Some(cursor) = answer["next_cursor"].as_str() else { return (totals, users) };
        assert_eq!(length, limit, "a page before the last is full");
        answer = key.sync(&format!("?limit={limit}&cursor={cursor}{more}")).await.json(200);
    }
}

/// Reads everything and insists that the totals are what the users recompute to.
pub async fn verified(key: &Key) -> (Totals, Vec<Value>) {
    let (totals, users) = read_all(key, 100, "").await;
    assert_eq!(totals, Totals::of(&users), "totals equal recomputation from the listed users");
    (totals, users)
}

/// A small company, by kind of entity: 85 subscriptions that bring 8,500 a month, and 15,750 that
/// were paid.
#[must_use]
pub fn example() -> Vec<(&'static str, Vec<Value>)> {
    let (mut subscriptions, mut transactions) = (Vec::new(), Vec::new());
    let paid = |id: String, kind: &str, plan: Option<&str>, amount: u64| {
        json!({
            "id": id, "kind": kind, "plan": plan, "customer": "someone", "amount": amount, "currency": "USD",
            "status": "succeeded", "occurred_at": "2024-01-10T09:00:00Z", "updated_at": "2024-01-10T09:00:00Z",
        })
    };
    // 3,500, 1,500 and 42,000 ÷ 12 = 3,500 a month; 3,500, 3,500 and 7,500 so far.
    for (plan, count, price, interval, so_far) in [
        ("membership", 50, 7_000, "month", 7_000),
        ("reseller", 25, 6_000, "month", 14_000),
        ("pro_reseller", 10, 420_000, "year", 75_000),
    ] {
        for n in 0..count {
            subscriptions.push(json!({
                "id": format!("{plan}-{n}"), "customer": format!("{plan}-{n}"), "plan": plan, "status": "active",
                "currency": "USD", "items": [{"unit_amount": price, "interval": interval}],
                "started_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z",
            }));
            transactions.push(paid(format!("{plan}-{n}"), "subscription", Some(plan), so_far));
        }
    }
    for n in 0..50 {
        transactions.push(paid(format!("tripwire-{n}"), "tripwire", None, 2_500));
    }
    vec![("subscriptions", subscriptions), ("transactions", transactions)]
}
