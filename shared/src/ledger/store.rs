//! The rows of users and of their counters.

use std::collections::{BTreeMap, HashMap};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, TransactWriteItem};
use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use futures::{StreamExt, TryStreamExt, future::try_join, stream};
use serde::Serialize;
use tokio::time::sleep;

use super::{
    Outcome,
    counter::{Deltas, Row},
    users::{self, ROLE, STATUS, Stored, TOTAL, User},
};
use crate::{
    Error, id,
    identity::Workspace,
    lambda::{Env, EnvError},
    store::{
        self, Item, Table, Transacted, cursor,
        key::{self, Key, SHARDS},
        n, number, s, unavailable,
    },
    time,
};

/// Users that one transaction changes at first: each brings at most its own row and two rows of
/// days, and DynamoDB takes 100 rows.
const GROUP: usize = 25;
/// Transactions of one call under way at the same time.
const CONCURRENT: usize = 4;
/// Days that count as recent for sign-ups, today included.
const RECENT_DAYS: u64 = 30;
/// Days of a window at most: their counters then fit into one page of a query.
const WINDOW_DAYS: u64 = 366;

/// The store of the ledger.
#[derive(Clone)]
pub struct Ledger {
    table: Table,
    zone: Tz,
}

/// Days from `from` up to and without `to`, in the workspace's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    from: NaiveDate,
    to: NaiveDate,
}

impl Window {
    /// A window; without `to` it ends with today.
    pub fn new(from: NaiveDate, to: Option<NaiveDate>, today: NaiveDate) -> Result<Self, Error> {
        let to = to.unwrap_or_else(|| today + Days::new(1));
        if to <= from {
            return Err(Error::invalid("to", "must be after `from`"));
        }
        if from + Days::new(WINDOW_DAYS) < to {
            return Err(Error::invalid("from", format!("must be at most {WINDOW_DAYS} days before `to`")));
        }
        Ok(Self { from, to })
    }

    fn contains(self, day: NaiveDate) -> bool {
        self.from <= day && day < self.to
    }

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
    pub users: Vec<User>,
    /// Continues the list.
    pub next_cursor: Option<String>,
}

impl Ledger {
    /// Reads `LEDGER_TABLE` and `TIME_ZONE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let table = Table::load(env, &store::client(sdk), "LEDGER_TABLE")?;
        Ok(Self { table, zone: env.required("TIME_ZONE")? })
    }

    /// The calendar day where the workspace is.
    #[must_use]
    pub fn today(&self, now: DateTime<Utc>) -> NaiveDate {
        time::day_in(self.zone, now)
    }

    /// Takes at most 100 changes of users, in order. One read, and one transaction for each 25
    /// users, four at a time; those that meet another writer are repeated. All of it may be
    /// repeated after a failure: what was stored is then unchanged.
    pub async fn put_users(&self, workspace: &Workspace, users: Vec<User>) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = vec![Outcome::Unchanged; users.len()];
        let mut pending = users.into_iter().enumerate().fold(Vec::<Changes>::new(), |mut pending, change| {
            match pending.iter_mut().find(|changes| changes.id() == change.1.id) {
                Some(changes) => changes.0.push(change),
                None => pending.push(Changes(vec![change])),
            }
            pending
        });
        let mut pauses = store::backoff();
        // Smaller groups meet fewer writers.
        let mut group = GROUP;
        loop {
            let stored = self.stored(workspace, &pending).await?;
            let done: Vec<Vec<(Changes, Option<Vec<Outcome>>)>> = stream::iter(chunks(pending, group))
                .map(|group| self.put_group(workspace, group, &stored))
                .buffer_unordered(CONCURRENT)
                .try_collect()
                .await?;
            pending = Vec::new();
            for (changes, result) in done.into_iter().flatten() {
                match result {
                    Some(result) => {
                        for ((at, _), outcome) in changes.0.iter().zip(result) {
                            outcomes[*at] = outcome;
                        }
                    }
                    None => pending.push(changes),
                }
            }
            if pending.is_empty() {
                return Ok(outcomes);
            }
            let pause = pauses.next().ok_or_else(|| unavailable("too many writers at once"))?;
            sleep(pause).await;
            group = (group / 2).max(1);
        }
    }

    /// Applies a group in one transaction; `None` for all of them if it met another writer.
    async fn put_group(
        &self,
        workspace: &Workspace,
        group: Vec<Changes>,
        stored: &HashMap<String, Stored>,
    ) -> Result<Vec<(Changes, Option<Vec<Outcome>>)>, Error> {
        let mut deltas = Deltas::default();
        let mut writes = Vec::new();
        let mut outcomes = Vec::new();
        for changes in &group {
            let old = stored.get(changes.id());
            let (result, new) = changes.apply(old, self.zone);
            if let Some(new) = new {
                deltas.merge(users::change(old, &new));
                writes.push(self.put_user(workspace, old, &new)?);
            }
            outcomes.push(result);
        }
        if !writes.is_empty() {
            writes.extend(self.add(workspace, &deltas)?);
            if self.table.transact(writes).await? != Transacted::Done {
                return Ok(group.into_iter().map(|changes| (changes, None)).collect());
            }
        }
        Ok(group.into_iter().zip(outcomes).map(|(changes, result)| (changes, Some(result))).collect())
    }

    /// What is stored of the users that change; at most 100, as `BatchGetItem` takes.
    async fn stored(
        &self,
        workspace: &Workspace,
        pending: &[Changes],
    ) -> Result<HashMap<String, Stored>, Error> {
        let mut stored = HashMap::new();
        let keys = pending.iter().map(|changes| Key::user(workspace, changes.id()).item()).collect();
        let mut wanted = Some(keys).filter(|keys: &Vec<Item>| !keys.is_empty());
        let mut pauses = store::backoff();
        while let Some(keys) = wanted {
            let request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
            let request = request.build().map_err(unavailable)?;
            let answer = self.table.client.batch_get_item().request_items(&self.table.name, request);
            let answer = answer.send().await.map_err(unavailable)?;
            for item in answer.responses.unwrap_or_default().into_values().flatten() {
                let row: Stored = store::entity(item)?;
                stored.insert(row.user.id.clone(), row);
            }
            // DynamoDB leaves away what it has no capacity for at the moment.
            wanted = answer
                .unprocessed_keys
                .and_then(|mut left| left.remove(&self.table.name))
                .map(|left| left.keys);
            if wanted.is_some() {
                sleep(pauses.next().ok_or_else(|| unavailable("reads are throttled"))?).await;
            }
        }
        Ok(stored)
    }

    fn put_user(
        &self,
        workspace: &Workspace,
        old: Option<&Stored>,
        new: &Stored,
    ) -> Result<TransactWriteItem, Error> {
        #[derive(Serialize)]
        struct Indexed<'a> {
            #[serde(flatten)]
            stored: &'a Stored,
            gsi1pk: String,
            gsi1sk: String,
        }
        let row = Indexed {
            stored: new,
            gsi1pk: key::users(workspace),
            gsi1sk: key::by_sign_up(new.user.signed_up_at, &new.user.id),
        };
        let put = self.table.put(Key::user(workspace, &new.user.id), &row)?;
        store::put(match old {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(old) => put
                .condition_expression("version = :version")
                .expression_attribute_values(":version", n(old.version)),
        })
    }

    /// The counters' part of a transaction, on a shard that is chosen by chance.
    fn add(&self, workspace: &Workspace, deltas: &Deltas) -> Result<Vec<TransactWriteItem>, Error> {
        let shard = id::random_below(SHARDS);
        deltas
            .rows()
            .into_iter()
            .map(|(row, counters)| {
                let key = match row {
                    Row::Sum => Key::user_totals(workspace, shard),
                    Row::Day(day) => Key::users_of_day(workspace, day, shard),
                };
                let mut update = self.table.update(&key);
                let mut moves = Vec::new();
                for (at, (attribute, by)) in counters.into_iter().enumerate() {
                    moves.push(format!("#c{at} :c{at}"));
                    update = update
                        .expression_attribute_names(format!("#c{at}"), attribute)
                        .expression_attribute_values(format!(":c{at}"), n(by));
                }
                store::update(update.update_expression(format!("ADD {}", moves.join(", "))))
            })
            .collect()
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
        let first_day = Key::users_of_day(workspace, recent.from, 0);
        let all_users = Key::user(workspace, "");
        let (counters, users, more) = match cursor {
            None => {
                // Today in one zone can be tomorrow in another, and sign-ups may lie a day ahead.
                let counters = (RECENT_DAYS + 3) * u64::from(SHARDS);
                let (rows, more) =
                    self.range(&first_day, &(all_users.sk + AFTER), counters + limit + 1).await?;
                let (users, counters): (Vec<_>, Vec<_>) =
                    rows.into_iter().partition(|row| row.contains_key("id"));
                (counters, users, more)
            }
            Some(cursor) => {
                let after = cursor::decode(workspace, LIST, cursor)?;
                let from = Key::user(workspace, &format!("{after}{NEXT}"));
                let totals = Key::user_totals(workspace, 0);
                let counters = u64::from(SHARDS) * (RECENT_DAYS + 4);
                let (counters, users) = try_join(
                    self.range(&first_day, &(totals.sk[..4].to_owned() + AFTER), counters),
                    self.range(&from, &(all_users.sk + AFTER), limit + 1),
                )
                .await?;
                (counters.0, users.0, users.1)
            }
        };
        let totals = totals(&counters, |row| row == Row::Sum, recent);
        page(totals, users, limit, more, |user| cursor::encode(workspace, LIST, &user.id))
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
        let after = cursor.map(|cursor| cursor::decode(workspace, LIST, cursor)).transpose()?;
        let start_key = after.as_ref().and_then(|after| after.split_once('#')).map(|(_, id)| {
            let mut item = Key::user(workspace, id).item();
            item.insert("gsi1pk".to_owned(), s(key::users(workspace)));
            item.insert("gsi1sk".to_owned(), s(after.clone().unwrap_or_default()));
            item
        });
        let list = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("gsi1")
            .key_condition_expression("gsi1pk = :pk AND gsi1sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(key::users(workspace)))
            .expression_attribute_values(":from", s(start(window.from)))
            // Keys go on with `#` after the time, so this leaves out the very start of `to`.
            .expression_attribute_values(":to", s(start(window.to)))
            .scan_index_forward(false)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start_key);
        let days = Key::users_of_day(workspace, window.from, 0);
        let end = Key::users_of_day(workspace, window.to, 0);
        let (counters, list) = try_join(self.range(&days, &end.sk, u64::from(SHARDS) * WINDOW_DAYS), async {
            list.send().await.map_err(unavailable)
        })
        .await?;
        let in_window = |row| matches!(row, Row::Day(day) if window.contains(day));
        let totals = totals(&counters.0, in_window, window.recent());
        page(totals, list.items.unwrap_or_default(), limit, false, |user| {
            cursor::encode(workspace, LIST, &key::by_sign_up(user.signed_up_at, &user.id))
        })
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

/// Sorts after every character that ids and our keys use.
const AFTER: &str = "\u{7f}";
/// Sorts before them; appended to an id it gives a text that sorts after it and before the next.
const NEXT: char = ' ';

/// The changes of one user in one call, with their places in it.
struct Changes(Vec<(usize, User)>);

impl Changes {
    fn id(&self) -> &str {
        self.0.first().map_or("", |(_, user)| &user.id)
    }

    /// What each change means, one after the other, and the row they leave if any means something.
    fn apply(&self, old: Option<&Stored>, zone: Tz) -> (Vec<Outcome>, Option<Stored>) {
        let mut last = old.map(|old| &old.user);
        let mut outcomes = Vec::new();
        for (_, user) in &self.0 {
            let outcome = user.outcome(last);
            if matches!(outcome, Outcome::Created | Outcome::Updated) {
                last = Some(user);
            }
            outcomes.push(outcome);
        }
        let changed = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Created | Outcome::Updated));
        let new = last.filter(|_| changed).map(|user| Stored::after(old, user.clone(), zone));
        (outcomes, new)
    }
}

fn chunks<T>(items: Vec<T>, size: usize) -> Vec<Vec<T>> {
    let mut items = items.into_iter().peekable();
    let mut chunks = Vec::new();
    while items.peek().is_some() {
        chunks.push(items.by_ref().take(size).collect());
    }
    chunks
}

/// Sums up counter rows: all counters of the rows that `counts` picks, and sign-ups of `recent`.
fn totals(rows: &[Item], counts: impl Fn(Row) -> bool, recent: Window) -> UserTotals {
    let mut sums = BTreeMap::<&str, i64>::new();
    let mut signups = 0_i64;
    for item in rows {
        let Some(row) = item.get("sk").and_then(|sk| sk.as_s().ok()).and_then(|sk| counter_row(sk)) else {
            continue;
        };
        if matches!(row, Row::Day(day) if recent.contains(day)) {
            signups += number::<i64>(item, TOTAL);
        }
        if counts(row) {
            for name in item.keys().filter(|name| matches!(item[*name], AttributeValue::N(_))) {
                *sums.entry(name).or_default() += number::<i64>(item, name);
            }
        }
    }
    let count = |sum: i64| u64::try_from(sum).unwrap_or_default();
    let by = |prefix: &str| {
        sums.iter()
            .filter(|(_, sum)| **sum > 0)
            .filter_map(|(name, sum)| Some((name.strip_prefix(prefix)?.to_owned(), count(*sum))))
            .collect()
    };
    UserTotals {
        total_users: count(sums.get(TOTAL).copied().unwrap_or_default()),
        users_by_role: by(ROLE),
        users_by_status: by(STATUS),
        recent_signups: count(signups),
    }
}

fn counter_row(sk: &str) -> Option<Row> {
    match sk.split('#').collect::<Vec<_>>()[..] {
        ["SUM", _] => Some(Row::Sum),
        ["DAY", day, _] => day.parse().ok().map(Row::Day),
        _ => None,
    }
}

/// The first `limit` of `users`, and a cursor if there are more.
fn page(
    totals: UserTotals,
    users: Vec<Item>,
    limit: u64,
    more: bool,
    cursor: impl Fn(&User) -> String,
) -> Result<UserPage, Error> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = more || users.len() > limit;
    let users: Vec<User> = users.into_iter().take(limit).map(store::entity).collect::<Result<_, _>>()?;
    let next_cursor = users.last().filter(|_| more).map(cursor);
    Ok(UserPage { totals, users, next_cursor })
}
