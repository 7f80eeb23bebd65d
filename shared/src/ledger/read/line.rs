//! A book's counters along time: what each day has, and what stood at its end.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use futures::{StreamExt, TryStreamExt, future::try_join, stream};

use super::{Window, totals::Totals};
use crate::{
    Error,
    identity::Workspace,
    ledger::Ledger,
    store::{
        Item,
        key::{Book, Counter, Key, SHARDS},
        s, unavailable,
    },
};

/// Days, and what was before them.
#[derive(Default)]
pub(super) struct Line {
    before: Totals,
    days: BTreeMap<NaiveDate, Day>,
}

/// What the rows of a day say.
#[derive(Default)]
pub(super) struct Day {
    /// What had its day then: paid, earned, joined.
    pub(super) own: Totals,
    /// What changed then.
    pub(super) moved: Totals,
}

impl Line {
    /// What stood at the end of a day.
    pub(super) fn end_of(&self, day: NaiveDate) -> Totals {
        let mut totals = self.before.clone();
        for (_, day) in self.days.range(..=day) {
            totals.merge(&day.moved);
        }
        totals
    }

    /// What had its day in a window.
    pub(super) fn own(&self, window: Window) -> Totals {
        let mut totals = Totals::default();
        for (_, day) in self.days.range(window.from..window.to) {
            totals.merge(&day.own);
        }
        totals
    }

    /// What changed in a window.
    pub(super) fn moved(&self, window: Window) -> Totals {
        let mut totals = Totals::default();
        for (_, day) in self.days.range(window.from..window.to) {
            totals.merge(&day.moved);
        }
        totals
    }

    /// One day; one on which nothing happened has no rows.
    pub(super) fn day(&self, day: NaiveDate) -> Option<&Day> {
        self.days.get(&day)
    }
}

/// Queries of one line under way at the same time: each takes a connection of its own, and a cold
/// function has to open them.
const CONCURRENT: usize = 16;

/// A day before all times that are accepted, in any time zone.
const BEGINNING: NaiveDate = NaiveDate::from_ymd_opt(1969, 1, 1).unwrap();

impl Ledger {
    /// A book's line up to a window's end, with each of its days. 64 queries, 2 where the
    /// book has one partition: months before the window's first, and days since.
    pub(super) async fn line(
        &self,
        workspace: &Workspace,
        book: Book,
        window: Window,
    ) -> Result<Line, Error> {
        let first = window.from.with_day(1).unwrap_or(window.from);
        let months = (Counter::Month(BEGINNING), Counter::Month(first));
        let days = (Counter::Day(first), Counter::Day(window.to));
        let (months, days) = try_join(
            self.counters_between(workspace, book, months),
            self.counters_between(workspace, book, days),
        )
        .await?;
        let mut line = Line::default();
        for (_, row) in months {
            line.before.add_movements(&row);
        }
        line.add_days(days);
        Ok(line)
    }

    /// Only what had its day in a window. 32 queries.
    pub(super) async fn days(
        &self,
        workspace: &Workspace,
        book: Book,
        window: Window,
    ) -> Result<Line, Error> {
        let days = (Counter::Day(window.from), Counter::Day(window.to));
        let mut line = Line::default();
        line.add_days(self.counters_between(workspace, book, days).await?);
        Ok(line)
    }

    /// What is so now. One batch read of 32 rows.
    pub(super) async fn sum(&self, workspace: &Workspace, book: Book) -> Result<Totals, Error> {
        let keys = (0..SHARDS).map(|shard| Key::total(workspace, book, Counter::Sum, shard).item());
        let mut totals = Totals::default();
        for row in self.batch(keys.collect()).await? {
            totals.add_tallies(&row);
        }
        Ok(totals)
    }

    /// A book's rows from one counter up to and without another of its kind, of all shards.
    async fn counters_between(
        &self,
        workspace: &Workspace,
        book: Book,
        (from, to): (Counter, Counter),
    ) -> Result<Vec<(Counter, Item)>, Error> {
        // Users have all shards in one partition, next to each other.
        let shards = if book == Book::Users { 1 } else { SHARDS };
        let queries = (0..shards).map(|shard| {
            let to = Key::total(workspace, book, to, shard);
            let from = Key::total(workspace, book, from, shard);
            async move { self.rows_between(&from.pk, &from.sk, &to.sk).await }
        });
        let rows: Vec<_> = stream::iter(queries).buffered(CONCURRENT).try_collect().await?;
        let counters = rows
            .into_iter()
            .flatten()
            .filter_map(|row| Some((book.counter(row.get("sk")?.as_s().ok()?)?, row)));
        Ok(counters.filter(|(counter, _)| *counter < to).collect())
    }

    /// All rows of a partition between two sort keys, both included.
    pub(super) async fn rows_between(&self, pk: &str, from: &str, to: &str) -> Result<Vec<Item>, Error> {
        let mut pages = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(pk))
            .expression_attribute_values(":from", s(from))
            .expression_attribute_values(":to", s(to))
            .consistent_read(true)
            .into_paginator()
            .send();
        let mut rows = Vec::new();
        while let Some(page) = pages.next().await {
            rows.extend(page.map_err(unavailable)?.items.unwrap_or_default());
        }
        Ok(rows)
    }
}

impl Line {
    fn add_days(&mut self, rows: Vec<(Counter, Item)>) {
        for (counter, row) in rows {
            if let Counter::Day(day) = counter {
                let day = self.days.entry(day).or_default();
                day.own.add_tallies(&row);
                day.moved.add_movements(&row);
            }
        }
    }
}
