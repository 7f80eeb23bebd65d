//! Commissions, their tiers, and who earns most.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use futures::future::{try_join_all, try_join3};
use serde::Serialize;

use super::{
    super::{
        Ledger,
        commissions::Commission,
        counter::{PERFORMER_COUNT, PERFORMER_DAY_EARNED, PERFORMER_EARNED, Tally},
        money::{Currency, Decimal, major},
    },
    Query, Window,
    recent::CommissionShown,
    totals::{Totals, count},
};
use crate::{
    Error,
    identity::Workspace,
    store::{
        Item,
        key::{self, BUCKETS, Book, performer_days},
        n, number, s, unavailable,
    },
};

/// Performers shown.
const SHOWN: usize = 10;
/// Performers read to show the first: an index does not order those who earned the same, so
/// among more of them than this the last places are taken by any.
const READ: i32 = 100;
/// Megabytes of performers' days that a window may hold in each of the 4 partitions: about a
/// hundred thousand days on which somebody earned something, in all.
const PAGES_MAX: usize = 4;

/// A tier's part.
#[derive(Debug, Default, Serialize)]
pub struct TierTotals {
    /// Commissions.
    pub count: u64,
    /// What they amount to. All tiers' add up to the total.
    pub total: Decimal,
}

/// Totals in one currency.
#[derive(Debug, Serialize)]
pub struct CommissionTotals {
    /// What the amounts are counted in.
    pub currency: Currency,
    /// What commissions amount to.
    pub total_commissions: Decimal,
    /// How many there are: each was earned by one transaction.
    pub total_transactions: u64,
    /// Both by tier.
    pub commission_by_tier: BTreeMap<String, TierTotals>,
    /// The total in each currency: none is converted.
    pub by_currency: BTreeMap<Currency, Decimal>,
}

/// Someone who earns commissions.
#[derive(Debug, Serialize)]
pub struct Performer {
    /// The name that they show.
    pub username: String,
    /// What they earned.
    pub total_commission: Decimal,
    /// By how many transactions.
    pub transaction_count: u64,
}

/// Commissions as they are asked for.
#[derive(Serialize)]
pub struct Commissions {
    /// Totals.
    #[serde(flatten)]
    pub totals: CommissionTotals,
    /// The 10 who earned most in the currency; who earned the same, by name.
    pub top_performers: Vec<Performer>,
    /// Commissions of any currency, newest first.
    pub recent_commissions: Vec<CommissionShown>,
    /// Continues the list.
    pub next_cursor: Option<String>,
}

impl Ledger {
    /// Commissions, all or those of a window.
    pub async fn commissions(&self, workspace: &Workspace, query: &Query) -> Result<Commissions, Error> {
        let own = async {
            match query.window {
                None => self.sum(workspace, Book::Commissions).await,
                Some(window) => Ok(self.days(workspace, Book::Commissions, window).await?.own(window)),
            }
        };
        let performers = async {
            match query.window {
                None => self.top(workspace, query.currency).await,
                Some(window) => self.top_of(workspace, query.currency, window).await,
            }
        };
        let recent = self.recent::<Commission>(workspace, query.window, query.limit, query.cursor.as_deref());
        let (own, performers, recent) = try_join3(own, performers, recent).await?;
        Ok(Commissions {
            totals: totals(&own, query.currency),
            top_performers: first(performers, query.currency),
            recent_commissions: recent.entities.into_iter().map(CommissionShown::from).collect(),
            next_cursor: recent.next_cursor,
        })
    }

    /// Who earned most of all. One query of an index, which follows a write within moments.
    async fn top(&self, workspace: &Workspace, currency: Currency) -> Result<Vec<Earned>, Error> {
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("gsi2")
            .key_condition_expression("gsi2pk = :pk AND gsi2sk > :nothing")
            .expression_attribute_values(":pk", s(key::top(workspace, currency.code())))
            .expression_attribute_values(":nothing", n(0))
            .scan_index_forward(false)
            .limit(READ);
        let rows = query.send().await.map_err(unavailable)?.items.unwrap_or_default();
        Ok(rows.iter().filter_map(|row| Earned::of(row, PERFORMER_EARNED)).collect())
    }

    /// Who earned most in a window. 4 queries at once, which grow with the days on which somebody
    /// earned something.
    async fn top_of(
        &self,
        workspace: &Workspace,
        currency: Currency,
        window: Window,
    ) -> Result<Vec<Earned>, Error> {
        let queries = (0..BUCKETS).map(|bucket| async move {
            let mut pages = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":pk", s(performer_days(workspace, bucket)))
                .expression_attribute_values(":from", s(window.from.to_string()))
                // Days are followed by `#`, so this is before the first of that day.
                .expression_attribute_values(":to", s(window.to.to_string()))
                .into_paginator()
                .send();
            let mut rows = Vec::new();
            for _ in 0..PAGES_MAX {
                let Some(page) = pages.next().await else { return Ok(rows) };
                rows.extend(page.map_err(unavailable)?.items.unwrap_or_default());
            }
            match pages.next().await {
                None => Ok(rows),
                Some(_) => {
                    Err(Error::invalid("from", "makes a window with too many performers; ask for fewer days"))
                }
            }
        });
        let mut earned = HashMap::<String, Earned>::new();
        for row in try_join_all(queries).await?.iter().flatten() {
            let of_currency = row.get("sk").and_then(|sk| sk.as_s().ok()?.split('#').nth(1));
            if of_currency == Some(currency.code())
                && let Some(day) = Earned::of(row, PERFORMER_DAY_EARNED)
            {
                let all = earned.entry(day.username.clone()).or_insert(Earned {
                    minor: 0,
                    count: 0,
                    ..day.clone()
                });
                all.minor += day.minor;
                all.count += day.count;
            }
        }
        Ok(earned.into_values().filter(|earned| earned.minor > 0).collect())
    }
}

#[derive(Clone)]
struct Earned {
    username: String,
    minor: i128,
    count: i128,
}

impl Earned {
    /// The name stands last in the key, where it may have any characters.
    fn of(row: &Item, earned: &str) -> Option<Self> {
        let sk = row.get("sk")?.as_s().ok()?;
        let (before, username) = sk.split_once('#')?;
        // A day stands before the currency.
        let username = if before.len() > CODE { username.split_once('#')?.1 } else { username };
        let (minor, count) = (number(row, earned), number(row, PERFORMER_COUNT));
        Some(Self { username: username.to_owned(), minor, count })
    }
}

/// Letters of a currency's code.
const CODE: usize = 3;

fn first(mut earned: Vec<Earned>, currency: Currency) -> Vec<Performer> {
    earned.sort_by(|one, other| {
        (Reverse(one.minor), &one.username).cmp(&(Reverse(other.minor), &other.username))
    });
    earned
        .into_iter()
        .take(SHOWN)
        .map(|earned| Performer {
            username: earned.username,
            total_commission: major(earned.minor, currency),
            transaction_count: count(earned.count),
        })
        .collect()
}

pub(super) fn totals(own: &Totals, currency: Currency) -> CommissionTotals {
    let mut tiers = BTreeMap::<String, TierTotals>::new();
    let mut by_currency = BTreeMap::new();
    for (tally, value) in own.iter() {
        match tally {
            Tally::TierEarned(of, tier) if of == currency => {
                tiers.entry(tier.to_owned()).or_default().total = major(value, currency);
            }
            Tally::TierCommissions(of, tier) if of == currency => {
                tiers.entry(tier.to_owned()).or_default().count = count(value);
            }
            Tally::Earned(of) => {
                by_currency.insert(of, major(value, of));
            }
            _ => {}
        }
    }
    CommissionTotals {
        currency,
        total_commissions: major(own.get(Tally::Earned(currency)), currency),
        total_transactions: count(own.get(Tally::Commissions(currency))),
        commission_by_tier: tiers,
        by_currency,
    }
}
