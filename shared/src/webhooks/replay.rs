//! Replaying: people have events processed again, be it that a fault is mended or that a handler
//! learnt something.
//!
//! An event goes back to the start in the transaction that records who wanted it, and its worker
//! is woken up. What processing may do only once it has done: a replay changes no totals.

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Queue, Status, Webhooks,
    queue::Wake,
    store::{Filter, Head, Reopen},
};
use crate::{
    Error,
    activity::Activity,
    identity::Person,
    lambda::{Env, EnvError},
    store::{self, Transacted, unavailable},
};

/// Events of one transaction. The log's entry names them, and stays below a kilobyte.
const GROUP: usize = 20;
/// Transactions under way at the same time.
const GROUPS_AT_ONCE: usize = 4;
/// Events that one call goes through at most.
const RANGE_MAX: usize = 1000;
/// Events of one page of the list.
const PAGE: usize = 100;
/// How the log calls what concerns several events.
const SEVERAL: &str = "webhook_events";

/// Sends events back to the start.
pub struct Replays {
    events: Webhooks,
    queue: Queue,
    activity: Activity,
}

/// What became of the events that were to be replayed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Those that are processed again.
    pub replayed: usize,
    /// Those that are not there, or to be processed in any case.
    pub skipped: usize,
    /// What continues with the rest of a range.
    pub next_cursor: Option<String>,
}

impl Replays {
    /// Reads what [`Webhooks`] and [`Queue`] read, and `ACTIVITY_TABLE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self {
            events: Webhooks::load(env, sdk)?,
            queue: Queue::load(env, sdk)?,
            activity: Activity::load(env, &store::client(sdk))?,
        })
    }

    /// Replays one event; whether it was not to be processed in any case. One read, one
    /// transaction, one message.
    pub async fn one(&self, person: &Person, id: &str, now: DateTime<Utc>) -> Result<bool, Error> {
        let heads = self.events.heads(&person.workspace, &[id], now).await?;
        let head = heads.into_iter().next().ok_or(Error::NotFound("event"))?;
        let done = self.all(person, vec![head], id, &Value::Null, now).await?;
        Ok(done > 0)
    }

    /// Replays the events of these ids, at most a hundred.
    pub async fn many(&self, person: &Person, ids: &[String], now: DateTime<Utc>) -> Result<Replayed, Error> {
        let replayed = self.these(person, ids, &Value::Null, now).await?;
        Ok(Replayed { replayed, skipped: ids.len() - replayed, next_cursor: None })
    }

    /// Replays what the list shows by `filter`, newest first, at most a thousand events a call.
    pub async fn range(
        &self,
        person: &Person,
        filter: &Filter,
        cursor: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<Replayed, Error> {
        let mut done = Replayed { next_cursor: cursor, ..Replayed::default() };
        // What the log says of each of them beside their ids.
        let asked = json!({
            "from": filter.from, "to": filter.to, "source": filter.source, "type": filter.kind,
            "status": filter.status, "endpoint": filter.endpoint,
        });
        for _ in 0..RANGE_MAX / PAGE {
            let page =
                self.events.list(&person.workspace, filter, PAGE, done.next_cursor.as_deref(), now).await?;
            let ids: Vec<_> = page.events.into_iter().map(|event| event.id).collect();
            let replayed = self.these(person, &ids, &asked, now).await?;
            done.replayed += replayed;
            done.skipped += ids.len() - replayed;
            done.next_cursor = page.next_cursor;
            if done.next_cursor.is_none() {
                break;
            }
        }
        Ok(done)
    }

    async fn these(
        &self,
        person: &Person,
        ids: &[String],
        asked: &Value,
        now: DateTime<Utc>,
    ) -> Result<usize, Error> {
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let heads = self.events.heads(&person.workspace, &ids, now).await?;
        self.all(person, heads, SEVERAL, asked, now).await
    }

    /// Replays those that are not to be processed in any case; how many.
    async fn all(
        &self,
        person: &Person,
        heads: Vec<Head>,
        target: &str,
        asked: &Value,
        now: DateTime<Utc>,
    ) -> Result<usize, Error> {
        let done = heads.into_iter().filter(|head| head.status != Status::Received);
        let done: Vec<_> = done.map(|head| head.id).collect();
        let groups: Vec<_> = done.chunks(GROUP).map(<[String]>::to_vec).collect();
        let groups: Vec<_> =
            groups.into_iter().map(|group| self.group(person, group, target, asked, now)).collect();
        let groups: Vec<_> = stream::iter(groups).buffer_unordered(GROUPS_AT_ONCE).try_collect().await?;
        Ok(groups.into_iter().sum())
    }

    /// Replays a few events in one transaction; how many of them were still there.
    async fn group(
        &self,
        person: &Person,
        mut ids: Vec<String>,
        target: &str,
        asked: &Value,
        now: DateTime<Utc>,
    ) -> Result<usize, Error> {
        let workspace = &person.workspace;
        for pause in store::backoff() {
            if ids.is_empty() {
                return Ok(0);
            }
            let mut detail = json!({"events": ids});
            if let (Some(detail), Value::Object(asked)) = (detail.as_object_mut(), asked) {
                detail.extend(
                    asked.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())),
                );
            }
            let entry = self.activity.record(person, "webhook_event.replayed", target, detail, now)?;
            let writes = ids.iter().map(|id| self.events.reopening(workspace, id, Reopen::Any, now));
            let writes = writes.chain([Ok(entry)]).collect::<Result<Vec<_>, _>>()?;
            match self.events.table.attempt(writes).await? {
                (Transacted::Done, _) => {
                    let wakes: Vec<_> = ids.iter().map(|id| Wake::of(workspace, id)).collect();
                    if let Err(error) = self.queue.send_all(&wakes).await {
                        tracing::warn!(causes = error.causes(), "replays are left to the sweep: {error}");
                    }
                    return Ok(ids.len());
                }
                // Some are gone; the entry's own condition cannot fail.
                (Transacted::Refused, gone) => {
                    let mut at = 0..;
                    ids.retain(|_| !gone.contains(&at.next().unwrap_or_default()));
                }
                (Transacted::Contended, _) => sleep(pause).await,
            }
        }
        Err(unavailable("the events are changed by somebody else all the time"))
    }
}
