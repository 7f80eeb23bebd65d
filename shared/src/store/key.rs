//! Every key of every table, and nowhere else.
//!
//! | Table    | Row             | pk                         | sk                       | Read by |
//! |----------|-----------------|----------------------------|--------------------------|---------|
//! | `ApiKeys` | API key         | `WORKSPACE#<w>`            | `KEY#<id>`               | get; list per workspace, ids being in order of creation |
//! | `ApiKeys` | secret          | `SECRET#<sha256>`          | `SECRET`                 | get, by `authorize-key` |
//! | `ApiKeys` | meter of a day  | `METER#<w>#<key id>`       | `DAY#<date>`             | admission (one update); last days |
//! | `Ledger` | user totals     | `USERS#<w>`                | `SUM#<shard>`            | with the first page of users |
//! | `Ledger` | users of a day  | `USERS#<w>`                | `DAY#<date>#<shard>`     | range of days |
//! | `Ledger` | sign-ups of a month | `USERS#<w>`             | `MONTH#<month>#<shard>`  | with the first page of users |
//! | `Ledger` | user            | `USERS#<w>`                | `USER#<id>`              | batch get; pages in id order |
//! | `Ledger` | … by sign-up    | gsi1 `USERS#<w>`           | `<signed_up_at>#<id>`    | pages of a window, newest first |
//! | `Ledger` | other entity    | `<KIND>S#<w>#<bucket>`     | `<KIND>#<id>`            | batch get; pages, by `verify` |
//! | `Ledger` | … newest        | gsi1 `<KIND>S#<w>#<bucket>` | `<occurred_at>#<id>`    | newest of each bucket; not subscriptions |
//! | `Ledger` | … due           | gsi2 `DUE#<bucket>`        | unix seconds             | what is due, of all workspaces; subscriptions that time will change |
//! | `Ledger` | earlier version | that of its entity         | `HISTORY#<id>#<updated_at>#<digest>` | the neighbours of a late one |
//! | `Ledger` | totals          | `TOTALS#<w>#<shard>`       | `<BOOK>#SUM`             | batch get of the shards |
//! | `Ledger` | … of a day      | `TOTALS#<w>#<shard>`       | `<BOOK>#DAY#<date>`      | range of days, of each shard |
//! | `Ledger` | … of a month    | `TOTALS#<w>#<shard>`       | `<BOOK>#MONTH#<month>`   | range of months, of each shard |
//! | `Ledger` | names of totals | `NAMES#<w>`                | `<BOOK>`                 | batch get, when a writer meets a name that is new to it |
//! | `Ledger` | performer       | `PERFORMERS#<w>#<bucket>`  | `<currency>#<username>`  | pages, by `verify` |
//! | `Ledger` | … by total      | gsi2 `TOP#<w>#<currency>`  | total                    | the first few |
//! | `Ledger` | … of a day      | `PERFORMERDAYS#<w>#<bucket>` | `<date>#<currency>#<username>` | range of days, of each bucket |
//! | `Ledger` | rebuilds        | `REBUILDS#<w>`             | `REBUILDS`               | get, by `rebuild`: its corrections are made once |
//! | `Activity` | entry           | `WORKSPACE#<w>#<month>`    | `<time>#<id>`            | list, newest first |
//! | `Activity` | … by target     | gsi1 `TARGET#<w>#<target>` | `<time>#<id>`            | list of one target |
//! | `Activity` | … by actor      | gsi2 `ACTOR#<w>#<actor>`   | `<time>#<id>`            | list of one actor |
//! | `Integrations` | integration | `WORKSPACE#<w>`            | `INTEGRATION#<id>`       | get; list per workspace, ids being in order of creation |
//! | `Integrations` | … to be tested | gsi1 `TESTS#<bucket>`   | `<time>#<w>#<id>`        | those of all workspaces that are due |
//! | `Integrations` | version     | `INTEGRATION#<w>#<id>`     | `VERSION#<number>`       | get; list, newest first |
//! | `Integrations` | settings of a service | `SERVICES#<w>`      | `SERVICE#<service>`      | get; all of a workspace |
//! | `Integrations` | findings of the secrets check | `PLATFORM`    | `SECRETS`                | get, by `secrets-check` |
//! | `Vault` | sealed secret      | `SEALED#<w>#<id>`          | `SEALED`                 | get |
//! | `Vault` | … by age of its wrapping | gsi2 `WRAPPED#<bucket>` | seconds since 1970    | `vault-rewrap`, oldest first |
//! | `Vault` | credential         | `CREDENTIALS#<w>`          | `CREDENTIAL#<id>`        | get; list per workspace, newest first |
//! | `Vault` | … by provider      | gsi1 `CREDENTIALS#<w>#<provider>` | `CREDENTIAL#<id>` | list of one provider, newest first |
//! | `Webhooks` | see [`webhooks`] | | | |
//!
//! Ceilings. A partition takes 1,000 write units a second, a transactional write of a small row
//! is 2 units.
//! - A meter row takes one unit a call: 1,000 calls a second for one key, which is 3,600 times
//!   the default limit.
//! - `USERS#<w>`: a change of a user is 2 units for the user and at most 10 for counters, which a
//!   batch shares; so 80 to 400 changes a second, steady, in one workspace, and more once
//!   DynamoDB splits the partition by sort key. Users are a slow stream, and standing together
//!   is what lets totals and a page be one read. Within the partition no single row is hot:
//!   counters have [`USER_SHARDS`] rows a day.
//! - Other entities stand in [`BUCKETS`] partitions a kind and their totals in [`SHARDS`] a
//!   workspace. A change is 2 units for the entity, 2 for its earlier version and 2 for each row
//!   of totals, of which a transaction of many shares three or four: some 1,000 changes a second
//!   a workspace from the start. A partition that stays hot is split by DynamoDB, totals by
//!   sort key, until a single row of the sum takes 500 transactions a second: 16,000 with all of
//!   them, of up to 96 changes each.
//! - A row of totals has 400 KB. Names of tallies are counted in `NAMES#<w>` before they are used,
//!   and a change that would need more than [`COUNTERS_MAX`](crate::ledger::COUNTERS_MAX) in a book
//!   is rejected: that is some 300 plans with the statuses and currencies that they come in. No row
//!   then has more than 350 KB, and one such read of all shards 11 MB, of the 16 MB that DynamoDB answers at once.
//! - `TOP#<w>#<currency>` takes 2 units for each performer whom a transaction moves: 500 a
//!   second in one currency.
//! - `DUE#<bucket>`: 4,000 units a second over all workspaces, for subscriptions only.
//! - An integration's row is written by people and by its tests, four times a day. `TESTS#<bucket>`
//!   takes two index writes a test: [`TEST_BUCKETS`] of them take 2,000 tests a second.
//! - `TARGET#` and `ACTOR#` take what is done to one thing or by one actor: 500 entries a second.
//! - `WRAPPED#<bucket>`: each of [`WRAPPED_BUCKETS`] takes 1,000 secrets a second, sealed or
//!   wrapped anew, all workspaces together.
//! - Nothing else is written more than a few times a day.
//!
//! `MONTH#` sorts before `SUM#` and that before `USER#`: the last months, the totals and the
//! first users are one contiguous range, hence one query.
//!
//! No part of a key can contain `#`, as workspaces and ids are checked where they enter; but for
//! names of performers, and those stand last.

pub(crate) mod webhooks;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::{Item, s};
use crate::identity::Workspace;

/// Rows that share a counter's load. A read sums them.
pub(crate) const SHARDS: u8 = 32;

/// The same of the counters of users, a slow stream: they stand before the first users, and all of
/// them are read with every page.
pub(crate) const USER_SHARDS: u8 = 8;

/// Partitions that share the load of one kind of entity in a workspace.
pub(crate) const BUCKETS: u8 = 4;

/// Where a row is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl Key {
    pub(crate) fn item(&self) -> Item {
        Item::from([("pk".to_owned(), s(&self.pk)), ("sk".to_owned(), s(&self.sk))])
    }

    /// Of no row, in any table.
    pub(crate) fn absent() -> Self {
        Self { pk: "HEALTH".to_owned(), sk: "HEALTH".to_owned() }
    }

    pub(crate) fn api_key(workspace: &Workspace, id: &str) -> Self {
        Self { pk: format!("WORKSPACE#{workspace}"), sk: format!("KEY#{id}") }
    }

    pub(crate) fn secret(hash: &str) -> Self {
        Self { pk: format!("SECRET#{hash}"), sk: "SECRET".to_owned() }
    }

    pub(crate) fn meter(workspace: &Workspace, key_id: &str, day: NaiveDate) -> Self {
        Self { pk: format!("METER#{workspace}#{key_id}"), sk: format!("DAY#{day}") }
    }

    pub(crate) fn user(workspace: &Workspace, id: &str) -> Self {
        Self { pk: users(workspace), sk: format!("USER#{id}") }
    }

    /// Where the users after this one begin: a space sorts before all that ids are made of.
    pub(crate) fn users_after(workspace: &Workspace, id: &str) -> Self {
        Self::user(workspace, &format!("{id} "))
    }

    pub(crate) fn user_counter(workspace: &Workspace, counter: Counter, shard: u8) -> Self {
        let sk = match counter {
            Counter::Day(day) => format!("DAY#{day}#{shard:02}"),
            Counter::Month(first) => format!("MONTH#{}#{shard:02}", first.format("%Y-%m")),
            Counter::Sum => format!("SUM#{shard:02}"),
        };
        Self { pk: users(workspace), sk }
    }

    /// An entity of any kind.
    pub(crate) fn entity(workspace: &Workspace, kind: Kind, id: &str) -> Self {
        let sk = format!("{}#{id}", kind.name());
        Self { pk: entities(workspace, kind, bucket(id)), sk }
    }

    /// An earlier version of an entity.
    pub(crate) fn history(
        workspace: &Workspace,
        kind: Kind,
        id: &str,
        updated_at: DateTime<Utc>,
        digest: u128,
    ) -> Self {
        let Self { pk, .. } = Self::entity(workspace, kind, id);
        Self { pk, sk: format!("HISTORY#{id}#{}#{digest:024x}", sortable(updated_at)) }
    }

    /// Before the first earlier version of an entity, and after the last.
    pub(crate) fn history_ends(id: &str) -> (String, String) {
        (format!("HISTORY#{id}#"), format!("HISTORY#{id}#\u{7f}"))
    }

    /// A shard of a row of totals.
    pub(crate) fn total(workspace: &Workspace, book: Book, counter: Counter, shard: u8) -> Self {
        let sk = match (book, counter) {
            (Book::Users, counter) => return Self::user_counter(workspace, counter, shard % USER_SHARDS),
            (book, Counter::Day(day)) => format!("{}#DAY#{day}", book.name()),
            (book, Counter::Month(first)) => format!("{}#MONTH#{}", book.name(), first.format("%Y-%m")),
            (book, Counter::Sum) => format!("{}#SUM", book.name()),
        };
        Self { pk: format!("TOTALS#{workspace}#{shard}"), sk }
    }

    /// The names of a book's tallies.
    pub(crate) fn names(workspace: &Workspace, book: Book) -> Self {
        Self { pk: format!("NAMES#{workspace}"), sk: book.name().to_owned() }
    }

    /// What a performer earned in all.
    pub(crate) fn performer(workspace: &Workspace, currency: &str, username: &str) -> Self {
        let pk = format!("PERFORMERS#{workspace}#{}", bucket(username));
        Self { pk, sk: format!("{currency}#{username}") }
    }

    /// What a performer earned on a day.
    pub(crate) fn performer_day(
        workspace: &Workspace,
        day: NaiveDate,
        currency: &str,
        username: &str,
    ) -> Self {
        Self { pk: performer_days(workspace, bucket(username)), sk: format!("{day}#{currency}#{username}") }
    }

    /// Counts the transactions by which counters were corrected.
    pub(crate) fn rebuilds(workspace: &Workspace) -> Self {
        Self { pk: format!("REBUILDS#{workspace}"), sk: "REBUILDS".to_owned() }
    }

    pub(crate) fn service(workspace: &Workspace, service: &str) -> Self {
        Self { pk: services(workspace), sk: format!("SERVICE#{service}") }
    }

    /// What is wrong with the deployment's own secrets.
    pub(crate) fn platform_secrets() -> Self {
        Self { pk: "PLATFORM".to_owned(), sk: "SECRETS".to_owned() }
    }

    pub(crate) fn activity(workspace: &Workspace, at: DateTime<Utc>, id: &str) -> Self {
        Self { pk: activity_of_month(workspace, at.date_naive()), sk: format!("{}#{id}", sortable(at)) }
    }
}

/// The partition of a workspace's settings of services.
pub(crate) fn services(workspace: &Workspace) -> String {
    format!("SERVICES#{workspace}")
}

impl Key {
    pub(crate) fn integration(workspace: &Workspace, id: &str) -> Self {
        Self { pk: format!("WORKSPACE#{workspace}"), sk: format!("INTEGRATION#{id}") }
    }

    pub(crate) fn integration_version(workspace: &Workspace, id: &str, version: u64) -> Self {
        Self { pk: format!("INTEGRATION#{workspace}#{id}"), sk: format!("VERSION#{version:010}") }
    }
}

/// Partitions among which the integrations to be tested are spread.
pub const TEST_BUCKETS: u8 = 4;

/// A partition in `gsi1` of the integrations to be tested.
pub(crate) fn tests(bucket: u8) -> String {
    format!("TESTS#{bucket}")
}

/// The partition in `gsi1` in which one integration stands; the end of its id is random.
pub(crate) fn tests_of(id: &str) -> String {
    tests(id.bytes().last().unwrap_or_default() % TEST_BUCKETS)
}

/// Sort key in `gsi1` of an integration to be tested at `time`.
pub(crate) fn test_at(time: DateTime<Utc>, workspace: &Workspace, id: &str) -> String {
    format!("{}#{workspace}#{id}", sortable(time))
}

/// The workspace and the id in such a key.
pub(crate) fn test_of(key: &str) -> Option<(&str, &str)> {
    key.split_once('#')?.1.split_once('#')
}

/// Partitions of the index that finds secrets by the age of their wrapping.
pub(crate) const WRAPPED_BUCKETS: u32 = 4;

/// The partition of that index which holds this secret.
pub(crate) fn wrapped(id: &str) -> String {
    wrapped_bucket(crc32fast::hash(id.as_bytes()) % WRAPPED_BUCKETS)
}

/// A partition of that index.
pub(crate) fn wrapped_bucket(bucket: u32) -> String {
    format!("WRAPPED#{bucket}")
}

impl Key {
    pub(crate) fn sealed(workspace: &Workspace, id: &str) -> Self {
        Self { pk: format!("SEALED#{workspace}#{id}"), sk: "SEALED".to_owned() }
    }

    /// Workspace and id of the sealed secret whose key this is.
    pub(crate) fn of_sealed(&self) -> Option<(Workspace, &str)> {
        let (workspace, id) = self.pk.strip_prefix("SEALED#")?.split_once('#')?;
        Some((workspace.parse().ok()?, id))
    }

    pub(crate) fn credential(workspace: &Workspace, id: &str) -> Self {
        Self { pk: credentials(workspace), sk: format!("{CREDENTIAL}{id}") }
    }
}

/// How the sort key of every credential begins, in the table and in `gsi1`.
pub(crate) const CREDENTIAL: &str = "CREDENTIAL#";

/// The partition of a workspace's credentials.
pub(crate) fn credentials(workspace: &Workspace) -> String {
    format!("CREDENTIALS#{workspace}")
}

/// The partition of a workspace's credentials of one provider, in `gsi1`.
pub(crate) fn credentials_of(workspace: &Workspace, provider: &str) -> String {
    format!("CREDENTIALS#{workspace}#{provider}")
}

/// A kind of entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Users of the product.
    User,
    /// What customers agreed to pay.
    Subscription,
    /// What they paid.
    Transaction,
    /// What affiliates earned by it.
    Commission,
}

impl Kind {
    /// As keys spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Subscription => "SUBSCRIPTION",
            Self::Transaction => "TRANSACTION",
            Self::Commission => "COMMISSION",
        }
    }

    /// As people read it.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Subscription => "subscriptions",
            Self::Transaction => "transactions",
            Self::Commission => "commissions",
        }
    }
}

/// Totals that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Book {
    /// Of users.
    Users,
    /// Of transactions and subscriptions.
    Revenue,
    /// Of commissions.
    Commissions,
}

impl Book {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Users => "USERS",
            Self::Revenue => "REVENUE",
            Self::Commissions => "COMMISSIONS",
        }
    }

    /// The counter whose row in this book has this sort key.
    pub(crate) fn counter(self, sk: &str) -> Option<Counter> {
        match self {
            Self::Users => Counter::of(sk),
            Self::Revenue | Self::Commissions => {
                Counter::of(sk.strip_prefix(self.name())?.strip_prefix('#')?)
            }
        }
    }
}

/// Which row of totals: of a workspace's users, for example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Those who joined on a day, in the workspace's time zone, by role and status.
    Day(NaiveDate),
    /// How many joined on each day of a month, which is named by its first.
    Month(NaiveDate),
    /// All of them.
    Sum,
}

impl Counter {
    /// The month that counts a day.
    pub(crate) fn month_of(day: NaiveDate) -> Self {
        Self::Month(day.with_day(1).unwrap_or(day))
    }

    /// The counter whose row this is; `None` is a user's row.
    pub(crate) fn of(sk: &str) -> Option<Self> {
        let (kind, rest) = sk.split_once('#').unwrap_or((sk, ""));
        let (period, _) = rest.split_once('#').unwrap_or((rest, ""));
        match kind {
            "SUM" => Some(Self::Sum),
            "DAY" => period.parse().ok().map(Self::Day),
            "MONTH" => format!("{period}-01").parse().ok().map(Self::Month),
            _ => None,
        }
    }
}

/// After the last row of the totals of users; ids and shards have no such character.
pub(crate) const USER_SUMS_END: &str = "SUM#\u{7f}";
/// After the last user.
pub(crate) const USERS_END: &str = "USER#\u{7f}";

/// The partition of a workspace's users and their counters.
pub(crate) fn users(workspace: &Workspace) -> String {
    format!("USERS#{workspace}")
}

/// One of the partitions of a kind of entity.
pub(crate) fn entities(workspace: &Workspace, kind: Kind, bucket: u8) -> String {
    match kind {
        Kind::User => users(workspace),
        kind => format!("{}S#{workspace}#{bucket}", kind.name()),
    }
}

/// Whose entity a row of [`Key::entity`] is, and its id.
pub(crate) fn entity_of(pk: &str, sk: &str) -> Option<(Workspace, String)> {
    let workspace = pk.split('#').nth(1)?.parse().ok()?;
    let (_, id) = sk.split_once('#')?;
    Some((workspace, id.to_owned()))
}

/// How many partitions a kind of entity has.
pub(crate) fn buckets(kind: Kind) -> u8 {
    match kind {
        Kind::User => 1,
        Kind::Subscription | Kind::Transaction | Kind::Commission => BUCKETS,
    }
}

/// Before the first row that begins so, and after the last, where keys go on with ids and dates.
pub(crate) fn ends(prefix: &str) -> (String, String) {
    (prefix.to_owned(), format!("{prefix}\u{7f}"))
}

/// The id in the sort key of an earlier version.
pub(crate) fn history_id(sk: &str) -> Option<&str> {
    sk.strip_prefix("HISTORY#")?.split_once('#').map(|(id, _)| id)
}

/// One of the partitions of totals.
pub(crate) fn totals(workspace: &Workspace, shard: u8) -> String {
    format!("TOTALS#{workspace}#{shard}")
}

/// One of the partitions of performers.
pub(crate) fn performers(workspace: &Workspace, bucket: u8) -> String {
    format!("PERFORMERS#{workspace}#{bucket}")
}

/// One of the partitions of performers' days.
pub(crate) fn performer_days(workspace: &Workspace, bucket: u8) -> String {
    format!("PERFORMERDAYS#{workspace}#{bucket}")
}

/// Partition of performers in `gsi2`, whose sort key is their total.
pub(crate) fn top(workspace: &Workspace, currency: &str) -> String {
    format!("TOP#{workspace}#{currency}")
}

/// Partition of what is due in `gsi2`, whose sort key is when.
pub(crate) fn due(bucket: u8) -> String {
    format!("DUE#{bucket}")
}

/// The bucket of this id: always the same.
pub(crate) fn bucket(id: &str) -> u8 {
    u8::try_from(crc32fast::hash(id.as_bytes()) % u32::from(BUCKETS)).unwrap_or_default()
}

/// Sort key of an entity in `gsi1`.
pub(crate) fn by_time(at: DateTime<Utc>, id: &str) -> String {
    format!("{}#{id}", sortable(at))
}

/// The partition of the activity in the month of a day.
pub(crate) fn activity_of_month(workspace: &Workspace, day: NaiveDate) -> String {
    format!("WORKSPACE#{workspace}#{}", day.format("%Y-%m"))
}

/// The partition in `gsi1` of the activity on one thing.
pub(crate) fn activity_of_target(workspace: &Workspace, target: &str) -> String {
    format!("TARGET#{workspace}#{target}")
}

/// The partition in `gsi2` of what one person or function did.
pub(crate) fn activity_of_actor(workspace: &Workspace, actor: &str) -> String {
    format!("ACTOR#{workspace}#{actor}")
}

/// A time whose text sorts as the time does.
pub(crate) fn sortable(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
