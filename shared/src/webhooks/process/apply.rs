//! What a batch of events brings to the ledger.

use std::{collections::BTreeMap, mem::take};

use chrono::{DateTime, Utc};
use futures::{StreamExt, future::join, stream};

use super::{CONCURRENT, Tried};
use crate::{
    Error,
    identity::Workspace,
    ledger::{Entity, Ledger, Outcome},
    webhooks::handle::{Effects, Failed},
};

/// Versions of one call, as the ledger takes.
const CALL: usize = 100;

/// Puts what all events bring: one call for each workspace and kind, all at a time. Where a call
/// fails, each of its events is put by itself, so that what keeps one of them from it keeps no
/// other. The ledger finds out by itself which version of an entity is the latest, so neither
/// order matters nor that one is put twice.
pub(super) async fn apply(ledger: &Ledger, tried: &mut [Tried], now: DateTime<Utc>) {
    let subscriptions = gather(tried, |effects| take(&mut effects.subscriptions));
    let transactions = gather(tried, |effects| take(&mut effects.transactions));
    let (subscriptions, transactions) =
        join(put(ledger, subscriptions, now), put(ledger, transactions, now)).await;
    for (place, failed) in subscriptions.into_iter().chain(transactions) {
        tried[place].result = Err(failed);
    }
}

/// Versions of one kind in one workspace, each with the place of the event that brings it.
struct Call<E> {
    workspace: Workspace,
    versions: Vec<(usize, E)>,
}

/// The calls that bring what events bring of one kind, by workspace.
fn gather<E>(tried: &mut [Tried], versions: impl Fn(&mut Effects) -> Vec<E>) -> Vec<Vec<Call<E>>> {
    let mut workspaces = BTreeMap::<String, Vec<Call<E>>>::new();
    for (place, Tried { held, result, .. }) in tried.iter_mut().enumerate() {
        let Ok(effects) = result else { continue };
        for version in versions(effects) {
            let calls = workspaces.entry(held.workspace.to_string()).or_default();
            match calls.last_mut().filter(|call| call.versions.len() < CALL) {
                Some(call) => call.versions.push((place, version)),
                None => {
                    calls.push(Call { workspace: held.workspace.clone(), versions: vec![(place, version)] });
                }
            }
        }
    }
    workspaces.into_values().collect()
}

/// Puts what is of one kind; tells of the events for which that failed.
async fn put<E: Entity>(
    ledger: &Ledger,
    workspaces: Vec<Vec<Call<E>>>,
    now: DateTime<Utc>,
) -> Vec<(usize, Failed)> {
    let each = stream::iter(workspaces).map(async |calls| {
        let mut failed = Vec::new();
        // One after the other: two of them may bring the same entity.
        for call in calls {
            failed.extend(call.put(ledger, now).await);
        }
        failed
    });
    each.buffer_unordered(CONCURRENT).concat().await
}

impl<E: Entity> Call<E> {
    async fn put(self, ledger: &Ledger, now: DateTime<Utc>) -> Vec<(usize, Failed)> {
        let error = match self.attempt(ledger, now).await {
            Ok(failed) => return failed,
            Err(error) => error,
        };
        let mut events = BTreeMap::<usize, Vec<_>>::new();
        for (place, version) in self.versions {
            events.entry(place).or_default().push((place, version));
        }
        if events.len() == 1 {
            return events.into_keys().zip([Failed::Transient(error)]).collect();
        }
        tracing::warn!(causes = error.causes(), "events are put one by one: {error}");
        let alone = stream::iter(events).map(async |(place, versions)| {
            let call = Self { workspace: self.workspace.clone(), versions };
            call.attempt(ledger, now).await.unwrap_or_else(|error| vec![(place, Failed::Transient(error))])
        });
        alone.buffer_unordered(CONCURRENT).concat().await
    }

    /// Tells of the events whose versions the ledger refused.
    async fn attempt(&self, ledger: &Ledger, now: DateTime<Utc>) -> Result<Vec<(usize, Failed)>, Error> {
        let versions = self.versions.iter().map(|(_, version)| version.clone()).collect();
        let outcomes = ledger.put(&self.workspace, versions, now).await?;
        let rejected =
            self.versions.iter().zip(outcomes).filter(|(_, outcome)| *outcome == Outcome::Rejected);
        let refuse = |version: &E| {
            let (kind, id) = (E::KIND.name().to_lowercase(), version.id());
            Failed::Permanent(format!("the ledger has no room for the names that {kind} {id} counts under"))
        };
        Ok(rejected.map(|((place, version), _)| (*place, refuse(version))).collect())
    }
}
