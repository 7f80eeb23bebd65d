//! The sweep: wakes the worker up for every event that should have been processed and was not.
//!
//! A row that is to be processed stands in an index by when; a wake-up that was lost, with its
//! queue or with the worker that had taken it, leaves it there. What was woken is left alone for
//! twice as long each time, so that a queue that is merely long does not fill with wake-ups. An
//! event that was woken [`WAKES_MAX`] times, and that no worker came to an end with, is what ends
//! them: it is dead.

use std::{collections::HashSet, ops::AddAssign};

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};

use super::{
    event::Attempt,
    queue::{BATCH_MAX, DeadQueue, Queue, Wake},
    store::{
        GRACE, PENDING_BUCKETS, Webhooks,
        mark::{Became, Mark, Marked},
        pending::{Pending, Place},
    },
};
use crate::{
    Error,
    lambda::{Env, EnvError},
};

/// After so many wake-ups without an attempt, which take some three hours, an event is dead.
pub const WAKES_MAX: u32 = 5;
/// Writes under way at the same time.
const CONCURRENT: usize = 8;
/// What is said of an event that ends its workers.
const SILENT: &str = "processing ended without a result";

/// Wakes up what is pending.
pub struct Sweep {
    events: Webhooks,
    queue: Queue,
    dead: DeadQueue,
}

/// What is pending in one bucket: a page at a time, longest first.
pub struct Bucket {
    number: u8,
    now: DateTime<Utc>,
    before: DateTime<Utc>,
    place: Place,
    seen: HashSet<String>,
}

/// What became of a page of what was pending.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Events that were woken.
    pub woken: u64,
    /// Events that are dead, as nothing came of waking them.
    pub dead: u64,
    /// Events for which neither could be done. They are found again.
    pub failed: u64,
}

impl Bucket {
    /// What was to be processed before a time, by bucket. A time to come wakes also what waits
    /// for its next attempt.
    pub fn all(before: DateTime<Utc>, now: DateTime<Utc>) -> impl Iterator<Item = Self> {
        let of = move |number| Self { number, now, before, place: Place::default(), seen: HashSet::new() };
        (0..PENDING_BUCKETS).map(of)
    }
}

impl Sweep {
    /// Reads what the store and the queues read.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let events = Webhooks::load(env, sdk)?;
        Ok(Self { events, queue: Queue::load(env, sdk)?, dead: DeadQueue::load(env, sdk)? })
    }

    /// Wakes the next events of a bucket; `None` if there are no more. One query, one request for
    /// ten events and one write for each. All of it may be repeated and broken off.
    pub async fn sweep(&self, bucket: &mut Bucket) -> Result<Option<Swept>, Error> {
        let found = self.events.pending(bucket.number, bucket.before, &mut bucket.place).await?;
        let Some(mut found) = found else { return Ok(None) };
        // What was woken stands further on in the index, where it may be met again.
        let now = bucket.now;
        found.retain(|pending| bucket.seen.insert(pending.wake.event.clone()));
        let (due, early): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|pending| pending.due <= now.timestamp());
        let (silent, due): (Vec<_>, Vec<_>) = due.into_iter().partition(|pending| pending.wakes >= WAKES_MAX);
        let mut swept = stream::iter(silent)
            .map(async |pending| self.give_up(pending, now).await)
            .buffer_unordered(CONCURRENT)
            .fold(Swept::default(), async |sum, one| sum.and(one))
            .await;
        for part in due.chunks(BATCH_MAX) {
            swept += self.wake(part.to_vec(), now).await;
        }
        for part in early.chunks(BATCH_MAX) {
            swept += self.wake_early(part.to_vec(), now).await;
        }
        Ok(Some(swept))
    }

    /// Wakes at most ten events, and counts it after: a queue that fails does not use up their
    /// chances.
    async fn wake(&self, mut part: Vec<Pending>, now: DateTime<Utc>) -> Swept {
        let refused = self.send(&part).await;
        part.retain(|pending| !refused.contains(&pending.wake));
        self.note(part, true, now).await.and(Swept::failed(refused.len()))
    }

    /// Wakes at most ten events before their time, which is none of their chances. It is noted
    /// before, as until then a worker would leave them for later.
    async fn wake_early(&self, part: Vec<Pending>, now: DateTime<Utc>) -> Swept {
        let noted = self.note(part.clone(), false, now).await;
        noted.and(Swept::failed(self.send(&part).await.len()))
    }

    /// Sends wake-ups; those that the queue did not take.
    async fn send(&self, part: &[Pending]) -> Vec<Wake> {
        let wakes: Vec<_> = part.iter().map(|pending| pending.wake.clone()).collect();
        self.queue.send_all(&wakes).await.unwrap_or_else(|error| {
            tracing::error!(events = wakes.len(), causes = error.causes(), "not woken: {error}");
            wakes
        })
    }

    async fn note(&self, woken: Vec<Pending>, counts: bool, now: DateTime<Utc>) -> Swept {
        let noted = stream::iter(woken).map(async |pending| {
            let again_at = now + GRACE * 2_i32.pow(pending.wakes.min(WAKES_MAX));
            match self.events.woken(&pending, again_at, counts).await {
                // Somebody else moved it on meanwhile; then a wake-up too many does no harm.
                Ok(_) => Swept { woken: 1, ..Swept::default() },
                Err(error) => {
                    let event = &pending.wake.event;
                    tracing::error!(event, causes = error.causes(), "not noted as woken: {error}");
                    Swept::failed(1)
                }
            }
        });
        noted.buffer_unordered(CONCURRENT).fold(Swept::default(), async |sum, one| sum.and(one)).await
    }

    async fn give_up(&self, pending: Pending, now: DateTime<Utc>) -> Swept {
        match self.bury(&pending.wake, now).await {
            Ok(dead) => Swept { dead: dead.into(), ..Swept::default() },
            Err(error) => {
                let event = &pending.wake.event;
                tracing::error!(event, causes = error.causes(), "cannot be given up: {error}");
                Swept::failed(1)
            }
        }
    }

    /// Marks an event as dead that no worker came to an end with; whether it was still so.
    async fn bury(&self, wake: &Wake, now: DateTime<Utc>) -> Result<bool, Error> {
        let held = self.events.held(&HashSet::from([wake.clone()]), now).await?;
        let held = held.into_iter().map(|(_, held)| held).collect::<Result<Vec<_>, _>>()?;
        let Some(held) = held.into_iter().flatten().find(|held| held.is_pending() && held.wakes >= WAKES_MAX)
        else {
            return Ok(false);
        };
        self.dead.put(wake, SILENT).await?;
        let attempt = Attempt { at: now, duration_ms: 0, error: Some(SILENT.to_owned()) };
        let marked = self.events.mark(vec![Mark { held, attempt, became: Became::Dead }], now).await;
        let marked = marked.into_iter().map(|(_, marked)| marked).collect::<Result<Vec<_>, _>>()?;
        Ok(marked.contains(&Marked::Done))
    }
}

impl Swept {
    fn failed(events: usize) -> Self {
        Self { failed: events as u64, ..Self::default() }
    }

    fn and(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Swept {
    fn add_assign(&mut self, other: Self) {
        self.woken += other.woken;
        self.dead += other.dead;
        self.failed += other.failed;
    }
}
