//! Healing: what a provider's own list has and we have not is fetched, and taken in as if it had
//! been delivered.
//!
//! A [`List`] is what a provider says it sent, newest first; [`walk`] goes down it, compares each
//! page with what is stored, and takes in what is missing through the store and the queue of every
//! delivery. What it saw is written hour by hour ([`completeness`]), and where it is after each
//! page: a run that is stopped, at any moment, is gone on with by the next one.

pub mod completeness;
mod github;
mod stripe;
mod walk;

use std::{future::Future, time::Duration};

use aws_config::SdkConfig;
use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use lambda_http::http::HeaderMap;
use serde::Serialize;
use tokio::time::Instant;

use self::{
    completeness::{Completeness, Standing, State},
    walk::Walk,
};
use super::{Queue, Source, Webhooks};
use crate::{
    Error,
    identity::Workspace,
    lambda::{Env, EnvError},
    providers::{self, Cause, Refusal},
    secrets::{PlatformSecrets, SecretName},
};

/// What is younger may still be on its way to us.
const SETTLED: TimeDelta = TimeDelta::minutes(10);
/// How far back the first run looks.
const FIRST: TimeDelta = TimeDelta::hours(71);
/// How far every run looks back: a list may be late.
const LATE: TimeDelta = TimeDelta::hours(2);
/// For how long an hour in which something is missing is looked at again.
const PERSISTENCE: TimeDelta = TimeDelta::hours(24);
/// No provider's list goes back further.
const OLDEST: TimeDelta = TimeDelta::days(30);
/// A provider that asks for more patience than this is left to the next run.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What a provider says it sent.
trait List {
    /// What the list tells of an event.
    type Kept;
    /// Whose list it is.
    const SOURCE: Source;
    /// How far back the list surely goes: further back, what is not on it may have been taken off.
    const KEPT: TimeDelta;

    /// A page of what was sent in the window, newest first; `position` is where one ended. It may
    /// hold more than the window.
    async fn page(&self, window: Window, position: Option<&str>) -> Result<Page<Self::Kept>, Refusal>;

    /// What a delivery of it has.
    async fn fetch(&self, kept: &Self::Kept) -> Result<Fetched, Refusal>;
}

#[derive(Clone, Copy)]
struct Window {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

struct Page<K> {
    /// `None` stands for a row that cannot be read.
    rows: Vec<Option<Listed<K>>>,
    next: Option<String>,
}

struct Listed<K> {
    provider_id: String,
    kind: String,
    at: DateTime<Utc>,
    kept: K,
}

struct Fetched {
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What a run did for one source.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Whose list was compared.
    pub source: Source,
    /// How that ended.
    #[serde(flatten)]
    pub state: State,
    /// Events that were taken in.
    pub healed: u64,
    /// Whether time was over before all was compared.
    pub more: bool,
}

/// Compares with the providers' lists and takes in what is missing.
pub struct Healer {
    home: Option<Workspace>,
    store: Webhooks,
    queue: Queue,
    completeness: Completeness,
    client: providers::Client,
    secrets: PlatformSecrets,
    app_id: Option<String>,
}

impl Healer {
    /// Reads `GITHUB_APP_ID` and what [`Webhooks`], [`Queue`], [`providers::Client`],
    /// [`PlatformSecrets`] and [`Workspace::home`] read.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self {
            home: Workspace::home(env)?,
            store: Webhooks::load(env, sdk)?,
            queue: Queue::load(env, sdk)?,
            completeness: Completeness::load(env, sdk)?,
            client: providers::Client::load(env)?,
            secrets: PlatformSecrets::load(env, sdk)?,
            app_id: env.optional("GITHUB_APP_ID")?.filter(|id: &String| !id.is_empty()),
        })
    }

    /// Compares every source that is configured, up to ten minutes ago; begins no page after
    /// `end`. What fails of one source does not stop another.
    pub async fn heal(&self, now: DateTime<Utc>, end: Instant) -> Vec<Result<Outcome, Error>> {
        let Some(home) = &self.home else { return Vec::new() };
        let run = Run { healer: self, home, now, end };
        let (stripe, github) = futures::future::join(run.stripe(), run.github()).await;
        vec![stripe, github]
    }

    async fn secret(
        &self,
        name: SecretName,
        now: DateTime<Utc>,
    ) -> Result<Option<std::sync::Arc<crate::secrets::Rolling>>, Error> {
        match self.secrets.get(name, now).await {
            Ok(secret) => Ok(Some(secret)),
            Err(Error::NotConfigured { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// One run of a [`Healer`].
#[derive(Clone, Copy)]
struct Run<'a> {
    healer: &'a Healer,
    home: &'a Workspace,
    now: DateTime<Utc>,
    end: Instant,
}

impl Run<'_> {
    async fn stripe(self) -> Result<Outcome, Error> {
        let name = SecretName::StripeApiKey;
        let Some(api_key) = self.healer.secret(name, self.now).await? else {
            return self.not_configured(Source::Stripe, vec![name.as_str()]).await;
        };
        self.source(stripe::Events { client: &self.healer.client, api_key: api_key.current() }).await
    }

    async fn github(self) -> Result<Outcome, Error> {
        let name = SecretName::GithubAppPrivateKey;
        let private_key = self.healer.secret(name, self.now).await?;
        let (Some(id), Some(private_key)) = (&self.healer.app_id, &private_key) else {
            let lacks_id = self.healer.app_id.is_none().then_some("GithubAppId");
            let lacks_key = private_key.is_none().then_some(name.as_str());
            return self
                .not_configured(Source::Github, lacks_id.into_iter().chain(lacks_key).collect())
                .await;
        };
        let app = providers::github::App { id, private_key: private_key.current() };
        self.source(github::Deliveries { client: &self.healer.client, app }).await
    }

    async fn not_configured(self, source: Source, missing: Vec<&'static str>) -> Result<Outcome, Error> {
        let mut progress = self.healer.completeness.progress(self.home, source).await?;
        let lacks = missing.iter().map(|&name| name.to_owned()).collect();
        let state = State { missing: lacks, ..State::new(Standing::NotConfigured, self.now) };
        progress.state = Some(state.clone());
        self.healer.completeness.save(self.home, source, &progress).await?;
        Ok(Outcome { source, state, healed: 0, more: false })
    }

    /// Ends what an earlier run left, and then goes from where all is known up to what is settled.
    async fn source<L: List>(self, list: L) -> Result<Outcome, Error> {
        let mut progress = self.healer.completeness.progress(self.home, L::SOURCE).await?;
        let mut healed = 0;
        let left = progress.walk.is_some();
        for _ in 0..=usize::from(left) {
            if progress.walk.is_none() {
                progress.walk = Some(Walk::plan(&progress, self.now));
            }
            match self.walk(&list, &mut progress, &mut healed).await? {
                walk::Ended::Whole => {}
                walk::Ended::Late => {
                    let state = progress.state.unwrap_or_else(|| State::new(Standing::Unchecked, self.now));
                    return Ok(Outcome { source: L::SOURCE, state, healed, more: true });
                }
                walk::Ended::Refused(refusal) => {
                    let Refusal { cause, message, .. } = refusal;
                    tracing::warn!(
                        source = L::SOURCE.word(),
                        ?cause,
                        message,
                        "a list could not be compared"
                    );
                    progress.state = Some(State {
                        cause: Some(cause),
                        message: Some(message),
                        ..State::new(Standing::Unchecked, self.now)
                    });
                    break;
                }
            }
        }
        self.healer.completeness.save(self.home, L::SOURCE, &progress).await?;
        let state = progress.state.unwrap_or_else(|| State::new(Standing::Checked, self.now));
        Ok(Outcome { source: L::SOURCE, state, healed, more: progress.walk.is_some() })
    }
}

/// Asks again what may pass: after the time that the provider names, or half a second, doubling.
async fn patiently<T, F>(end: Instant, mut ask: impl FnMut() -> F) -> Result<T, Refusal>
where
    F: Future<Output = Result<T, Refusal>>,
{
    let pauses = ExponentialBuilder::default().with_min_delay(Duration::from_millis(500)).with_max_times(3);
    for pause in pauses.with_jitter().build() {
        let refusal = match ask().await {
            Err(refusal) if may_pass(&refusal) => refusal,
            answer => return answer,
        };
        let wait = refusal.retry_after.unwrap_or(pause);
        if wait > WAIT_MAX || Instant::now() + wait > end {
            return Err(refusal);
        }
        tokio::time::sleep(wait).await;
    }
    ask().await
}

/// Whether the same question may have an answer later.
fn may_pass(refusal: &Refusal) -> bool {
    matches!(refusal.cause, Cause::Network | Cause::RateLimited | Cause::Provider)
}

/// The hour in which a time is.
fn hour_of(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::hours(1)).unwrap_or(time)
}
