//! Marking events as what became of them, with all that may happen once only.

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_sdk_dynamodb::types::TransactWriteItem;
use chrono::{DateTime, Utc};
use futures::{StreamExt, future::try_join_all, stream};
use tokio::time::sleep;

use super::{Row, Webhooks, is_kept};
use crate::{
    Error, id,
    identity::Workspace,
    store::{
        self, Item, Transacted,
        key::{
            Key,
            webhooks::{STATS_SHARDS, pending_of},
        },
        n, s, unavailable,
    },
    time,
    webhooks::{
        Source,
        event::{Attempt, Event, Status},
        queue::Wake,
    },
};

/// Attempts that a row keeps.
const LOG_MAX: usize = 10;
/// Writes of a transaction: fewer than DynamoDB takes, so that few meet.
const WRITES_MAX: usize = 40;
/// Transactions of one call under way at the same time.
const CONCURRENT: usize = 4;

/// An event that is to be processed, as it was loaded.
pub(crate) struct Held {
    pub(crate) workspace: Workspace,
    pub(crate) event: Event,
    pub(crate) wakes: u32,
    revision: u64,
    row: Item,
}

/// What is to be said of an event after an attempt.
pub(crate) struct Mark {
    /// As it was loaded.
    pub(crate) held: Held,
    /// How it was tried.
    pub(crate) attempt: Attempt,
    /// What became of it.
    pub(crate) became: Became,
}

/// What became of an event.
pub(crate) enum Became {
    /// All that it changes is changed but for this, which is written with the mark; none if it
    /// was processed before.
    Processed(Option<Once>),
    /// It is tried again.
    Failed {
        /// When.
        next_attempt_at: DateTime<Utc>,
        /// When the sweep is to find it, should nothing else wake it.
        wake_at: DateTime<Utc>,
    },
    /// It is not.
    Dead,
}

/// What happens once for an event, however often it is processed.
#[derive(Default)]
pub(crate) struct Once {
    /// Written as they are; each row by one event of a call at a time.
    pub(crate) writes: Vec<TransactWriteItem>,
    /// Counted in the statistics of the hour.
    pub(crate) counters: Vec<String>,
}

/// Whether an event was marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    /// It was.
    Done,
    /// It was changed since it was loaded, or what its writes rely on was; nothing is written.
    Changed,
}

impl Held {
    pub(crate) fn wake(&self) -> Wake {
        Wake::of(&self.workspace, &self.event.id)
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.event.status, Status::Received | Status::Failed)
    }
}

impl Became {
    pub(crate) fn next_attempt_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Failed { next_attempt_at, .. } => Some(*next_attempt_at),
            Self::Processed(_) | Self::Dead => None,
        }
    }
}

impl Mark {
    /// The rows that it writes, but for statistics.
    fn places(&self) -> HashSet<Place> {
        let own = Key::event(&self.held.workspace, &self.held.event.id);
        let others = self.once().into_iter().flat_map(|once| once.writes.iter().filter_map(place));
        others.chain([(String::new(), own.pk, own.sk)]).collect()
    }

    fn once(&self) -> Option<&Once> {
        match &self.became {
            Became::Processed(once) => once.as_ref(),
            Became::Failed { .. } | Became::Dead => None,
        }
    }

    fn count(&self, counters: &mut BTreeMap<String, u64>) {
        let mut add = |name: &str, by| *counters.entry(name.to_owned()).or_default() += by;
        match &self.became {
            Became::Failed { .. } | Became::Dead => add("failed", 1),
            Became::Processed(None) => {}
            Became::Processed(Some(once)) => {
                add("processed", 1);
                add("total_ms", self.attempt.duration_ms);
                let event = &self.held.event;
                // An endpoint's types may be anything, and so many that no row would hold them.
                if event.source != Source::Custom && !event.kind.is_empty() {
                    add(&format!("t:{}", event.kind), 1);
                }
                for counter in &once.counters {
                    add(counter, 1);
                }
            }
        }
    }
}

/// Table, partition key and sort key of a write.
type Place = (String, String, String);

fn place(write: &TransactWriteItem) -> Option<Place> {
    let of = |table: &str, key: &Item| {
        let text = |name: &str| key.get(name)?.as_s().ok().cloned();
        Some((table.to_owned(), text("pk")?, text("sk")?))
    };
    write
        .put()
        .and_then(|put| of(put.table_name(), put.item()))
        .or_else(|| write.update().and_then(|update| of(update.table_name(), update.key())))
        .or_else(|| write.delete().and_then(|delete| of(delete.table_name(), delete.key())))
        .or_else(|| write.condition_check().and_then(|check| of(check.table_name(), check.key())))
}

impl Webhooks {
    /// The rows of events, each by itself; none where there is no such event. One read for each
    /// workspace.
    pub(crate) async fn held(
        &self,
        wakes: &HashSet<Wake>,
        now: DateTime<Utc>,
    ) -> Result<Vec<(Wake, Result<Option<Held>, Error>)>, Error> {
        let mut workspaces = BTreeMap::<&str, Vec<&str>>::new();
        for wake in wakes {
            workspaces.entry(&wake.workspace).or_default().push(&wake.event);
        }
        let read = workspaces.into_iter().map(async |(workspace, ids)| {
            // What is no workspace has no events.
            let Ok(workspace) = workspace.parse::<Workspace>() else { return Ok(Vec::new()) };
            let rows = self.rows(&workspace, &ids, None).await?;
            Ok(rows.into_iter().map(|row| (workspace.clone(), row)).collect())
        });
        let rows = try_join_all(read).await?.concat();
        let rows = rows.into_iter().filter(|(_, row)| is_kept(row, now));
        let mut found: HashMap<_, _> = rows
            .filter_map(|(workspace, row)| {
                let id = row.get("id")?.as_s().ok()?.clone();
                Some((Wake { workspace: workspace.to_string(), event: id }, (workspace, row)))
            })
            .collect();
        Ok(wakes
            .iter()
            .map(|wake| {
                let held = found.remove(wake).map(|(workspace, row)| hold(workspace, row));
                (wake.clone(), held.transpose())
            })
            .collect())
    }

    /// The body of an event. One query if it is large.
    pub(crate) async fn body(&self, held: &Held) -> Result<Vec<u8>, Error> {
        Ok(self.whole(&held.workspace, held.row.clone()).await?.body)
    }

    /// Marks events. As few transactions as hold them, all at a time; each event is marked on
    /// condition that it is as it was loaded. Where a transaction cannot be made, its events are
    /// marked one by one, so that none keeps another from it. All of it may be repeated: what was
    /// marked is then changed.
    pub(crate) async fn mark(
        &self,
        marks: Vec<Mark>,
        now: DateTime<Utc>,
    ) -> Vec<(Wake, Result<Marked, Error>)> {
        let groups = stream::iter(pack(marks)).map(async |group| {
            let wakes: Vec<_> = group.iter().map(|mark| mark.held.wake()).collect();
            match self.mark_together(&group, now).await {
                Ok(marked) => wakes.into_iter().zip(marked.into_iter().map(Ok)).collect(),
                Err(error) if group.len() == 1 => wakes.into_iter().zip([Err(error)]).collect(),
                Err(error) => {
                    let events = group.len();
                    tracing::warn!(events, causes = error.causes(), "marked one by one: {error}");
                    let mut marked = Vec::new();
                    for (wake, mark) in wakes.into_iter().zip(&group) {
                        let one = self.mark_together(std::slice::from_ref(mark), now).await;
                        marked.push((wake, one.map(|marked| marked[0])));
                    }
                    marked
                }
            }
        });
        groups.buffer_unordered(CONCURRENT).concat().await
    }

    /// Marks events in one transaction, but for those that are not any more as they were loaded.
    async fn mark_together(&self, marks: &[Mark], now: DateTime<Utc>) -> Result<Vec<Marked>, Error> {
        let mut marked = vec![Marked::Done; marks.len()];
        let mut pauses = store::backoff();
        let mut shard = id::random_below(STATS_SHARDS);
        loop {
            let (mut writes, mut owners) = (Vec::new(), Vec::new());
            let mut stats = BTreeMap::new();
            for (at, mark) in marks.iter().enumerate().filter(|(at, _)| marked[*at] == Marked::Done) {
                writes.push(self.event_update(mark, now)?);
                writes.extend(mark.once().into_iter().flat_map(|once| once.writes.clone()));
                owners.resize(writes.len(), at);
                let Held { workspace, event, .. } = &mark.held;
                let of = stats.entry((workspace.to_string(), event.source));
                mark.count(&mut of.or_insert_with(|| (workspace, BTreeMap::new())).1);
            }
            if writes.is_empty() {
                return Ok(marked);
            }
            for ((_, source), (workspace, counters)) in stats {
                let key = Key::stats(workspace, source.word(), now, shard);
                writes.extend(self.figures_update(&key, &counters, now)?);
            }
            match self.table.attempt(writes).await? {
                (Transacted::Done, _) => return Ok(marked),
                (Transacted::Refused, refused) => {
                    // Statistics have no condition.
                    for at in refused.into_iter().filter_map(|at| owners.get(at)) {
                        marked[*at] = Marked::Changed;
                    }
                }
                (Transacted::Contended, _) => {
                    sleep(pauses.next().ok_or_else(|| unavailable("too many writers at once"))?).await;
                    shard = (shard + 1) % STATS_SHARDS;
                }
            }
        }
    }

    /// The change of an hour's figures, if there is any.
    fn figures_update(
        &self,
        key: &Key,
        counters: &BTreeMap<String, u64>,
        now: DateTime<Utc>,
    ) -> Result<Option<TransactWriteItem>, Error> {
        if counters.is_empty() {
            return Ok(None);
        }
        let mut update = self.table.update(key).expression_attribute_values(":end", n(self.expires_at(now)));
        let mut added = Vec::new();
        for (at, (name, by)) in counters.iter().enumerate() {
            added.push(format!("#{at} :{at}"));
            update = update
                .expression_attribute_names(format!("#{at}"), name)
                .expression_attribute_values(format!(":{at}"), n(*by));
        }
        let change = format!("SET expires_at = if_not_exists(expires_at, :end) ADD {}", added.join(", "));
        store::update(update.update_expression(change)).map(Some)
    }

    fn event_update(&self, mark: &Mark, now: DateTime<Utc>) -> Result<TransactWriteItem, Error> {
        let Mark { held, attempt, became } = mark;
        let mut log = held.event.log.clone();
        log.push(attempt.clone());
        log.drain(..log.len().saturating_sub(LOG_MAX));
        let (status, set, remove) = match became {
            Became::Processed(_) => (
                Status::Processed,
                ", processed_at = if_not_exists(processed_at, :now)",
                "gsi2pk, gsi2sk, next_attempt_at, wakes",
            ),
            Became::Failed { .. } => {
                (Status::Failed, ", next_attempt_at = :next, gsi2sk = :wake, gsi2pk = :pending", "wakes")
            }
            // Woken often, it says still that nothing came of that.
            Became::Dead => (Status::Dead, "", "gsi2pk, gsi2sk, next_attempt_at"),
        };
        let log = serde_dynamo::to_attribute_value(log).map_err(unavailable)?;
        let mut update = self
            .table
            .update(&Key::event(&held.workspace, &held.event.id))
            .update_expression(format!(
                "SET #status = :status, #log = :log, attempts = :attempts, revision = :next_revision{set} REMOVE {remove}"
            ))
            .condition_expression("revision = :revision")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#log", "log")
            .expression_attribute_values(":status", s(status.word()))
            .expression_attribute_values(":log", log)
            .expression_attribute_values(":attempts", n(held.event.attempts + 1))
            .expression_attribute_values(":revision", n(held.revision))
            .expression_attribute_values(":next_revision", n(held.revision + 1));
        update = match became {
            Became::Processed(_) => update.expression_attribute_values(":now", s(time::rfc3339(now))),
            Became::Failed { next_attempt_at, wake_at } => update
                .expression_attribute_values(":next", s(time::rfc3339(*next_attempt_at)))
                .expression_attribute_values(":wake", n(wake_at.timestamp()))
                .expression_attribute_values(":pending", s(pending_of(&held.event.id))),
            Became::Dead => update,
        };
        store::update(update)
    }
}

fn hold(workspace: Workspace, row: Item) -> Result<Held, Error> {
    let Row { event, revision, wakes, .. } = store::entity(row.clone())?;
    Ok(Held { workspace, event, wakes, revision, row })
}

/// Groups events whose transaction takes few writes and none to the same row.
fn pack(marks: Vec<Mark>) -> Vec<Vec<Mark>> {
    let mut groups = Vec::<(HashSet<Place>, Vec<Mark>)>::new();
    for mark in marks {
        let rows = mark.places();
        let place = groups
            .iter_mut()
            .find(|(held, _)| held.len() + rows.len() <= WRITES_MAX && held.is_disjoint(&rows));
        match place {
            Some((held, group)) => {
                held.extend(rows);
                group.push(mark);
            }
            None => groups.push((rows, vec![mark])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
