//! The way down a provider's list: page by page, hour by hour.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    FIRST, Fetched, LATE, List, Listed, OLDEST, PERSISTENCE, Page, Run, SETTLED, Window,
    completeness::{Progress, Row, Standing, State, Tally},
    hour_of, patiently,
};
use crate::{
    Error,
    providers::{Cause, Refusal},
    webhooks::{
        Status,
        event::{Via, event_id},
        queue::Wake,
        receive,
        store::{Accepted, Head, NewEvent, Outcome},
    },
};

/// What is fetched at once.
const FETCHES_AT_ONCE: usize = 4;
/// Events of a page that may fail, one by one, while none was had.
const FAILED_MAX: usize = 4;

/// A window of a list, and how far down it is compared.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Walk {
    /// The first moment of the window, the beginning of an hour.
    from: DateTime<Utc>,
    /// The first moment that is too late.
    to: DateTime<Utc>,
    /// Up to where all is known at the end.
    through: DateTime<Utc>,
    /// The hour that is being counted.
    hour: DateTime<Utc>,
    /// What was counted in it.
    tally: Tally,
    /// Where the next page begins; none for the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// The earliest hour in which something is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gap: Option<DateTime<Utc>>,
}

/// How a walk ended.
pub(super) enum Ended {
    Whole,
    Late,
    Refused(Refusal),
}

/// What became of an event that is listed.
enum Found {
    Held { id: String, status: Status, via: Via },
    Missing { message: String },
}

impl Walk {
    /// From what is known, with some hours of it again, up to what is settled.
    pub(super) fn plan(progress: &Progress, now: DateTime<Utc>) -> Self {
        let to = now - SETTLED;
        let to = to.duration_trunc(TimeDelta::seconds(1)).unwrap_or(to);
        let gap = progress.gap.filter(|gap| *gap >= now - PERSISTENCE);
        let known = progress.through.map(|through| gap.unwrap_or(through).min(through - LATE));
        let oldest = hour_of(now - OLDEST) + TimeDelta::hours(1);
        let from = known.unwrap_or(hour_of(now) - FIRST).max(oldest);
        let hour = hour_of(to - TimeDelta::seconds(1));
        Self { from, to, through: hour_of(to), hour, tally: Tally::default(), position: None, gap: None }
    }

    fn end_of_hour(&self) -> DateTime<Utc> {
        self.to.min(self.hour + TimeDelta::hours(1))
    }

    /// Begins the hour anew: the place in the list is lost.
    fn restart(&mut self) {
        self.to = self.end_of_hour();
        self.tally = Tally::default();
        self.position = None;
    }

    /// Ends the hour, and goes on with the one before it.
    fn close(&mut self, now: DateTime<Utc>) -> Row {
        if self.tally.missing > 0 {
            self.gap = Some(self.hour);
        }
        let until = self.end_of_hour();
        let row = Row { hour: self.hour, until, tally: std::mem::take(&mut self.tally), checked_at: now };
        self.hour -= TimeDelta::hours(1);
        row
    }
}

impl Run<'_> {
    /// Goes down a list, taking in what is missing, until its window ends or time does. What was
    /// compared is saved page by page.
    pub(super) async fn walk<L: List>(
        self,
        list: &L,
        progress: &mut Progress,
        healed: &mut u64,
    ) -> Result<Ended, Error> {
        let completeness = &self.healer.completeness;
        let mut seen = Seen::default();
        let mut resumed = true;
        while let Some(walk) = &mut progress.walk {
            if Instant::now() >= self.end {
                return Ok(Ended::Late);
            }
            let window = Window { from: walk.from, to: walk.to };
            let page = match patiently(self.end, || list.page(window, walk.position.as_deref())).await {
                Ok(page) => page,
                // A place in a list may be forgotten like what is on it.
                Err(refusal)
                    if resumed
                        && walk.position.is_some()
                        && !matches!(refusal.cause, Cause::Network | Cause::RateLimited) =>
                {
                    walk.restart();
                    continue;
                }
                Err(refusal) => return Ok(Ended::Refused(refusal)),
            };
            resumed = false;
            let found = match self.compare(list, walk, &page, healed).await? {
                Ok(found) => found,
                Err(refusal) => return Ok(Ended::Refused(refusal)),
            };
            let counted = walk.count(&page, &found, &mut seen, self.now);
            completeness.write(self.home, L::SOURCE, counted.closed).await?;
            if counted.below || page.next.is_none() {
                let rest = walk.rest(counted.below, self.now - L::KEPT, self.now);
                completeness.write(self.home, L::SOURCE, rest).await?;
                progress.through = Some(walk.through);
                progress.gap = walk.gap;
                progress.state = Some(State::new(Standing::Checked, self.now));
                progress.walk = None;
            } else if counted.advanced && page.next != walk.position {
                walk.position = page.next;
            } else {
                walk.restart();
                let message = "a page of the list is the one before it again".to_owned();
                return Ok(Ended::Refused(Refusal { cause: Cause::Provider, message, retry_after: None }));
            }
            completeness.save(self.home, L::SOURCE, progress).await?;
        }
        Ok(Ended::Whole)
    }

    /// What became of each event on a page, by the provider's id, after what was missing has been
    /// taken in. Refused if nothing more is to be had of the provider for now.
    async fn compare<L: List>(
        self,
        list: &L,
        walk: &Walk,
        page: &Page<L::Kept>,
        healed: &mut u64,
    ) -> Result<Result<HashMap<String, Found>, Refusal>, Error> {
        let window = walk.from..walk.to;
        let mut wanted: HashMap<String, &Listed<L::Kept>> = page
            .rows
            .iter()
            .flatten()
            .filter(|listed| window.contains(&listed.at))
            .map(|listed| (event_id(self.home, L::SOURCE.word(), &listed.provider_id), listed))
            .collect();
        let ids: Vec<_> = wanted.keys().map(String::as_str).collect();
        let held = self.healer.store.heads(self.home, &ids, self.now).await?;
        let mut found = HashMap::new();
        for Head { id, status, via } in held {
            if let Some(listed) = wanted.remove(&id) {
                found.insert(listed.provider_id.clone(), Found::Held { id, status, via });
            }
        }
        let missing: Vec<_> = wanted.into_values().map(|listed| self.take_in(list, listed)).collect();
        let mut taken = stream::iter(missing).buffer_unordered(FETCHES_AT_ONCE);
        let (mut some, mut failed) = (false, 0);
        while let Some((provider_id, one)) = taken.try_next().await? {
            let one = match one {
                Ok(one) => one,
                // The list can be had, so this one alone may be bad: unless all are.
                Err(refusal) if refusal.cause == Cause::Provider && (some || failed < FAILED_MAX) => {
                    failed += 1;
                    Found::Missing { message: refusal.message }
                }
                Err(Refusal { cause: Cause::Format, message, .. }) => Found::Missing { message },
                Err(refusal) => return Ok(Err(refusal)),
            };
            some |= matches!(one, Found::Held { .. });
            *healed += u64::from(matches!(one, Found::Held { via: Via::Healing, .. }));
            found.insert(provider_id, one);
        }
        Ok(Ok(found))
    }

    /// Takes one event in as a delivery of it would have been.
    async fn take_in<L: List>(
        self,
        list: &L,
        listed: &Listed<L::Kept>,
    ) -> Result<(String, Result<Found, Refusal>), Error> {
        let provider_id = listed.provider_id.clone();
        let Fetched { headers, body } = match patiently(self.end, || list.fetch(&listed.kept)).await {
            Ok(fetched) => fetched,
            Err(refusal) => return Ok((provider_id, Err(refusal))),
        };
        let new = NewEvent {
            source: L::SOURCE,
            endpoint: None,
            kind: listed.kind.clone(),
            provider_id: provider_id.clone(),
            via: Via::Healing,
            headers: receive::kept(&headers, None),
            received_at: self.now,
        };
        let Accepted { id, outcome } = self.healer.store.accept(self.home, new, &body).await?;
        let via = match outcome {
            Outcome::Accepted => {
                let wake = Wake::of(self.home, &id);
                if let Err(error) = self.healer.queue.send(&wake, Duration::ZERO).await {
                    tracing::warn!(event = id, causes = error.causes(), "left to the sweep: {error}");
                }
                Via::Healing
            }
            // A delivery was faster.
            Outcome::Duplicate => Via::Delivery,
        };
        Ok((provider_id, Ok(Found::Held { id, status: Status::Received, via })))
    }
}

/// What was counted already: a provider may list an event twice.
#[derive(Default)]
struct Seen {
    /// Events of the hour that is being counted.
    hour: HashSet<String>,
    /// Rows of the page before.
    page: HashSet<(String, DateTime<Utc>)>,
}

/// What counting a page gave.
struct Counted {
    /// Hours that are whole.
    closed: Vec<Row>,
    /// Whether the page goes below the window.
    below: bool,
    /// Whether it has anything that the page before has not.
    advanced: bool,
}

impl Walk {
    fn count<K>(
        &mut self,
        page: &Page<K>,
        found: &HashMap<String, Found>,
        seen: &mut Seen,
        now: DateTime<Utc>,
    ) -> Counted {
        let mut counted = Counted { closed: Vec::new(), below: false, advanced: false };
        let mut rows = HashSet::new();
        for listed in &page.rows {
            let Some(Listed { provider_id, at, .. }) = listed else {
                self.tally.listed += 1;
                self.tally.missing(None, "a row of the list cannot be read");
                continue;
            };
            let row = (provider_id.clone(), *at);
            if seen.page.contains(&row) || !rows.insert(row) {
                continue;
            }
            counted.advanced = true;
            counted.below |= *at < self.from;
            let Some(found) = found.get(provider_id) else { continue };
            while *at < self.hour {
                counted.closed.push(self.close(now));
                seen.hour.clear();
            }
            if seen.hour.insert(provider_id.clone()) {
                self.tally.count(provider_id, found);
            }
        }
        seen.page = rows;
        counted
    }

    /// The hours that are left when the list ends. Where it may have been cut off, only those are
    /// told that it surely had: from `sure` on.
    fn rest(&mut self, below: bool, sure: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Row> {
        let mut rows = Vec::new();
        while self.hour >= self.from && (below || self.hour >= sure) {
            rows.push(self.close(now));
        }
        rows
    }
}

impl Tally {
    fn count(&mut self, provider_id: &str, found: &Found) {
        self.listed += 1;
        match found {
            Found::Held { id, status, via } => {
                self.held += 1;
                self.healed += u64::from(*via == Via::Healing);
                if *status == Status::Dead {
                    self.dead(id);
                }
            }
            Found::Missing { message } => self.missing(Some(provider_id), message),
        }
    }
}
