//! What is proven: hour by hour and source by source, that what its provider lists is here.
//!
//! An hour has a row once its provider's list was compared with what is stored; one without is
//! unchecked. What is told of a source as a whole is how the last run ended.

use std::collections::HashMap;

use aws_config::SdkConfig;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use serde::{Deserialize, Serialize};

use super::{hour_of, walk::Walk};
use crate::{
    Error,
    identity::Workspace,
    lambda::{Env, EnvError},
    providers::Cause,
    store::{
        self, Table,
        key::{
            Key,
            webhooks::{completeness, hour},
        },
        s, unavailable,
    },
    webhooks::Source,
    word::words,
};

/// The sources whose providers list what they sent.
pub const SOURCES: &[(&str, Source)] = &[("stripe", Source::Stripe), ("github", Source::Github)];
/// Ids that an hour names of what is wrong in it; of more, it has the number.
const NAMED_MAX: usize = 10;
/// Rows that are written at once.
const WRITES_AT_ONCE: usize = 8;

words! {
    /// How the last run ended for a source.
    Standing {
        /// The provider's list was compared to its end.
        Checked = "checked",
        /// The provider could not be reached, or refused; or no run was there yet.
        Unchecked = "unchecked",
        /// The deployment lacks what it takes to ask the provider.
        NotConfigured = "not_configured",
    }
}

words! {
    /// What is known of an hour.
    Verdict {
        /// All that the provider lists is here.
        Complete = "complete",
        /// Something that the provider lists could not be taken in.
        Incomplete = "incomplete",
        /// The hour is not over, or was not when it was compared.
        Open = "open",
        /// Its list was not compared.
        Unchecked = "unchecked",
    }
}

/// How the last run ended for a source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Whether its list was compared.
    pub status: Standing,
    /// What kind of fault it was, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What somebody has to set up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// When that was.
    pub checked_at: DateTime<Utc>,
}

impl State {
    pub(super) fn new(status: Standing, now: DateTime<Utc>) -> Self {
        Self { status, cause: None, message: None, missing: Vec::new(), checked_at: now }
    }
}

/// Where healing is with a source.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The hours before are compared, but for those that a list no longer had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) through: Option<DateTime<Utc>>,
    /// The first hour of those compared last in which something is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gap: Option<DateTime<Utc>>,
    /// What is not at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) walk: Option<Walk>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<State>,
}

/// What was counted in an hour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Events that the provider lists; a delivery repeated within the hour counts once.
    pub listed: u64,
    /// Of those, the ones that are here.
    pub held: u64,
    /// Of those, the ones that no delivery brought.
    pub healed: u64,
    /// Of those that are here, the ones that processing failed for for good.
    pub dead: u64,
    /// Listed ones that are not here.
    pub missing: u64,
    /// Some of the dead, by our ids.
    #[serde(default)]
    pub dead_events: Vec<String>,
    /// Some of the missing, by the provider's ids, with why.
    #[serde(default)]
    pub missing_events: Vec<Missing>,
}

/// An event that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The provider's id of it; none if even that could not be read.
    pub provider_id: Option<String>,
    /// Why it could not be taken in.
    pub message: String,
}

impl Tally {
    pub(super) fn dead(&mut self, id: &str) {
        self.dead += 1;
        if self.dead_events.len() < NAMED_MAX {
            self.dead_events.push(id.to_owned());
        }
    }

    pub(super) fn missing(&mut self, provider_id: Option<&str>, message: &str) {
        self.missing += 1;
        if self.missing_events.len() < NAMED_MAX {
            let provider_id = provider_id.map(str::to_owned);
            self.missing_events.push(Missing { provider_id, message: message.to_owned() });
        }
    }
}

/// An hour that was compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) hour: DateTime<Utc>,
    /// Up to when: the end of the hour, if that was over.
    pub(super) until: DateTime<Utc>,
    #[serde(flatten)]
    pub(super) tally: Tally,
    pub(super) checked_at: DateTime<Utc>,
}

/// An hour as it is told.
#[derive(Debug, Serialize)]
pub struct Hour {
    /// Whose events.
    pub source: Source,
    /// When it begins.
    pub hour: DateTime<Utc>,
    /// What is known of it.
    pub status: Verdict,
    /// What was counted; zeros if it is unchecked.
    #[serde(flatten)]
    pub tally: Tally,
    /// When that was.
    pub checked_at: Option<DateTime<Utc>>,
}

/// A source as a whole.
#[derive(Debug, Serialize)]
pub struct Told {
    /// Which.
    pub source: Source,
    /// How the last run ended.
    #[serde(flatten)]
    pub state: State,
    /// The hours before were gone through.
    pub through: Option<DateTime<Utc>>,
}

/// What is known of a time.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Each source as a whole.
    pub sources: Vec<Told>,
    /// Its hours, newest first; none of a source that is not configured and never was.
    pub hours: Vec<Hour>,
}

/// The rows of healing.
#[derive(Clone)]
pub struct Completeness {
    table: Table,
}

impl Completeness {
    /// Reads `WEBHOOKS_TABLE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { table: Table::load(env, &store::client(sdk), "WEBHOOKS_TABLE")? })
    }

    /// What is known of the hours from that of `from` until before `to`, none of which lies in the
    /// future. Two reads a source, or some more for many hours.
    pub async fn report(
        &self,
        workspace: &Workspace,
        source: Option<Source>,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<Report, Error> {
        let (from, to) = (hour_of(from), to.min(now));
        let asked =
            SOURCES.iter().map(|(_, one)| *one).filter(|one| source.is_none_or(|source| source == *one));
        let read = asked.map(|source| async move {
            let rows = self.rows(workspace, source, from, to);
            let (progress, rows) = futures::future::try_join(self.progress(workspace, source), rows).await?;
            Ok::<_, Error>((source, progress, rows))
        });
        let (mut sources, mut hours) = (Vec::new(), Vec::new());
        for (source, progress, mut rows) in try_join_all(read).await? {
            let state = progress.state.unwrap_or_else(|| State {
                message: Some("no run has ended yet".to_owned()),
                ..State::new(Standing::Unchecked, now)
            });
            if state.status != Standing::NotConfigured || !rows.is_empty() {
                let all = std::iter::successors(Some(from), |hour| Some(*hour + TimeDelta::hours(1)));
                hours.extend(
                    all.take_while(|hour| *hour < to).map(|hour| told(source, hour, rows.remove(&hour))),
                );
            }
            sources.push(Told { source, state, through: progress.through });
        }
        hours.sort_by_key(|hour| (std::cmp::Reverse(hour.hour), hour.source));
        Ok(Report { sources, hours })
    }

    async fn rows(
        &self,
        workspace: &Workspace,
        source: Source,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<HashMap<DateTime<Utc>, Row>, Error> {
        if to <= from {
            return Ok(HashMap::new());
        }
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(completeness(workspace, source.word())))
            .expression_attribute_values(":from", s(hour(from)))
            .expression_attribute_values(":to", s(hour(to)));
        let items = query.into_paginator().items().send();
        let rows = items.collect::<Result<Vec<_>, _>>().await;
        let rows = rows.map_err(|error| unavailable(error.into_service_error()))?;
        rows.into_iter().map(|item| store::entity(item).map(|row: Row| (row.hour, row))).collect()
    }

    pub(super) async fn progress(&self, workspace: &Workspace, source: Source) -> Result<Progress, Error> {
        let key = Key::healing(workspace, source.word()).item();
        let read = self.table.client.get_item().table_name(&self.table.name).set_key(Some(key));
        let found = read.consistent_read(true).send().await;
        let found = found.map_err(|error| unavailable(error.into_service_error()))?;
        found.item.map_or_else(|| Ok(Progress::default()), store::entity)
    }

    /// Runs may overlap: the later of two saves stays, and what the other did is done.
    pub(super) async fn save(
        &self,
        workspace: &Workspace,
        source: Source,
        progress: &Progress,
    ) -> Result<(), Error> {
        self.put(Key::healing(workspace, source.word()), progress).await
    }

    /// Writes hours, in place of what was known of them.
    pub(super) async fn write(
        &self,
        workspace: &Workspace,
        source: Source,
        rows: Vec<Row>,
    ) -> Result<(), Error> {
        stream::iter(rows)
            .map(|row| async move {
                self.put(Key::completeness(workspace, source.word(), row.hour), &row).await
            })
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect()
            .await
    }

    async fn put<T: Serialize>(&self, key: Key, row: &T) -> Result<(), Error> {
        let put = self.table.client.put_item().table_name(&self.table.name);
        let put = put.set_item(Some(store::item(key, row)?));
        put.send().await.map(drop).map_err(|error| unavailable(error.into_service_error()))
    }
}

fn told(source: Source, hour: DateTime<Utc>, row: Option<Row>) -> Hour {
    let Some(Row { until, tally, checked_at, .. }) = row else {
        return Hour { source, hour, status: Verdict::Unchecked, tally: Tally::default(), checked_at: None };
    };
    let status = match &tally {
        tally if tally.missing > 0 => Verdict::Incomplete,
        _ if until < hour + TimeDelta::hours(1) => Verdict::Open,
        _ => Verdict::Complete,
    };
    Hour { source, hour, status, tally, checked_at: Some(checked_at) }
}
