use std::collections::{BTreeSet, HashMap};

use chrono::{Days, Duration, NaiveDate};
use proptest::prelude::*;

use super::*;
use crate::{
    ledger::{
        commissions::Commission,
        counter::of_moved,
        money::Currency,
        subscriptions::{
            Discount, DiscountDuration, Interval, Off, Subscription, SubscriptionItem, SubscriptionStatus,
            UsageType,
        },
        transactions::{Transaction, TransactionKind, TransactionStatus},
        users::User,
    },
    store::key::Book,
};

const ZONE: Tz = Tz::Pacific__Auckland;

/// A time of a small world, in which changes meet.
fn hours(hours: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(400) + Duration::hours(hours)
}

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

/// What a table holds after some changes: rows and history by id, and the counters.
struct Table<E> {
    entities: HashMap<String, Known<E>>,
    counters: Deltas,
}

impl<E: Entity> Table<E> {
    fn after(changes: &[(E, DateTime<Utc>)]) -> Self {
        let mut table = Self { entities: HashMap::new(), counters: Deltas::default() };
        for (version, now) in changes {
            let rank = Rank::of(version);
            let whole = table.entities.entry(version.id().to_owned()).or_default();
            // All that the store reads: the row, and the neighbours in the history.
            let history = whole.history.range(..=rank).next_back().into_iter();
            let history = history.chain(whole.history.range(rank..).find(|(one, _)| **one > rank));
            let history = history.map(|(rank, version)| (*rank, version.clone())).collect();
            let mut known = Known { current: whole.current.clone(), history };
            let change = known.take(rank, version, ZONE, *now);
            whole.current = known.current;
            whole.history.extend(change.past);
            table.counters.merge(change.deltas, 1);
        }
        table
    }

    fn versions(known: &Known<E>) -> Vec<(Rank, &E)> {
        let current = known.current.as_ref().map(|(rank, row)| (*rank, &row.entity));
        known.history.iter().map(|(rank, version)| (*rank, version)).chain(current).collect()
    }

    /// The counters by the versions alone.
    fn recomputed(&self) -> Deltas {
        let mut deltas = Deltas::default();
        for known in self.entities.values() {
            deltas.merge(known.current.as_ref().map(|(_, row)| standing(row)).unwrap_or_default(), 1);
            deltas.merge(movements(Self::versions(known), ZONE), 1);
        }
        deltas
    }

    fn recount(&mut self, now: DateTime<Utc>) {
        for known in self.entities.values_mut() {
            let moves = known.recount(now);
            self.counters.merge(moves, 1);
        }
    }

    /// The rows but for what arrival may differ in.
    fn rows(&self) -> BTreeSet<String> {
        let row = |known: &Known<E>| {
            let versions: Vec<_> = Self::versions(known).into_iter().map(|(rank, _)| rank).collect();
            let row = known.current.as_ref().map(|(_, row)| serde_json::to_string(&row.entity).unwrap());
            format!("{versions:?} {row:?}")
        };
        self.entities.values().map(row).collect()
    }
}

/// What is known as of the end of a day by looking at each entity, against what movements add up to.
fn as_of<E: Entity>(table: &Table<E>, day: NaiveDate) -> [BTreeMap<String, i128>; 2] {
    let end = time::start_of(ZONE, day + Days::new(1)) - Duration::microseconds(1);
    let mut looked = BTreeMap::new();
    for known in table.entities.values() {
        let versions = Table::versions(known);
        let in_force = versions.iter().rev().find(|(rank, _)| rank.updated_at <= end).or(versions.first());
        let Some((rank, version)) = in_force.filter(|(_, version)| version.began_at() <= end) else {
            continue;
        };
        for (tally, by) in version.tallies(end) {
            *looked.entry(tally.to_string()).or_default() += by;
        }
        *looked.entry(Tally::Digest.to_string()).or_default() += rank.digest.cast_signed();
    }
    let mut added = BTreeMap::new();
    for (row, attributes) in table.counters.rows() {
        let counts = match row {
            Row::Total(_, Counter::Day(one)) => {
                Counter::month_of(*one) == Counter::month_of(day) && *one <= day
            }
            Row::Total(_, Counter::Month(first)) => Counter::Month(*first) < Counter::month_of(day),
            _ => false,
        };
        for (name, by) in attributes.iter().filter(|_| counts) {
            match of_moved(name) {
                None | Some(Tally::New(_) | Tally::Churned(_)) => {}
                Some(tally) => *added.entry(tally.to_string()).or_default() += by,
            }
        }
    }
    [looked, added].map(|mut tallies: BTreeMap<_, _>| {
        tallies.retain(|_, by| *by != 0);
        tallies
    })
}

/// Any order, repetition and time of arrival of the same versions leave the same.
fn holds<E: Entity>(
    changes: &[(E, DateTime<Utc>)],
    again: &[(E, DateTime<Utc>)],
) -> Result<(), TestCaseError> {
    let (mut one, mut other) = (Table::after(changes), Table::after(again));
    prop_assert_eq!(one.rows(), other.rows());
    prop_assert_eq!(&one.counters, &one.recomputed());
    prop_assert_eq!(&other.counters, &other.recomputed());
    for now in [hours(30), hours(300)] {
        one.recount(now);
        other.recount(now);
        prop_assert_eq!(&one.counters, &other.counters);
        prop_assert_eq!(&one.counters, &one.recomputed());
    }
    for day in 0..14 {
        let [looked, added] = as_of(&one, time::day_in(ZONE, hours(0)) + Days::new(day));
        prop_assert_eq!(looked, added, "day {}", day);
    }
    Ok(())
}

/// Changes as they come once, and twice in any other order and at other times.
fn arrivals<E: Entity + std::fmt::Debug>(
    version: impl Strategy<Value = E>,
) -> impl Strategy<Value = [Vec<(E, DateTime<Utc>)>; 2]> {
    let now = (0..300_i64).prop_map(hours);
    prop::collection::vec((version, now.clone()), 1..10).prop_flat_map(move |changes| {
        let versions = || changes.iter().map(|(version, _)| version.clone());
        let twice: Vec<_> = versions().chain(versions()).collect();
        let times = prop::collection::vec(now.clone(), twice.len());
        (Just(changes.clone()), Just(twice).prop_shuffle(), times)
            .prop_map(|(changes, twice, times)| [changes, twice.into_iter().zip(times).collect()])
    })
}

/// Few ids and times, so that versions meet and tie.
fn id() -> impl Strategy<Value = String> {
    "[ab]"
}

fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (0..6_i64).prop_map(|day| hours(day * 17))
}

fn user() -> impl Strategy<Value = User> {
    (id(), "[xy]", "[xy]", moment(), moment()).prop_map(|(id, role, status, signed_up_at, updated_at)| User {
        id,
        email: None,
        username: "name".to_owned(),
        role,
        status,
        signed_up_at,
        updated_at,
    })
}

fn code() -> impl Strategy<Value = Currency> {
    prop::sample::select(["USD", "JPY", "KWD"].map(currency).to_vec())
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let words = (
        prop::sample::select(TransactionKind::WORDS).prop_map(|(_, kind)| kind),
        prop::sample::select(TransactionStatus::WORDS).prop_map(|(_, status)| status),
        prop::option::of("[pq]"),
    );
    (id(), words, code(), 0..=1_i64 << 53, 0..=100_i64, moment(), moment()).prop_map(
        |(id, (kind, status, plan), currency, amount, percent, occurred_at, updated_at)| Transaction {
            id,
            kind,
            plan,
            customer: "customer".to_owned(),
            amount,
            refunded: amount / 100 * percent,
            currency,
            status,
            occurred_at,
            updated_at,
        },
    )
}

fn commission() -> impl Strategy<Value = Commission> {
    (id(), "[mn]#?", "[st]", code(), 0..=1_i64 << 53, moment(), moment()).prop_map(
        |(id, username, tier, currency, amount, occurred_at, updated_at)| Commission {
            id,
            username,
            tier,
            amount,
            currency,
            transaction: "transaction".to_owned(),
            occurred_at,
            updated_at,
        },
    )
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let later = || prop::option::of((0..14_i64).prop_map(|day| hours(day * 17)));
    let item = (0..3_i64, prop::sample::select(Interval::WORDS)).prop_map(|(price, (_, interval))| {
        SubscriptionItem {
            unit_amount: price * 1_000,
            quantity: 1,
            interval,
            interval_count: 1,
            usage_type: UsageType::Licensed,
        }
    });
    let discount = (1..100_i64, prop::sample::select(DiscountDuration::WORDS), later()).prop_map(
        |(percent, (_, duration), ends_at)| Discount { off: Off::Ppm(percent * 10_000), duration, ends_at },
    );
    let terms = (
        prop::sample::select(SubscriptionStatus::WORDS).prop_map(|(_, status)| status),
        prop::collection::vec(item, 1..3),
        prop::collection::vec(discount, 0..3),
    );
    (id(), "[pq]", terms, code(), moment(), later(), later(), moment()).prop_map(
        |(
            id,
            plan,
            (status, items, discounts),
            currency,
            started_at,
            trial_ends_at,
            canceled_at,
            updated_at,
        )| {
            Subscription {
                id,
                customer: "customer".to_owned(),
                plan,
                status,
                currency,
                items,
                discounts,
                started_at,
                trial_ends_at,
                canceled_at,
                updated_at,
            }
        },
    )
}

proptest! {
    #[test]
    fn users_leave_the_same_in_any_order([changes, again] in arrivals(user())) {
        holds(&changes, &again)?;
    }

    #[test]
    fn transactions_leave_the_same_in_any_order([changes, again] in arrivals(transaction())) {
        holds(&changes, &again)?;
    }

    #[test]
    fn commissions_leave_the_same_in_any_order([changes, again] in arrivals(commission())) {
        holds(&changes, &again)?;
    }

    #[test]
    fn subscriptions_leave_the_same_in_any_order([changes, again] in arrivals(subscription())) {
        holds(&changes, &again)?;
    }
}

/// The counters after transactions that differ in this.
fn paid(transactions: &[(&str, i64, i64, &str, TransactionStatus)]) -> Deltas {
    let changes: Vec<_> = transactions
        .iter()
        .enumerate()
        .map(|(at, (id, amount, refunded, code, status))| {
            let transaction = Transaction {
                id: (*id).to_owned(),
                kind: TransactionKind::Subscription,
                plan: None,
                customer: "customer".to_owned(),
                amount: *amount,
                refunded: *refunded,
                currency: currency(code),
                status: *status,
                occurred_at: hours(0),
                updated_at: hours(i64::try_from(at).unwrap()),
            };
            (transaction, hours(100))
        })
        .collect();
    Table::after(&changes).counters
}

#[test]
fn money_is_exact_to_the_minor_unit() {
    use TransactionStatus::{Failed, Succeeded};
    const MOST: i64 = 1 << 53;
    let sum = Row::Total(Book::Revenue, Counter::Sum);
    for (case, transactions, expected) in [
        (
            "no decimals",
            vec![("a", 500, 0, "JPY", Succeeded)],
            vec![("net:JPY:subscription", 500), ("ok:JPY", 1), ("plan:JPY:unassigned", 500)],
        ),
        (
            "three decimals, refunded in part",
            vec![("a", 12_345, 345, "KWD", Succeeded)],
            vec![
                ("net:KWD:subscription", 12_000),
                ("ok:KWD", 1),
                ("plan:KWD:unassigned", 12_000),
                ("refunded:KWD", 345),
            ],
        ),
        (
            "refunded in two parts, then whole",
            vec![
                ("a", 100, 0, "ISK", Succeeded),
                ("a", 100, 30, "ISK", Succeeded),
                ("a", 100, 100, "ISK", Succeeded),
            ],
            vec![("ok:ISK", 1), ("refunded:ISK", 100)],
        ),
        (
            "failed, then paid",
            vec![("a", 100, 0, "MGA", Failed), ("a", 100, 0, "MGA", Succeeded), ("b", 7, 0, "MGA", Failed)],
            vec![
                ("failed:MGA", 1),
                ("net:MGA:subscription", 100),
                ("ok:MGA", 1),
                ("plan:MGA:unassigned", 100),
            ],
        ),
        (
            "beyond 2^53",
            vec![
                ("a", MOST, 0, "USD", Succeeded),
                ("b", MOST, 0, "USD", Succeeded),
                ("c", 1, 0, "USD", Succeeded),
            ],
            vec![
                ("net:USD:subscription", (1 << 54) + 1),
                ("ok:USD", 3),
                ("plan:USD:unassigned", (1 << 54) + 1),
            ],
        ),
        (
            "another currency after all",
            vec![("a", 100, 10, "USD", Succeeded), ("a", 100, 10, "EUR", Succeeded)],
            vec![
                ("net:EUR:subscription", 90),
                ("ok:EUR", 1),
                ("plan:EUR:unassigned", 90),
                ("refunded:EUR", 10),
            ],
        ),
    ] {
        let counters = paid(&transactions);
        let rows: BTreeMap<_, _> = counters.rows().collect();
        let expected = expected.into_iter().map(|(name, by)| (name.to_owned(), by)).collect();
        assert_eq!(rows[&sum], &expected, "{case}");
        let day = Row::Total(Book::Revenue, Counter::Day(time::day_in(ZONE, hours(0))));
        let plain = |name: &String| of_moved(name).is_none();
        let on_day: BTreeMap<_, _> =
            rows[&day].iter().filter(|(name, _)| plain(name)).map(|(name, by)| (name.clone(), *by)).collect();
        assert_eq!(on_day, expected, "{case}");
    }
}
