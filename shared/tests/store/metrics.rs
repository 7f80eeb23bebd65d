//! Reading the ledger: what is told equals what the entities add up to, at any cut.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, Duration, NaiveDate, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use shared::{
    fields::Fields,
    identity::Workspace,
    lambda::Env,
    ledger::{
        Entity, ExplanationQuery, HistoryQuery, Ledger, Query, commissions::Commission, money::Currency,
        policy::Policy, subscriptions::Subscription, transactions::Transaction, users::User,
    },
};
use tidegate::embedded::Embedded;

use crate::at;

const NOW: &str = "2026-05-31T12:00:00Z";

fn ledger(embedded: &Embedded, zone: &str) -> Ledger {
    let env = Env::of([("LEDGER_TABLE", "LedgerTable"), ("TIME_ZONE", zone)]);
    Ledger::load(&env, &embedded.sdk()).unwrap()
}

fn acme() -> Workspace {
    "acme".parse().unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// As a reader gets it.
fn told(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap()
}

fn fields(value: Value) -> Fields {
    Fields::of("", value).unwrap()
}

fn query(parameters: Value) -> Query {
    Query::parse(fields(parameters), day("2026-05-31"), Currency::default()).unwrap()
}

async fn put<E: Entity>(ledger: &Ledger, items: &[Value]) {
    for chunk in items.chunks(100) {
        let parsed = chunk.iter().map(|item| E::parse("items", item.clone(), at(NOW)).unwrap()).collect();
        ledger.put::<E>(&acme(), parsed, at(NOW)).await.unwrap();
    }
}

/// The `n`th of transactions over some sixty days, in three currencies.
fn transaction(n: usize) -> Value {
    let amount = 100 + (n * 7919) % 10_000;
    let occurred_at = at("2026-03-20T15:00:00Z") + Duration::hours(i64::try_from(n * 11 % 1_500).unwrap());
    json!({
        "id": format!("t{n:03}"), "customer": "c", "amount": amount, "refunded": if n.is_multiple_of(5) { amount / 3 } else { 0 },
        "kind": (["subscription", "tripwire", "other"][n % 3]), "plan": ([json!("basic"), json!("pro"), Value::Null][n / 3 % 3]),
        "currency": (["USD", "EUR", "JPY"][n % 7 % 3]), "status": if n.is_multiple_of(11) { "failed" } else { "succeeded" },
        "occurred_at": occurred_at, "updated_at": occurred_at,
    })
}

/// Net minor units of USD transactions in a time, by these.
fn net(items: &[Value], keep: impl Fn(&Value, DateTime<Utc>) -> bool) -> i64 {
    items
        .iter()
        .filter(|item| item["currency"] == "USD" && item["status"] == "succeeded")
        .filter(|item| keep(item, at(item["occurred_at"].as_str().unwrap())))
        .map(|item| item["amount"].as_i64().unwrap() - item["refunded"].as_i64().unwrap())
        .sum()
}

/// A number of an answer in minor units.
fn minor(value: &Value) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "amounts of tests are small")]
    let minor = (value.as_f64().unwrap_or_else(|| panic!("no number: {value}")) * 100.0).round() as i64;
    minor
}

#[tokio::test]
async fn windows_and_series_are_what_transactions_of_the_days_add_up_to() {
    let embedded = Embedded::memory().await.unwrap();
    // Days begin at 10 or 9 in the evening of UTC's day before: the clock changes on 29 March.
    let ledger = ledger(&embedded, "Africa/Cairo");
    let items: Vec<_> = (0..150).map(transaction).collect();
    put::<Transaction>(&ledger, &items).await;
    let zone = chrono_tz::Africa::Cairo;
    let on = |time: DateTime<Utc>| time.with_timezone(&zone).date_naive();
    for (case, parameters, from, to) in [
        ("all", json!({}), "1970-01-01", "9999-01-01"),
        ("a day", json!({"from": "2026-04-24", "to": "2026-04-25"}), "2026-04-24", "2026-04-25"),
        ("over a month's end", json!({"from": "2026-03-25", "to": "2026-05-03"}), "2026-03-25", "2026-05-03"),
        ("up to today", json!({"from": "2026-05-01"}), "2026-05-01", "9999-01-01"),
        ("nothing", json!({"from": "2026-01-01", "to": "2026-03-01"}), "2026-01-01", "2026-03-01"),
    ] {
        let (from, to) = (day(from), day(to));
        let within = |time| from <= on(time) && on(time) < to;
        let answer = told(ledger.revenue(&acme(), &query(parameters.clone()), at(NOW)).await.unwrap());
        assert_eq!(minor(&answer["total_revenue"]), net(&items, |_, time| within(time)), "{case}: {answer}");
        for kind in ["subscription", "tripwire", "other"] {
            let expected = net(&items, |item, time| within(time) && item["kind"] == kind);
            assert_eq!(minor(&answer[format!("{kind}_revenue")]), expected, "{case}: {kind}: {answer}");
        }
        let plans = answer["subscription_breakdown"].as_object().unwrap();
        let of_plans: i64 = plans.values().map(|plan| minor(&plan["revenue"])).sum();
        assert_eq!(of_plans, minor(&answer["subscription_revenue"]), "{case}: {answer}");
        let detailed = told(ledger.revenue_in_detail(&acme(), &query(parameters), at(NOW)).await.unwrap());
        let failed = items.iter().filter(|item| item["status"] == "failed" && item["currency"] == "USD");
        let failed = failed.filter(|item| within(at(item["occurred_at"].as_str().unwrap()))).count();
        assert_eq!(detailed["failed_transactions"], failed, "{case}: {detailed}");
        for (name, value) in answer.as_object().unwrap() {
            assert_eq!(&detailed[name], value, "{case}: people see what tools read: {name}");
        }
    }
    let asked = json!({"metric": "revenue", "from": "2026-03-01", "to": "2026-06-01"});
    let asked = HistoryQuery::parse(fields(asked), day("2026-05-31"), Currency::default()).unwrap();
    let history = told(ledger.history(&acme(), &asked).await.unwrap());
    let days = history["days"].as_array().unwrap();
    assert_eq!(days.len(), 92, "every day is there");
    for one in days {
        let date = day(one["date"].as_str().unwrap());
        assert_eq!(minor(&one["revenue"]), net(&items, |_, time| on(time) == date), "{one}");
    }
}

#[tokio::test]
async fn pages_show_every_transaction_once_and_newest_first() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "UTC");
    let mut items: Vec<_> = (0..40).map(transaction).collect();
    for item in items.iter_mut().take(8) {
        // Of the same moment, the ids decide.
        item["occurred_at"] = json!("2026-04-01T00:00:00Z");
    }
    put::<Transaction>(&ledger, &items).await;
    let place = |item: &Value| (at(item["occurred_at"].as_str().unwrap()), item["id"].to_string());
    items.sort_by_key(|item| std::cmp::Reverse(place(item)));
    for (case, window, limit) in [
        ("all, by ones", json!({}), 1),
        ("all, by sevens", json!({}), 7),
        ("all at once", json!({}), 40),
        ("a window from the shared moment on", json!({"from": "2026-04-01", "to": "2026-05-01"}), 3),
        ("a window that the shared moment ends", json!({"from": "2026-03-01", "to": "2026-04-01"}), 3),
    ] {
        let limits = |item: &&Value| {
            let date = place(item).0.date_naive();
            window["from"].as_str().is_none_or(|from| day(from) <= date)
                && window["to"].as_str().is_none_or(|to| date < day(to))
        };
        let expected: Vec<_> = items.iter().filter(limits).map(|item| item["id"].clone()).collect();
        let mut seen = Vec::new();
        let mut parameters = window.clone();
        parameters["limit"] = json!(limit.to_string());
        loop {
            let answer = told(ledger.revenue(&acme(), &query(parameters.clone()), at(NOW)).await.unwrap());
            let page = answer["recent_transactions"].as_array().unwrap();
            seen.extend(page.iter().map(|item| item["id"].clone()));
            if answer["next_cursor"].is_null() {
                break;
            }
            assert_eq!(page.len(), limit, "{case}: a page before the last is full");
            parameters["cursor"] = answer["next_cursor"].clone();
        }
        assert_eq!(seen, expected, "{case}");
    }
    // A cursor is of one list, one workspace, and a place within the window.
    let answer = told(ledger.revenue(&acme(), &query(json!({"limit": "1"})), at(NOW)).await.unwrap());
    let cursor = answer["next_cursor"].clone();
    let here = query(json!({"cursor": cursor}));
    assert!(ledger.revenue(&acme(), &here, at(NOW)).await.is_ok());
    assert!(ledger.revenue(&"other".parse().unwrap(), &here, at(NOW)).await.is_err(), "another workspace");
    assert!(ledger.commissions(&acme(), &here).await.is_err(), "another list");
    let elsewhere = query(json!({"cursor": cursor, "from": "2026-03-01", "to": "2026-03-02"}));
    assert!(ledger.revenue(&acme(), &elsewhere, at(NOW)).await.is_err(), "outside of the window");
}

fn commission(id: usize, username: &str, amount: i64, currency: &str, occurred_at: &str) -> Value {
    json!({
        "id": format!("c{id}"), "username": username, "tier": (["gold", "silver"][id % 2]), "amount": amount,
        "currency": currency, "transaction": "t", "occurred_at": occurred_at, "updated_at": occurred_at,
    })
}

#[tokio::test]
async fn performers_stand_by_what_they_earned_and_then_by_name() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "UTC");
    let (march, april) = ("2026-03-10T00:00:00Z", "2026-04-10T00:00:00Z");
    let mut items = vec![
        commission(1, "ada", 500, "USD", march),
        commission(2, "ada", 700, "USD", april),
        commission(3, "Zoë #1", 1_200, "USD", march),
        commission(4, "bob", 9_999, "EUR", march),
        commission(5, "nobody", 0, "USD", march),
    ];
    items.extend((10..22).map(|n| commission(n, &format!("same {n}"), 100, "USD", april)));
    put::<Commission>(&ledger, &items).await;
    for (case, parameters, first) in [
        ("all", json!({}), vec![("Zoë #1", 12.0), ("ada", 12.0), ("same 10", 1.0), ("same 11", 1.0)]),
        ("march", json!({"from": "2026-03-01", "to": "2026-04-01"}), vec![("Zoë #1", 12.0), ("ada", 5.0)]),
        ("april", json!({"from": "2026-04-01", "to": "2026-05-01"}), vec![("ada", 7.0), ("same 10", 1.0)]),
        ("euros", json!({"currency": "eur"}), vec![("bob", 99.99)]),
    ] {
        let answer = told(ledger.commissions(&acme(), &query(parameters)).await.unwrap());
        let performers = answer["top_performers"].as_array().unwrap();
        assert!(performers.len() <= 10, "{case}: {answer}");
        let shown: Vec<_> = performers
            .iter()
            .map(|one| (one["username"].as_str().unwrap(), one["total_commission"].as_f64().unwrap()))
            .take(first.len())
            .collect();
        assert_eq!(shown, first, "{case}");
        let tiers = answer["commission_by_tier"].as_object().unwrap();
        let of_tiers: i64 = tiers.values().map(|tier| minor(&tier["total"])).sum();
        assert_eq!(of_tiers, minor(&answer["total_commissions"]), "{case}: {answer}");
        let counts: u64 = tiers.values().map(|tier| tier["count"].as_u64().unwrap()).sum();
        assert_eq!(answer["total_transactions"], counts, "{case}: {answer}");
    }
}

fn subscription(id: usize, status: &str, started_at: &str, updated_at: &str) -> Value {
    json!({
        "id": format!("s{id}"), "customer": "c", "plan": (["basic", "pro"][id % 2]), "status": status, "currency": "USD",
        "items": [{"unit_amount": 1_000, "interval": "month", "quantity": id}],
        "started_at": started_at, "updated_at": updated_at,
    })
}

async fn then(ledger: &Ledger, date: &str) -> Value {
    told(ledger.revenue_as_of(&acme(), day(date), Policy::Default, Currency::default()).await.unwrap())
}

#[tokio::test]
async fn a_past_day_stays_as_it_was_until_something_else_is_told_of_it() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "UTC");
    put::<Subscription>(
        &ledger,
        &[subscription(1, "active", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z")],
    )
    .await;
    put::<Subscription>(
        &ledger,
        &[subscription(2, "active", "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z")],
    )
    .await;
    let paid = |refunded: i64, updated_at: &str| {
        json!({
            "id": "t1", "kind": "subscription", "plan": "pro", "customer": "c", "amount": 5_000, "refunded": refunded,
            "currency": "USD", "status": "succeeded", "occurred_at": "2026-03-05T00:00:00Z", "updated_at": updated_at,
        })
    };
    put::<Transaction>(&ledger, &[paid(0, "2026-03-05T00:00:00Z")]).await;
    let days =
        ["2026-01-31", "2026-02-15", "2026-03-04", "2026-03-05", "2026-04-09", "2026-04-10", "2026-05-31"];
    let mut before = BTreeMap::new();
    for date in days {
        let answer = then(&ledger, date).await;
        assert_eq!(answer, then(&ledger, date).await, "{date}: asked twice");
        before.insert(date, answer);
    }
    for (date, mrr, active, total) in [
        ("2026-01-31", 0, 0, 0),
        ("2026-02-15", 10, 1, 0),
        ("2026-03-04", 30, 2, 0),
        ("2026-05-31", 30, 2, 50),
    ] {
        let answer = &before[date];
        assert_eq!(answer["monthly_recurring_revenue"], mrr, "{date}: {answer}");
        assert_eq!(answer["active_subscriptions"], active, "{date}: {answer}");
        assert_eq!(answer["total_revenue"], total, "{date}: {answer}");
    }
    // A refund and an end on 10 April, told now, are of that day and later ones.
    put::<Transaction>(&ledger, &[paid(2_000, "2026-04-10T09:00:00Z")]).await;
    put::<Subscription>(
        &ledger,
        &[subscription(2, "canceled", "2026-03-01T00:00:00Z", "2026-04-10T09:00:00Z")],
    )
    .await;
    for date in days {
        let answer = then(&ledger, date).await;
        if date < "2026-04-10" {
            assert_eq!(answer, before[date], "{date}");
        } else {
            assert_ne!(answer["digest"], before[date]["digest"], "{date}");
            assert_eq!(
                (&answer["total_revenue"], &answer["monthly_recurring_revenue"], &answer["refunded"]),
                (&json!(30), &json!(10), &json!(20)),
                "{date}: {answer}"
            );
        }
    }
    assert_eq!(
        then(&ledger, "2026-04-10").await["churn_rate_30d"],
        json!(0.5),
        "one of two that were active"
    );
    assert_eq!(then(&ledger, "2026-05-31").await["churned_subscriptions_30d"], 0);
    // The end of a day is what the next one begins with: today's end is what is so now.
    let now = told(ledger.revenue_in_detail(&acme(), &query(json!({})), at(NOW)).await.unwrap());
    let today = then(&ledger, "2026-05-31").await;
    for (name, value) in now.as_object().unwrap() {
        if !["recent_transactions", "next_cursor"].contains(&name.as_str()) {
            assert_eq!(&today[name], value, "{name}");
        }
    }
    // A late version tells something else of February, and of who came and went since.
    let late = subscription(1, "paused", "2026-02-01T00:00:00Z", "2026-02-10T00:00:00Z");
    let last = subscription(1, "active", "2026-02-01T00:00:00Z", "2026-02-20T00:00:00Z");
    put::<Subscription>(&ledger, &[last]).await;
    let (february, march, april) = (
        then(&ledger, "2026-02-15").await,
        then(&ledger, "2026-03-04").await,
        then(&ledger, "2026-04-09").await,
    );
    put::<Subscription>(&ledger, &[late]).await;
    assert_eq!(then(&ledger, "2026-02-15").await["monthly_recurring_revenue"], 0);
    assert_ne!(then(&ledger, "2026-02-15").await["digest"], february["digest"]);
    let told_again = then(&ledger, "2026-03-04").await;
    assert_eq!(told_again["monthly_recurring_revenue"], march["monthly_recurring_revenue"]);
    assert_eq!(told_again["churned_subscriptions_30d"], 1, "it is within thirty days");
    assert_ne!(told_again["digest"], march["digest"]);
    assert_eq!(then(&ledger, "2026-04-09").await, april, "thirty days later all is as before");
}

#[tokio::test]
async fn the_lines_of_an_explanation_add_up_to_the_difference() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "UTC");
    let start = "2026-02-01T00:00:00Z";
    let mut items: Vec<_> = ["active", "past_due", "unpaid", "paused", "trialing", "incomplete"]
        .into_iter()
        .enumerate()
        .map(|(id, status)| subscription(id + 1, status, start, start))
        .collect();
    for (item, duration) in items.iter_mut().zip(["once", "repeating", "once", "forever"]) {
        item["items"][0]["interval"] = json!("week");
        item["discounts"] = json!([{"percent_off": 33.3333, "duration": duration}]);
    }
    let mut free = subscription(9, "active", start, start);
    free["discounts"] = json!([{"percent_off": 100, "duration": "repeating"}]);
    items.push(free);
    put::<Subscription>(&ledger, &items).await;
    for (policy, against) in [
        ("chartmogul", "default"),
        ("profitwell", "default"),
        ("profitwell", "chartmogul"),
        ("default", "default"),
    ] {
        for as_of in [Value::Null, json!("2026-05-30")] {
            let asked = json!({"policy": policy, "against": against, "as_of": as_of});
            let asked =
                ExplanationQuery::parse(fields(asked), day("2026-05-31"), Currency::default()).unwrap();
            let told = told(ledger.explain(&acme(), &asked).await.unwrap());
            for metric in ["monthly_recurring_revenue", "active_subscriptions"] {
                let exact = |value: &Value| (value.as_f64().unwrap() * 1e8).round();
                let lines = told["lines"].as_array().unwrap().iter().filter(|line| line["metric"] == metric);
                let sum: f64 = lines.map(|line| exact(&line["amount"])).sum();
                let number = &told[metric];
                assert!((sum - exact(&number["difference"])).abs() < 0.5, "{policy} {against}: {told}");
                let difference = exact(&number["value"]) - exact(&number["against"]);
                assert!((difference - sum).abs() < 0.5, "{policy} {against}: {told}");
                assert_eq!(sum == 0.0, policy == against, "{policy} {against}: {told}");
            }
        }
    }
}

#[tokio::test]
async fn users_of_a_past_day_are_counted_as_they_were() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "UTC");
    let user = |role: &str, updated_at: &str| {
        json!({
            "id": "u1", "username": "ann", "role": role, "status": "active",
            "signed_up_at": "2026-03-01T10:00:00Z", "updated_at": updated_at,
        })
    };
    put::<User>(&ledger, &[user("member", "2026-03-01T10:00:00Z"), user("admin", "2026-04-01T00:00:00Z")])
        .await;
    for (date, users, roles, recent) in [
        ("2026-02-28", 0, json!({}), 0),
        ("2026-03-01", 1, json!({"member": 1}), 1),
        ("2026-03-30", 1, json!({"member": 1}), 1),
        ("2026-03-31", 1, json!({"member": 1}), 0),
        ("2026-04-01", 1, json!({"admin": 1}), 0),
    ] {
        let then = told(ledger.users_as_of(&acme(), day(date)).await.unwrap());
        assert_eq!(then["total_users"], users, "{date}: {then}");
        assert_eq!(then["users_by_role"], roles, "{date}: {then}");
        assert_eq!(then["recent_signups"], recent, "{date}: {then}");
    }
    let asked = json!({"metric": "users", "from": "2026-02-27", "to": "2026-03-03"});
    let asked = HistoryQuery::parse(fields(asked), day("2026-05-31"), Currency::default()).unwrap();
    let days = told(ledger.history(&acme(), &asked).await.unwrap())["days"].clone();
    let first = day("2026-02-27");
    let expected: Vec<_> = [(0, 0), (0, 0), (1, 1), (0, 1)]
        .into_iter()
        .zip(0..)
        .map(|((signups, total), at)| json!({"date": first + Days::new(at), "signups": signups, "total_users": total}))
        .collect();
    assert_eq!(days, json!(expected));
}
