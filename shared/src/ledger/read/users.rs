//! Totals and pages of users.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use futures::future::try_join;
use serde::Serialize;

use super::{
    super::{Ledger, counter::Tally, users::User},
    UserQuery, Window,
    query::WINDOW_DAYS,
    totals::{self, Totals},
};
use crate::{
    Error,
    identity::Workspace,
    store::{
        self, Item, cursor,
        key::{self, Counter, Key, USER_SHARDS, USER_SUMS_END, USERS_END},
        number, s, unavailable,
    },
    time,
};

/// Days that count as recent for sign-ups, today included.
const RECENT_DAYS: u64 = 30;
/// Months that these days, and sign-ups that lie a day ahead, can stand in.
const RECENT_MONTHS: u64 = 3;
impl Window {
    /// The last days, which count as recent.
    fn recent(self) -> Self {
        Self { from: self.from.max(self.to - Days::new(RECENT_DAYS)), to: self.to }
    }
}

/// How many users there are, or joined within a window.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct UserTotals {
    /// All of them.
    pub total_users: u64,
    /// … by role. Words that nobody has any more are left away.
    pub users_by_role: BTreeMap<String, u64>,
    /// … by status.
    pub users_by_status: BTreeMap<String, u64>,
    /// Those who joined in the last 30 days (of the window).
    pub recent_signups: u64,
}

/// Totals and a page of users.
#[derive(Serialize)]
pub struct UserPage {
    /// Of all pages together.
    #[serde(flatten)]
    pub totals: UserTotals,
    /// The page.
    pub users: Vec<User<String>>,
    /// Continues the list.
    pub next_cursor: Option<String>,
}

impl Ledger {
    /// Totals and a page of users as they are asked for.
    pub async fn users_asked(
        &self,
        workspace: &Workspace,
        query: &UserQuery,
        now: DateTime<Utc>,
    ) -> Result<UserPage, Error> {
        let cursor = query.cursor.as_deref();
        match query.window {
            Some(window) => self.users_joined(workspace, window, query.limit, cursor).await,
            None => self.users(workspace, query.limit, cursor, now).await,
        }
    }

    /// Totals and a page of users in the order of their ids. The first page is one query; later
    /// ones are two at the same time.
    pub async fn users(
        &self,
        workspace: &Workspace,
        limit: u64,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<UserPage, Error> {
        const LIST: &str = "users";
        let today = self.today(now);
        let recent = Window { from: today - Days::new(RECENT_DAYS - 1), to: today + Days::new(1) };
        let first_month = Key::user_counter(workspace, Counter::month_of(recent.from), 0);
        let counter_rows = u64::from(USER_SHARDS) * (RECENT_MONTHS + 1);
        let (counters, users, more) = match cursor {
            None => {
                let (rows, more) = self.range(&first_month, USERS_END, counter_rows + limit + 1).await?;
                let (counters, users) = split(rows);
                (counters, users, more)
            }
            Some(cursor) => {
                let after = cursor::decode(workspace, LIST, cursor)?;
                let ((counters, _), (users, more)) = try_join(
                    self.range(&first_month, USER_SUMS_END, counter_rows),
                    self.range(&Key::users_after(workspace, &after), USERS_END, limit + 1),
                )
                .await?;
                (split(counters).0, users, more)
            }
        };
        let recent_signups = counters
            .iter()
            .flat_map(|(counter, row)| {
                row.keys().filter_map(move |name| Some((joined_on(*counter, name)?, row, name)))
            })
            .filter(|(day, ..)| recent.contains(*day))
            .map(|(_, row, name)| number::<i128>(row, name))
            .sum();
        let totals = totals_of(&tallied(&counters, |counter| counter == Counter::Sum), recent_signups);
        page(totals, users, limit, more, "id", |id| cursor::encode(workspace, LIST, id))
    }

    /// Totals and a page of the users who joined in a window, newest first. Two queries at the
    /// same time; the list is an index, which follows a write within moments.
    pub async fn users_joined(
        &self,
        workspace: &Workspace,
        window: Window,
        limit: u64,
        cursor: Option<&str>,
    ) -> Result<UserPage, Error> {
        const LIST: &str = "users joined";
        let start = |day| key::sortable(time::start_of(self.zone, day));
        let (from, to) = (start(window.from), start(window.to));
        let start_key = match cursor {
            None => None,
            Some(cursor) => {
                let after = cursor::decode(workspace, LIST, cursor)?;
                // One from another window may lie outside of this one.
                let here = Some(&after).filter(|after| from < **after && **after < to);
                let (_, id) = here.and_then(|after| after.split_once('#')).ok_or_else(cursor::foreign)?;
                let mut item = Key::user(workspace, id).item();
                item.insert("gsi1pk".to_owned(), s(key::users(workspace)));
                item.insert("gsi1sk".to_owned(), s(after));
                Some(item)
            }
        };
        let list = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("gsi1")
            .key_condition_expression("gsi1pk = :pk AND gsi1sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(key::users(workspace)))
            .expression_attribute_values(":from", s(from))
            // Keys go on with `#` after the time, so this leaves out the very start of `to`.
            .expression_attribute_values(":to", s(to))
            .scan_index_forward(false)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start_key);
        let first_day = Key::user_counter(workspace, Counter::Day(window.from), 0);
        let end = Key::user_counter(workspace, Counter::Day(window.to), 0);
        let counter_rows = u64::from(USER_SHARDS) * WINDOW_DAYS;
        let ((counters, _), list) = try_join(self.range(&first_day, &end.sk, counter_rows), async {
            list.send().await.map_err(unavailable)
        })
        .await?;
        let in_window = |counter| matches!(counter, Counter::Day(day) if window.contains(day));
        let recent = window.recent();
        let counters = split(counters).0;
        let recently = |counter| matches!(counter, Counter::Day(day) if recent.contains(day));
        let recent_signups = tallied(&counters, recently).get(Tally::Users);
        let totals = totals_of(&tallied(&counters, in_window), recent_signups);
        let users = list.items.unwrap_or_default();
        page(totals, users, limit, false, "gsi1sk", |place| cursor::encode(workspace, LIST, place))
    }

    /// Rows of a partition from `from` up to the sort key `to`, at most `limit`, and whether
    /// there may be more. One query.
    async fn range(&self, from: &Key, to: &str, limit: u64) -> Result<(Vec<Item>, bool), Error> {
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(&from.pk))
            .expression_attribute_values(":from", s(&from.sk))
            .expression_attribute_values(":to", s(to))
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let found = query.send().await.map_err(unavailable)?;
        Ok((found.items.unwrap_or_default(), found.last_evaluated_key.is_some()))
    }
}

/// What the rows that `counts` picks say together.
fn tallied(counters: &[(Counter, Item)], counts: impl Fn(Counter) -> bool) -> Totals {
    let mut totals = Totals::default();
    for (_, row) in counters.iter().filter(|(counter, _)| counts(*counter)) {
        totals.add_tallies(row);
    }
    totals
}

/// The totals that these tallies are.
pub(super) fn totals_of(tallies: &Totals, recent_signups: i128) -> UserTotals {
    let mut users = UserTotals {
        total_users: totals::count(tallies.get(Tally::Users)),
        recent_signups: totals::count(recent_signups),
        ..UserTotals::default()
    };
    for (tally, value) in tallies.iter() {
        match tally {
            Tally::Role(role) => users.users_by_role.insert(role.to_owned(), totals::count(value)),
            Tally::Status(status) => users.users_by_status.insert(status.to_owned(), totals::count(value)),
            _ => None,
        };
    }
    users
}

/// The counters among the rows of the partition, and the users.
fn split(rows: Vec<Item>) -> (Vec<(Counter, Item)>, Vec<Item>) {
    let (mut counters, mut users) = (Vec::new(), Vec::new());
    for row in rows {
        match row.get("sk").and_then(|sk| Counter::of(sk.as_s().ok()?)) {
            Some(counter) => counters.push((counter, row)),
            None => users.push(row),
        }
    }
    (counters, users)
}

/// The day whose sign-ups an attribute of a month's row counts.
fn joined_on(counter: Counter, attribute: &str) -> Option<NaiveDate> {
    match counter {
        Counter::Month(first) => first.with_day(attribute.parse().ok()?),
        Counter::Day(_) | Counter::Sum => None,
    }
}

/// The first `limit` of `users`, and a cursor if there are more: it holds what the last one has
/// in the attribute `place`.
fn page(
    totals: UserTotals,
    mut users: Vec<Item>,
    limit: u64,
    more: bool,
    place: &str,
    cursor: impl Fn(&str) -> String,
) -> Result<UserPage, Error> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = more || users.len() > limit;
    users.truncate(limit);
    let last = users.last().filter(|_| more).and_then(|last| last.get(place)?.as_s().ok());
    let next_cursor = last.map(|place| cursor(place));
    let users = users.into_iter().map(store::entity).collect::<Result<_, _>>()?;
    Ok(UserPage { totals, users, next_cursor })
}
