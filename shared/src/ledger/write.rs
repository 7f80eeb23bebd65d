//! Changes of users, and of the counters with them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{KeysAndAttributes, TransactWriteItem};
use chrono_tz::Tz;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::sleep;

use super::{
    Ledger, Outcome,
    counter::Deltas,
    users::{self, Stored, User},
};
use crate::{
    Error, id,
    identity::Workspace,
    store::{
        self, Item, Transacted,
        key::{self, Key, SHARDS},
        n, unavailable,
    },
};

/// Users that one transaction changes at first: each brings at most its own row and the counters
/// of two days and two months, and DynamoDB takes 100 rows.
const GROUP: usize = 19;
/// Transactions of one call under way at the same time: all of them.
const CONCURRENT: usize = 6;

impl Ledger {
    /// Takes at most 100 changes of users, in order. One read, and one transaction for each 19
    /// users, all at a time; those that meet another writer are repeated. All of it may be
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
            .map(|(counter, attributes)| {
                let mut update = self.table.update(&Key::user_counter(workspace, counter, shard));
                let mut moves = Vec::new();
                for (at, (attribute, by)) in attributes.into_iter().enumerate() {
                    moves.push(format!("#c{at} :c{at}"));
                    update = update
                        .expression_attribute_names(format!("#c{at}"), attribute)
                        .expression_attribute_values(format!(":c{at}"), n(by));
                }
                store::update(update.update_expression(format!("ADD {}", moves.join(", "))))
            })
            .collect()
    }
}

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
