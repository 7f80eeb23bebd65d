//! Changes of entities, and of the counters with them.

use std::{
    collections::{BTreeMap, HashMap},
    iter,
    time::Duration,
};

use aws_sdk_dynamodb::types::{KeysAndAttributes, TransactWriteItem};
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, future::try_join, stream};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    Ledger, Outcome,
    change::Known,
    counter::{Deltas, Row},
    entity::{Entity, Rank, Stored},
    group::{Group, Pending, Step},
};
use crate::{
    Error, id,
    identity::Workspace,
    store::{
        self, Item, Transacted,
        key::{self, Key, SHARDS},
        n, s, unavailable,
    },
};

/// Transactions, or reads of history, of one call under way at the same time.
const CONCURRENT: usize = 8;
/// How long a call is repeated that meets other writers; then it is up to the caller, who finds
/// stored what was. It leaves room within the function's time for the round under way.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of a group.
struct Applied<E> {
    done: Vec<Step<E>>,
    /// Those whose entity somebody else changed first.
    lost: Vec<Step<E>>,
}

impl Ledger {
    /// Takes at most 100 versions, in order. One read, and as few transactions as hold what
    /// changes, all at a time. Entities that another writer changed meanwhile are read again; the
    /// others do not wait for them. All of it may be repeated after a failure: what was stored is
    /// then unchanged.
    pub async fn put<E: Entity>(
        &self,
        workspace: &Workspace,
        versions: Vec<E>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = vec![Outcome::Unchanged; versions.len()];
        self.settle(workspace, Pending::by_entity(versions), &mut outcomes, now).await?;
        Ok(outcomes)
    }

    /// Brings all that is pending about, round by round.
    pub(super) async fn settle<E: Entity>(
        &self,
        workspace: &Workspace,
        mut pending: Vec<Pending<E>>,
        outcomes: &mut [Outcome],
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let begin = Instant::now();
        let mut pauses = store::backoff();
        while !pending.is_empty() {
            let mut known = self.known(workspace, &pending).await?;
            let mut step = |pending: Pending<E>| {
                let known = known.remove(&pending.id).unwrap_or_default();
                Step::of(pending, known, self.zone, now)
            };
            let steps = pending.into_iter().map(&mut step).collect();
            let (steps, rejected) = self.admit(workspace, steps).await?;
            pending = rejected.into_iter().filter_map(|step| step.reject(outcomes)).collect();
            let applied: Vec<Applied<E>> = stream::iter(Group::pack(steps))
                .map(async |group| self.apply(workspace, group).await)
                .buffer_unordered(CONCURRENT)
                .try_collect()
                .await?;
            if applied.iter().any(|applied| !applied.lost.is_empty()) {
                let pause = pauses.next().filter(|_| begin.elapsed() < PATIENCE);
                sleep(pause.ok_or_else(|| unavailable("too many writers at once"))?).await;
            }
            for Applied { done, lost } in applied {
                pending.extend(done.into_iter().filter_map(|step| step.settle(true, outcomes)));
                pending.extend(lost.into_iter().filter_map(|step| step.settle(false, outcomes)));
            }
        }
        Ok(())
    }

    /// Applies a group in one transaction, but for the entities that are not any more as they were
    /// read: each of these was lost to a writer who got on, so of all writers one always does.
    /// Counters that are busy are left for those of the next shard.
    async fn apply<E: Entity>(
        &self,
        workspace: &Workspace,
        mut group: Group<E>,
    ) -> Result<Applied<E>, Error> {
        // A busy shard says nothing of the next one, so the first pause is none.
        let mut pauses = iter::once(Duration::ZERO).chain(store::backoff());
        let mut shard = id::random_below(SHARDS);
        let mut lost = Vec::new();
        loop {
            let (mut writes, mut owners) = (Vec::new(), Vec::new());
            for (place, step) in group.steps.iter().enumerate() {
                writes.extend(self.rows(workspace, step)?);
                owners.resize(writes.len(), place);
            }
            writes.extend(self.counters(workspace, &group.deltas, shard)?);
            if writes.is_empty() {
                return Ok(Applied { done: group.steps, lost });
            }
            match self.table.attempt(writes).await? {
                (Transacted::Done, _) => return Ok(Applied { done: group.steps, lost }),
                (Transacted::Refused, refused) => {
                    let refused = refused.iter().filter_map(|at| owners.get(*at).copied()).collect();
                    let (rest, parted) = group.part(&refused);
                    group = rest;
                    lost.extend(parted);
                }
                (Transacted::Contended, _) => {
                    sleep(pauses.next().ok_or_else(|| unavailable("too many writers at once"))?).await;
                    shard = (shard + 1) % SHARDS;
                }
            }
        }
    }

    /// What is stored of the entities that change. One read, and two queries for each version
    /// that comes late.
    async fn known<E: Entity>(
        &self,
        workspace: &Workspace,
        pending: &[Pending<E>],
    ) -> Result<HashMap<String, Known<E>>, Error> {
        let keys =
            pending.iter().map(|pending| Key::entity(workspace, E::KIND, &pending.id).item()).collect();
        let mut known = HashMap::new();
        for row in self.batch(keys).await? {
            let row: Stored<E> = store::entity(row)?;
            let id = row.entity.id().to_owned();
            known.insert(id, Known { current: Some((Rank::of(&row.entity), row)), history: BTreeMap::new() });
        }
        let late = pending.iter().flat_map(|pending| {
            let current = known.get(&pending.id).and_then(|known| known.current.as_ref());
            // The first version of a row has no other before it.
            let current = current.filter(|(_, row)| row.version > 1).map(|(held, _)| *held);
            pending.versions.iter().filter_map(move |(_, rank, _)| {
                current.filter(|held| rank < held).map(|_| (pending.id.clone(), *rank))
            })
        });
        let late: Vec<_> = late.collect();
        let neighbours: Vec<(String, Vec<E>)> = stream::iter(late)
            .map(async |(id, rank)| {
                let found = self.neighbours(workspace, &id, rank).await?;
                Ok::<_, Error>((id, found))
            })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await?;
        for (id, versions) in neighbours {
            if let Some(known) = known.get_mut(&id) {
                known.history.extend(versions.into_iter().map(|version| (Rank::of(&version), version)));
            }
        }
        Ok(known)
    }

    /// Rows of these keys, at most 100, as `BatchGetItem` takes.
    pub(super) async fn batch(&self, keys: Vec<Item>) -> Result<Vec<Item>, Error> {
        let mut rows = Vec::new();
        let mut wanted = Some(keys).filter(|keys| !keys.is_empty());
        let mut pauses = store::backoff();
        while let Some(keys) = wanted {
            let request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
            let request = request.build().map_err(unavailable)?;
            let answer = self.table.client.batch_get_item().request_items(&self.table.name, request);
            let answer = answer.send().await.map_err(unavailable)?;
            rows.extend(answer.responses.unwrap_or_default().into_values().flatten());
            // DynamoDB leaves away what it has no capacity for at the moment.
            wanted = answer
                .unprocessed_keys
                .and_then(|mut left| left.remove(&self.table.name))
                .map(|left| left.keys);
            if wanted.is_some() {
                sleep(pauses.next().ok_or_else(|| unavailable("reads are throttled"))?).await;
            }
        }
        Ok(rows)
    }

    /// The earlier versions of an entity next to this rank, and the one of it.
    async fn neighbours<E: Entity>(
        &self,
        workspace: &Workspace,
        id: &str,
        rank: Rank,
    ) -> Result<Vec<E>, Error> {
        let Key { pk, sk } = Key::history(workspace, E::KIND, id, rank.updated_at, rank.digest);
        let (first, last) = Key::history_ends(id);
        let one = |from: String, to: String, forward| {
            let query = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":pk", s(&pk))
                .expression_attribute_values(":from", s(from))
                .expression_attribute_values(":to", s(to))
                .consistent_read(true)
                .scan_index_forward(forward)
                .limit(1);
            async { query.send().await.map_err(unavailable) }
        };
        // Keys go on with hexadecimal digits only, so a space comes right after this one.
        let (before, after) =
            try_join(one(first, sk.clone(), false), one(format!("{sk} "), last, true)).await?;
        let rows = [before, after].into_iter().flat_map(|found| found.items.unwrap_or_default());
        rows.map(store::entity).collect()
    }

    /// The entity's part of a transaction.
    fn rows<E: Entity>(
        &self,
        workspace: &Workspace,
        step: &Step<E>,
    ) -> Result<Vec<TransactWriteItem>, Error> {
        #[derive(Serialize)]
        #[serde(bound = "E: Entity")]
        struct Indexed<'a, E> {
            #[serde(flatten)]
            stored: &'a Stored<E>,
            #[serde(flatten)]
            listed: Option<Listed>,
            #[serde(flatten)]
            due: Option<Due>,
        }
        #[derive(Serialize)]
        struct Listed {
            gsi1pk: String,
            gsi1sk: String,
        }
        #[derive(Serialize)]
        struct Due {
            gsi2pk: String,
            gsi2sk: i64,
        }
        let Some(stored) = &step.row else { return Ok(Vec::new()) };
        let id = stored.entity.id();
        let bucket = key::bucket(id);
        let row = Indexed {
            stored,
            listed: stored.entity.listed_at().map(|at| Listed {
                gsi1pk: key::entities(workspace, E::KIND, bucket),
                gsi1sk: key::by_time(at, id),
            }),
            // The first whole second by which it is due.
            due: stored.due_at().map(|at| Due {
                gsi2pk: key::due(bucket),
                gsi2sk: (at.timestamp_micros() + 999_999).div_euclid(1_000_000),
            }),
        };
        let put = self.table.put(Key::entity(workspace, E::KIND, id), &row)?;
        let mut writes = vec![store::put(match step.read {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(version) => put
                .condition_expression("version = :version")
                .expression_attribute_values(":version", n(version)),
        })?];
        for (rank, version) in &step.past {
            let key = Key::history(workspace, E::KIND, id, rank.updated_at, rank.digest);
            writes.push(store::put(self.table.put(key, version)?)?);
        }
        Ok(writes)
    }

    /// The counters' part of a transaction.
    pub(super) fn counters(
        &self,
        workspace: &Workspace,
        deltas: &Deltas,
        shard: u8,
    ) -> Result<Vec<TransactWriteItem>, Error> {
        deltas
            .rows()
            .map(|(row, attributes)| {
                let (mut update, set) = match row {
                    Row::Total(book, counter) => {
                        (self.table.update(&Key::total(workspace, *book, *counter, shard)), "")
                    }
                    Row::Performer(currency, username) => {
                        let update = self.table.update(&Key::performer(workspace, currency.code(), username));
                        let top = s(key::top(workspace, currency.code()));
                        (update.expression_attribute_values(":top", top), "SET gsi2pk = :top ")
                    }
                    Row::PerformerDay(day, currency, username) => {
                        let key = Key::performer_day(workspace, *day, currency.code(), username);
                        (self.table.update(&key), "")
                    }
                };
                let mut moves = Vec::new();
                for (at, (attribute, by)) in attributes.iter().enumerate() {
                    moves.push(format!("#{at} :{at}"));
                    update = update
                        .expression_attribute_names(format!("#{at}"), attribute)
                        .expression_attribute_values(format!(":{at}"), n(*by));
                }
                store::update(update.update_expression(format!("{set}ADD {}", moves.join(","))))
            })
            .collect()
    }
}
