//! Processing: what an event changes, and marking it as processed.
//!
//! ```text
//! load ─→ handle ─→ put into the ledger ─→ mark
//!           └─ failed ──────────────────→ mark, and wake again later
//! ```
//!
//! The row is the truth: it says what is to be done, and a wake-up only that it should be looked
//! at. So wake-ups may come late, twice or never (the sweep wakes again), and a worker may end at
//! any moment. What handlers bring to the ledger may be brought any number of times and in any
//! order; what may happen only once (statistics, activity, a handler's own rows) is written in the
//! transaction that marks the event, and only if it was never processed before. A row that is not
//! any more as it was loaded, since somebody else processed or replayed it, is not marked but
//! loaded again: what it says then holds.
//!
//! # Round trips
//! Ten events of one workspace, all new, take one read of the rows, what their handlers read, a
//! read and a transaction of the ledger for each kind of entity that they bring, and one
//! transaction that marks them. Bodies too large for their row cost one query each.

mod apply;
mod retry;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use aws_config::SdkConfig;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, future::join_all, stream};
use tokio::time::{Instant, timeout_at};

use self::{
    apply::apply,
    retry::{ATTEMPTS_MAX, pause},
};
use super::{
    event::{Attempt, Status},
    handle::{Context, Effects, Failed, Handlers, handle},
    queue::{DELAY_MAX, DeadQueue, Queue, Wake},
    store::{
        GRACE, Reopen, Webhooks,
        mark::{Became, Held, Mark, Marked, Once},
    },
    sweep::WAKES_MAX,
};
use crate::{
    Error,
    activity::{Activity, Actor},
    id,
    lambda::{Env, EnvError},
    ledger::Ledger,
    redact, store,
};

/// Events, or calls of the ledger, of one batch under way at the same time.
const CONCURRENT: usize = 10;
/// How long one event may take: a provider that hangs must not hold up the others of its batch.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often rows that somebody else changed are loaded again; then their wake-up is returned.
const ROUNDS: usize = 4;
/// How much earlier than planned an event is tried: clocks differ, and delays are whole seconds.
const EARLY: TimeDelta = TimeDelta::seconds(2);
/// Letters of an error that a row keeps.
const ERROR_MAX: usize = 500;
/// How the activity log calls who processes.
const FUNCTION: &str = "webhook-process";

/// Processes events.
pub struct Processor {
    events: Webhooks,
    queue: Queue,
    dead: DeadQueue,
    ledger: Ledger,
    activity: Activity,
    handlers: Handlers,
}

/// An attempt at one event.
struct Tried {
    held: Held,
    began: DateTime<Utc>,
    begin: Instant,
    result: Result<Effects, Failed>,
}

impl Processor {
    /// Reads what the stores, the queue and the handlers read, and `ACTIVITY_TABLE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self {
            events: Webhooks::load(env, sdk)?,
            queue: Queue::load(env, sdk)?,
            dead: DeadQueue::load(env, sdk)?,
            ledger: Ledger::load(env, sdk)?,
            activity: Activity::load(env, &store::client(sdk))?,
            handlers: Handlers::load(env, sdk)?,
        })
    }

    /// Processes at most ten events until `end`. Tells of the wake-ups that must come again: the
    /// stores or the queue could not be written, or time was over.
    pub async fn process(&self, wakes: HashSet<Wake>, now: DateTime<Utc>, end: Instant) -> HashSet<Wake> {
        let mut left = wakes;
        for _ in 0..ROUNDS {
            if left.is_empty() {
                break;
            }
            match timeout_at(end, self.round(&left, now, end)).await {
                Ok(Ok(again)) => left = again,
                Ok(Err(error)) => {
                    tracing::error!(causes = error.causes(), events = left.len(), "not loaded: {error}");
                    break;
                }
                Err(_) => {
                    tracing::warn!(events = left.len(), "time was over");
                    break;
                }
            }
        }
        left
    }

    /// Sends an event that failed back to the start, as a person does who moves its message from
    /// the dead-letter queue back. One conditional write.
    pub async fn replay(&self, wake: &Wake, now: DateTime<Utc>) -> Result<(), Error> {
        // What is no workspace has no events; whoever loads it says so.
        let Ok(workspace) = wake.workspace.parse() else { return Ok(()) };
        self.events.reopen(&workspace, &wake.event, Reopen::Failed, now).await.map(drop)
    }

    /// One time through all steps; the wake-ups of those that are not as they must be.
    async fn round(
        &self,
        wakes: &HashSet<Wake>,
        now: DateTime<Utc>,
        end: Instant,
    ) -> Result<HashSet<Wake>, Error> {
        let (due, mut again) = self.due(wakes, now).await?;
        let tried = stream::iter(due).map(|held| self.attempt(held, now, end));
        let mut tried: Vec<Tried> = tried.buffer_unordered(CONCURRENT).collect().await;
        apply(&self.ledger, &mut tried, now).await;
        again.extend(self.settle(tried, now).await);
        Ok(again)
    }

    /// Loads what is to be processed now; and the wake-ups of those that cannot be read.
    async fn due(
        &self,
        wakes: &HashSet<Wake>,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Held>, HashSet<Wake>), Error> {
        let (mut due, mut unread) = (Vec::new(), HashSet::new());
        for (wake, held) in self.events.held(wakes, now).await? {
            match held {
                Ok(Some(held)) if is_due(&held, now) => due.push(held),
                Ok(Some(_)) => {}
                // A row is kept for longer than any message is.
                Ok(None) => tracing::error!(event = wake.event, "there is no such event"),
                Err(error) => {
                    tracing::error!(event = wake.event, causes = error.causes(), "cannot be read: {error}");
                    unread.insert(wake);
                }
            }
        }
        Ok((due, unread))
    }

    /// Handles one event.
    async fn attempt(&self, held: Held, now: DateTime<Utc>, end: Instant) -> Tried {
        let begin = Instant::now();
        let handled = async {
            let body = self.events.body(&held).await?;
            let context = Context { workspace: &held.workspace, event: &held.event, now };
            handle(&self.handlers, context, &body).await
        };
        let result = timeout_at(end.min(begin + PATIENCE), handled).await;
        let result = result.unwrap_or_else(|late| {
            Err(Failed::Transient(Error::Unavailable("what processing it needs", late.into())))
        });
        Tried { held, began: now, begin, result }
    }

    /// Marks what was tried, and wakes again what failed; the wake-ups of those that could not be
    /// marked, or are not any more as they were loaded.
    async fn settle(&self, tried: Vec<Tried>, now: DateTime<Utc>) -> HashSet<Wake> {
        let mut again = HashSet::<Wake>::new();
        let prepared = join_all(tried.into_iter().map(|tried| self.mark(tried, now))).await;
        let (mut marks, mut pauses) = (Vec::new(), HashMap::new());
        for prepared in prepared {
            match prepared {
                Ok(mark) => marks.push(mark),
                Err((wake, error)) => {
                    let Wake { event, .. } = &wake;
                    tracing::error!(event, causes = error.causes(), "cannot be settled: {error}");
                    again.insert(wake);
                }
            }
        }
        for mark in &marks {
            let delay = mark.became.next_attempt_at().and_then(|at| delay(at - now));
            if let Some(delay) = delay {
                pauses.insert(mark.held.wake(), delay);
            }
        }
        for (wake, marked) in self.events.mark(marks, now).await {
            match marked {
                Ok(Marked::Done) => {}
                Ok(Marked::Changed) => {
                    pauses.remove(&wake);
                    again.insert(wake);
                }
                Err(error) => {
                    tracing::error!(event = wake.event, causes = error.causes(), "not marked: {error}");
                    pauses.remove(&wake);
                    again.insert(wake);
                }
            }
        }
        join_all(pauses.into_iter().map(async |(wake, delay)| {
            if let Err(error) = self.queue.send(&wake, delay).await {
                // The sweep does.
                tracing::warn!(event = wake.event, causes = error.causes(), "not woken again: {error}");
            }
        }))
        .await;
        again
    }

    /// What the row of an event is to say after an attempt. What is dead is in the dead-letter
    /// queue first: then nothing is dead of which nobody is told.
    async fn mark(&self, tried: Tried, now: DateTime<Utc>) -> Result<Mark, (Wake, Error)> {
        let Tried { held, began, begin, result } = tried;
        let attempts = held.event.attempts + 1;
        let wake = held.wake();
        let (error, became) = match result {
            Ok(effects) => {
                let once = held.event.processed_at.is_none().then(|| self.once(&held, effects, now));
                let once = once.transpose().map_err(|error| (wake.clone(), error))?;
                (None, Became::Processed(once))
            }
            Err(Failed::Permanent(error)) => (Some(error), Became::Dead),
            Err(Failed::Transient(error)) if attempts < ATTEMPTS_MAX => {
                let (id, causes) = (&held.event.id, error.causes());
                tracing::warn!(event = id, attempts, causes, "failed, and is tried again: {error}");
                let pause = pause(attempts, id::random_below(128));
                let next_attempt_at = now + pause;
                let grace = if delay(pause).is_some() { GRACE } else { TimeDelta::zero() };
                let became = Became::Failed { next_attempt_at, wake_at: next_attempt_at + grace };
                (Some(error.to_string()), became)
            }
            Err(Failed::Transient(error)) => {
                let (id, causes) = (&held.event.id, error.causes());
                tracing::error!(event = id, attempts, causes, "failed for the last time: {error}");
                (Some(error.to_string()), Became::Dead)
            }
        };
        let error = error.map(|error| presentable(&error));
        if let (Became::Dead, Some(error)) = (&became, &error) {
            self.dead.put(&wake, error).await.map_err(|error| (wake, error))?;
        }
        let duration_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Mark { held, attempt: Attempt { at: began, duration_ms, error }, became })
    }

    /// What happens once only.
    fn once(&self, held: &Held, effects: Effects, now: DateTime<Utc>) -> Result<Once, Error> {
        let actor = Actor::System { workspace: &held.workspace, function: FUNCTION };
        let mut writes = effects.writes;
        for note in effects.activity {
            writes.push(self.activity.record(actor, note.action, &note.target, note.detail, now)?);
        }
        Ok(Once { writes, counters: effects.counters })
    }
}

/// Whether an event is to be processed now. One that the sweep gave up, as no worker came to an
/// end with it, is, should its wake-up still arrive.
fn is_due(held: &Held, now: DateTime<Utc>) -> bool {
    match held.event.status {
        Status::Received => true,
        Status::Failed => held.event.next_attempt_at.is_none_or(|at| at <= now + EARLY),
        Status::Processed => false,
        Status::Dead => held.wakes >= WAKES_MAX,
    }
}

/// The pause as the delay of a message, if that is not too long for one.
fn delay(pause: TimeDelta) -> Option<Duration> {
    pause.to_std().ok().filter(|pause| *pause <= DELAY_MAX)
}

/// An error as it is kept and shown: short, without what looks like a secret or an address.
fn presentable(error: &str) -> String {
    let mut clean = redact::scrub_text(error);
    if let Some((end, _)) = clean.char_indices().nth(ERROR_MAX) {
        clean.truncate(end);
    }
    clean
}
