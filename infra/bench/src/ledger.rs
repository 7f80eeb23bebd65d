//! The ledger at many sizes: what a read of revenue takes, beside adding all transactions up.
//! In this process, without a network.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    identity::Workspace,
    ledger::{
        Ledger, Query,
        money::Currency,
        policy::Policy,
        transactions::{Transaction, TransactionKind, TransactionStatus},
    },
    time,
};
use tidegate::embedded::Embedded;

use crate::{Error, direct, measure::quartile, tables::Tables};

/// Transactions that one transaction of `DynamoDB` takes beside their counters, on one day.
const BATCH: usize = 96;
/// Days that they are spread over.
const DAYS: usize = 30;

/// One size of the ledger.
pub struct Size {
    /// How many transactions it holds.
    pub transactions: usize,
    read: Reading,
    sum: Reading,
    fill: Duration,
}

/// One way to know the revenue.
#[derive(Clone, Copy)]
struct Reading {
    took: Duration,
    round_trips: usize,
    units: f64,
}

/// Measures at each of these sizes, in order.
pub async fn measure(embedded: &Embedded, sizes: &[usize], reads: usize) -> Result<Vec<Size>, Error> {
    let tables = Arc::new(Tables::memory(embedded.tables())?);
    let sdk = direct::sdk(embedded, &tables, Duration::ZERO);
    let env = embedded.env("sync-revenue");
    let (ledger, client) = (Ledger::load(&env, &sdk)?, Client::new(&sdk));
    let table: String = env.required("LEDGER_TABLE")?;
    let (workspace, now): (Workspace, _) = ("bench".parse()?, time::now());

    let (mut measured, mut numbers, mut paid) = (Vec::new(), 0.., 0);
    let mut stored = 0;
    for &size in sizes {
        let begin = Instant::now();
        while stored < size {
            let batch: Vec<_> = numbers
                .by_ref()
                .take(BATCH.min(size - stored))
                .map(|number| transaction(number, now))
                .collect();
            stored += batch.len();
            paid += batch.iter().map(Transaction::net).sum::<i64>();
            ledger.put(&workspace, batch, now).await?;
        }
        let fill = begin.elapsed();
        let read = reading(&tables, reads, paid, async || {
            let revenue = ledger.revenue(&workspace, &query(), now).await?;
            Ok(revenue.totals.revenue.total_revenue.to_string().parse::<i64>()? * 100)
        });
        let read = read.await?;
        // It takes as long as there are transactions.
        let sums = (100_000 / size).clamp(1, reads);
        let sum = reading(&tables, sums, paid, async || added_up(&client, &table).await).await?;
        measured.push(Size { transactions: size, read, sum, fill });
    }
    Ok(measured)
}

/// What tools poll.
fn query() -> Query {
    let (policy, currency) = (Policy::Default, Currency::default());
    Query { window: None, policy, currency, limit: 20, cursor: None }
}

fn transaction(number: usize, now: DateTime<Utc>) -> Transaction {
    let days = i64::try_from(number / BATCH % DAYS).unwrap_or_default();
    let occurred_at = now - TimeDelta::days(days);
    Transaction {
        id: format!("payment-{number:08}"),
        kind: TransactionKind::Subscription,
        plan: Some("pro".to_owned()),
        customer: format!("customer-{:06}", number / 7),
        // Whole dollars, so that answers are whole numbers.
        amount: i64::try_from(number % 50 + 1).unwrap_or_default() * 100,
        refunded: 0,
        currency: Currency::default(),
        status: TransactionStatus::Succeeded,
        occurred_at,
        updated_at: occurred_at,
    }
}

/// Reads once to see what it takes, then often to see how long; fails unless it finds what was
/// `paid`.
async fn reading(
    tables: &Tables,
    times: usize,
    paid: i64,
    read: impl AsyncFn() -> Result<i64, Error>,
) -> Result<Reading, Error> {
    tables.record();
    let found = read().await?;
    let calls = tables.recorded();
    if found != paid {
        return Err(format!("revenue is {found}, not {paid}").into());
    }
    let mut took = Vec::new();
    for _ in 0..times {
        let begin = Instant::now();
        read().await?;
        took.push(begin.elapsed());
    }
    let units = calls.iter().map(|call| call.read_units).sum();
    Ok(Reading { took: quartile(took), round_trips: calls.len(), units })
}

/// What there would be without counters: every transaction is read.
async fn added_up(client: &Client, table: &str) -> Result<i64, Error> {
    let number = |value: Option<&AttributeValue>| {
        value.and_then(|value| value.as_n().ok()?.parse::<i64>().ok()).unwrap_or_default()
    };
    let (mut sum, mut from) = (0, None);
    loop {
        let page = client.scan().table_name(table).set_exclusive_start_key(from).send().await?;
        sum += page
            .items()
            .iter()
            .map(|row| number(row.get("amount")) - number(row.get("refunded")))
            .sum::<i64>();
        from = page.last_evaluated_key;
        if from.is_none() {
            return Ok(sum);
        }
    }
}

/// The sizes at which a read takes other round trips or units than at the first.
pub fn wrong(sizes: &[Size]) -> Vec<String> {
    let Some(first) = sizes.first().map(|size| size.read) else { return Vec::new() };
    sizes
        .iter()
        .filter(|size| size.read.round_trips != first.round_trips || size.read.units > first.units * 1.01)
        .map(|Size { transactions, read, .. }| {
            format!(
                "revenue of {transactions} transactions: {} calls, {} units",
                read.round_trips, read.units
            )
        })
        .collect()
}

/// The sizes as a table; times are ratios to the first read.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub fn table(sizes: &[Size]) -> String {
    let mut table = "| transactions | round trips | read units | time | added up: round trips | read units | time | filled at |\n\
        |--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    let Some(first) = sizes.first().map(|size| size.read.took.as_secs_f64()) else { return table };
    for (at, size) in sizes.iter().enumerate() {
        let filled = size.transactions - at.checked_sub(1).map_or(0, |before| sizes[before].transactions);
        let Size { transactions, read, sum, fill } = size;
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {transactions} | {} | {:.1} | {:.2} | {} | {:.1} | {:.2} | {:.0}/s |",
            read.round_trips,
            read.units,
            read.took.as_secs_f64() / first,
            sum.round_trips,
            sum.units,
            sum.took.as_secs_f64() / first,
            filled as f64 / fill.as_secs_f64(),
        );
    }
    let _ = writeln!(table, "\nThe first read took {:.2} ms.", first * 1e3);
    table
}
