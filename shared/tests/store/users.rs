//! Users: totals that are exact whoever writes when, and pages that show everyone once.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, Duration, NaiveDate, Utc};
use futures::future::join_all;
use shared::{
    Error,
    identity::Workspace,
    lambda::Env,
    ledger::{Ledger, Outcome, UserPage, UserTotals, Window, users::User},
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

/// A user whose words follow from the version, so that versions can be told apart.
fn user(id: usize, signed_up_at: DateTime<Utc>, version: i64) -> User {
    User {
        id: format!("u{id:03}"),
        email: None,
        username: format!("user {id}"),
        role: ["admin", "member", "guest"][usize::try_from(version).unwrap() % 3].to_owned(),
        status: ["active", "paused"][id % 2].to_owned(),
        signed_up_at,
        updated_at: at("2026-05-01T00:00:00Z") + Duration::hours(version),
    }
}

async fn all_pages(ledger: &Ledger, limit: u64) -> (Vec<UserTotals>, Vec<User>) {
    let (mut totals, mut users, mut cursor) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let page = ledger.users(&acme(), limit, cursor.as_deref(), at(NOW)).await.unwrap();
        assert!(page.users.len() <= usize::try_from(limit).unwrap());
        totals.push(page.totals);
        // As a reader gets them: text.
        let read = serde_json::to_value(page.users).unwrap();
        users.extend(serde_json::from_value::<Vec<User>>(read).unwrap());
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return (totals, users),
        }
    }
}

/// Totals by counting the users themselves.
fn counted(users: &[User], today: NaiveDate) -> UserTotals {
    let mut totals = UserTotals { total_users: users.len() as u64, ..UserTotals::default() };
    for user in users {
        *totals.users_by_role.entry(user.role.clone()).or_default() += 1;
        *totals.users_by_status.entry(user.status.clone()).or_default() += 1;
        let day = user.signed_up_at.date_naive();
        totals.recent_signups += u64::from(today - Days::new(30) < day && day <= today);
    }
    totals
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_over_the_same_users_leave_exact_totals() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "UTC");
    let joined = |id: usize| at("2026-04-10T10:00:00Z") + Duration::days(i64::try_from(id % 45).unwrap());
    // Each writer has other versions of the same users, in another order.
    let writers = (0..12_i64).map(|writer| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            for round in 0..3_usize {
                let ids = (0..60).map(|n| (n * 7 + round * 13 + usize::try_from(writer).unwrap()) % 60);
                let users: Vec<_> = ids.map(|id| user(id, joined(id), writer)).collect();
                // Who loses too often is told to come again, and finds stored what was.
                let mut calls = 0;
                while let Err(error) = ledger.put(&acme(), users.clone(), at(NOW)).await {
                    calls += 1;
                    assert!(calls < 20, "{error}");
                }
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|done| done.unwrap());
    let (totals, users) = all_pages(&ledger, 100).await;
    assert_eq!(users.len(), 60);
    assert!(users.iter().all(|user| user.role == "guest"), "the newest version, 11, holds for all");
    assert_eq!(totals, [counted(&users, at(NOW).date_naive())]);
}

#[tokio::test]
async fn pages_show_everyone_once_and_the_same_totals() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "UTC");
    // More recent days than a page has users, so that counters outweigh them.
    let joined = |id: usize| at("2026-05-02T10:00:00Z") + Duration::days(i64::try_from(id % 30).unwrap());
    for chunk in (0..130).collect::<Vec<_>>().chunks(10) {
        let users = chunk.iter().map(|id| user(*id, joined(*id), 0)).collect();
        ledger.put(&acme(), users, at(NOW)).await.unwrap();
    }
    for limit in [1, 7, 65, 100] {
        let (totals, users) = all_pages(&ledger, limit).await;
        let ids: Vec<_> = users.iter().map(|user| user.id.clone()).collect();
        assert_eq!(ids, (0..130).map(|id| format!("u{id:03}")).collect::<Vec<_>>(), "{limit}");
        let expected = counted(&users, at(NOW).date_naive());
        assert!(totals.iter().all(|totals| *totals == expected), "{limit}: {totals:?}");
    }
}

#[tokio::test]
async fn every_change_has_its_outcome() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "UTC");
    let joined = at("2026-05-01T10:00:00Z");
    let one = |version| user(1, joined, version);
    let calls = [
        ("within one call", vec![one(2), one(2), one(1), one(3)]),
        ("another call", vec![one(3), one(2), user(2, joined, 0)]),
    ];
    let outcomes = [
        vec![Outcome::Created, Outcome::Unchanged, Outcome::Stale, Outcome::Updated],
        vec![Outcome::Unchanged, Outcome::Stale, Outcome::Created],
    ];
    for ((case, users), expected) in calls.into_iter().zip(outcomes) {
        assert_eq!(ledger.put(&acme(), users, at(NOW)).await.unwrap(), expected, "{case}");
    }
    let (totals, users) = all_pages(&ledger, 100).await;
    assert_eq!(totals, [counted(&users, at(NOW).date_naive())]);
}

#[tokio::test]
async fn a_window_counts_and_lists_who_joined_in_it() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "Pacific/Auckland");
    // Midnight in Auckland, in May, is noon in UTC the day before.
    let times =
        ["2026-05-09T11:59:59Z", "2026-05-09T12:00:00Z", "2026-05-10T11:59:59Z", "2026-05-10T12:00:00Z"];
    let users = times.iter().enumerate().map(|(id, time)| user(id, at(time), 0)).collect();
    ledger.put(&acme(), users, at(NOW)).await.unwrap();
    let window = async |from: &str, to: &str, limit: u64, cursor: Option<String>| -> UserPage {
        let window = Window::new(from.parse().unwrap(), Some(to.parse().unwrap()), NaiveDate::MAX).unwrap();
        ledger.users_joined(&acme(), window, limit, cursor.as_deref()).await.unwrap()
    };
    let ids = |page: &UserPage| page.users.iter().map(|user| user.id.clone()).collect::<Vec<_>>();

    let day = window("2026-05-10", "2026-05-11", 100, None).await;
    assert_eq!((day.totals.total_users, ids(&day)), (2, vec!["u002".to_owned(), "u001".to_owned()]));
    let days = window("2026-05-09", "2026-05-12", 3, None).await;
    assert_eq!((days.totals.total_users, ids(&days).join(" ")), (4, "u003 u002 u001".to_owned()));
    let rest = window("2026-05-09", "2026-05-12", 3, days.next_cursor).await;
    assert_eq!((rest.totals.total_users, ids(&rest).join(" ")), (4, "u000".to_owned()));
    assert_eq!(rest.next_cursor, None);
    let elsewhere = Window::new(at(NOW).date_naive(), None, at(NOW).date_naive()).unwrap();
    let cursor = window("2026-05-09", "2026-05-12", 1, None).await.next_cursor;
    let refused = ledger.users_joined(&acme(), elsewhere, 1, cursor.as_deref()).await;
    assert!(matches!(refused.err(), Some(Error::Invalid(_))), "a cursor of another window");
    let none = window("2026-01-01", "2026-02-01", 100, None).await;
    assert_eq!((none.totals, none.users.len()), (UserTotals::default(), 0));
}

#[tokio::test]
async fn another_time_zone_takes_users_off_the_day_that_counts_them() {
    let embedded = Embedded::memory().await.unwrap();
    let joined = at("2026-05-10T20:00:00Z");
    let (utc, auckland) = (ledger(&embedded, "UTC"), ledger(&embedded, "Pacific/Auckland"));
    utc.put(&acme(), vec![user(1, joined, 0)], at(NOW)).await.unwrap();
    auckland.put(&acme(), vec![user(1, joined, 1)], at(NOW)).await.unwrap();
    let mut totals = BTreeMap::new();
    for day in ["2026-05-10", "2026-05-11"] {
        let from: NaiveDate = day.parse().unwrap();
        let window = Window::new(from, from.succ_opt(), NaiveDate::MAX).unwrap();
        let page = auckland.users_joined(&acme(), window, 100, None).await.unwrap();
        totals.insert(day, page.totals.total_users);
    }
    assert_eq!(totals, BTreeMap::from([("2026-05-10", 0), ("2026-05-11", 1)]));
}

#[tokio::test]
async fn sign_ups_are_recent_for_thirty_days() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "UTC");
    ledger.put(&acme(), vec![user(1, at("2026-05-02T10:00:00Z"), 0)], at(NOW)).await.unwrap();
    for (now, recent) in [("2026-05-31T23:59:59Z", 1), ("2026-06-01T00:00:00Z", 0)] {
        let page = ledger.users(&acme(), 100, None, at(now)).await.unwrap();
        assert_eq!((page.totals.total_users, page.totals.recent_signups), (1, recent), "{now}");
    }
}

#[tokio::test]
async fn workspaces_do_not_see_each_other() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded, "UTC");
    ledger.put(&acme(), (0..3).map(|id| user(id, at(NOW), 0)).collect::<Vec<_>>(), at(NOW)).await.unwrap();
    let cursor = ledger.users(&acme(), 1, None, at(NOW)).await.unwrap().next_cursor.unwrap();
    let other: Workspace = "other".parse().unwrap();
    let page = ledger.users(&other, 100, None, at(NOW)).await.unwrap();
    assert_eq!((page.totals, page.users.len()), (UserTotals::default(), 0));
    assert!(ledger.users(&other, 100, Some(&cursor), at(NOW)).await.is_err());
}
