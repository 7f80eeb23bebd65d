//! Where counters stand: all rows of them, page by page, shards summed up.

use aws_sdk_dynamodb::types::AttributeValue;

use super::slice::Slice;
use crate::{
    Error,
    identity::Workspace,
    ledger::{
        Ledger,
        counter::{Deltas, Row},
    },
    store::{
        Item,
        key::{self, BUCKETS, Book, Counter, SHARDS},
        s, unavailable,
    },
};

/// Rows of a page at most; DynamoDB ends one at 1 MB.
const PAGE: i32 = 1_000;

impl Ledger {
    /// The counters of a slice.
    pub(super) async fn found(&self, workspace: &Workspace, slice: &mut Slice) -> Result<Deltas, Error> {
        let mut found = Deltas::default();
        if slice.has_totals() {
            let users = key::users(workspace);
            let total = |sk: &str| Some(Row::Total(Book::Users, Counter::of(sk)?));
            for prefix in ["DAY#", "MONTH#", "SUM#"] {
                self.add_up(&users, Some(key::ends(prefix)), slice, &mut found, total).await?;
            }
            for shard in 0..SHARDS {
                let total = |sk: &str| {
                    let of = |book: Book| Some(Row::Total(book, book.counter(sk)?));
                    of(Book::Revenue).or_else(|| of(Book::Commissions))
                };
                self.add_up(&key::totals(workspace, shard), None, slice, &mut found, total).await?;
            }
        }
        for bucket in 0..BUCKETS {
            let performer = |sk: &str| {
                let (currency, username) = sk.split_once('#')?;
                Some(Row::Performer(currency.parse().ok()?, username.to_owned()))
            };
            let pk = key::performers(workspace, bucket);
            self.add_up(&pk, None, slice, &mut found, performer).await?;
            let day = |sk: &str| {
                let mut parts = sk.splitn(3, '#');
                let day = parts.next()?.parse().ok()?;
                Some(Row::PerformerDay(day, parts.next()?.parse().ok()?, parts.next()?.to_owned()))
            };
            let pk = key::performer_days(workspace, bucket);
            self.add_up(&pk, None, slice, &mut found, day).await?;
        }
        found.retain(|row| slice.has(row));
        Ok(found)
    }

    /// Adds up the rows of a partition, or of a part of it.
    async fn add_up(
        &self,
        pk: &str,
        ends: Option<(String, String)>,
        slice: &mut Slice,
        found: &mut Deltas,
        row_of: impl Fn(&str) -> Option<Row>,
    ) -> Result<(), Error> {
        let mut start = None;
        loop {
            let (rows, next) = self.page(pk, ends.as_ref(), start).await?;
            let mut page = Deltas::default();
            for item in rows {
                let sk = item.get("sk").and_then(|sk| sk.as_s().ok());
                let row =
                    sk.and_then(|sk| row_of(sk)).ok_or_else(|| unavailable("a row that nobody wrote"))?;
                for (name, value) in &item {
                    if let AttributeValue::N(number) = value {
                        page.add(&row, name.clone(), number.parse().map_err(unavailable)?);
                    }
                }
            }
            slice.add(found, page);
            match next {
                Some(next) => start = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// One page of a partition, or of a part of it, and where the next one starts.
    pub(super) async fn page(
        &self,
        pk: &str,
        ends: Option<&(String, String)>,
        start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>), Error> {
        let mut condition = "pk = :pk".to_owned();
        let mut query = self.table.client.query().table_name(&self.table.name);
        if let Some((from, to)) = ends {
            condition.push_str(" AND sk BETWEEN :from AND :to");
            query =
                query.expression_attribute_values(":from", s(from)).expression_attribute_values(":to", s(to));
        }
        let query = query
            .key_condition_expression(condition)
            .expression_attribute_values(":pk", s(pk))
            .consistent_read(true)
            .limit(PAGE)
            .set_exclusive_start_key(start);
        let page = query.send().await.map_err(unavailable)?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }
}
