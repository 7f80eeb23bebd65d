//! Moves counters to where the entities put them.
//!
//! A correction is a difference, added as any change adds its own: what writers add at the same
//! time stays, and is right whichever comes first. Each transaction of corrections also counts up
//! a row of its own, on condition that it stands where it stood before the verification that
//! found them. So no correction is made twice, by a repetition after a kill or by two rebuilds at
//! once; what was left out, the next rebuild finds.

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::sleep;

use super::{Report, Settled, Slice, Tell};
use crate::{
    Error,
    activity::Activity,
    id,
    identity::Person,
    lambda::{Env, EnvError},
    ledger::{
        Ledger,
        counter::{ATTRIBUTES_MAX, Deltas},
    },
    store::{
        self, Transacted,
        key::{Key, SHARDS},
        n, number, unavailable,
    },
};

/// Rows of counters in a transaction: with the row that counts and the activity log's, as many as
/// DynamoDB takes.
const ROWS_MAX: usize = 98;

/// What rebuilds counters, and says so in the activity log.
pub struct Rebuild {
    ledger: Ledger,
    activity: Activity,
}

impl Rebuild {
    /// Reads `LEDGER_TABLE`, `TIME_ZONE` and `ACTIVITY_TABLE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let activity = Activity::load(env, &store::client(sdk))?;
        Ok(Self { ledger: Ledger::load(env, sdk)?, activity })
    }

    /// Moves the counters of a workspace that differ; what is undecided stays as it is. Returns
    /// what was moved. May be repeated at any time, also beside writers.
    pub async fn apply(
        &self,
        operator: &Person,
        now: DateTime<Utc>,
        tell: Tell<'_>,
    ) -> Result<Report, Error> {
        let mut report = Report::default();
        let mut slices = vec![Slice::WHOLE];
        while let Some(mut slice) = slices.pop() {
            let mut done = self.done(operator).await?;
            let settled = self.ledger.settled(&operator.workspace, &mut slice, now, tell).await?;
            for part in parts(&settled) {
                self.correct(operator, &part, done, now).await?;
                done += 1;
            }
            slices.extend(slice.rest());
            report.add(settled);
        }
        Ok(report)
    }

    /// How many transactions have corrected counters of the workspace.
    async fn done(&self, operator: &Person) -> Result<u64, Error> {
        let rows = self.ledger.batch(vec![Key::rebuilds(&operator.workspace).item()]).await?;
        Ok(rows.first().map(|row| number(row, "version")).unwrap_or_default())
    }

    async fn correct(
        &self,
        operator: &Person,
        corrections: &Deltas,
        done: u64,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let workspace = &operator.workspace;
        let mut pauses = store::backoff();
        loop {
            let count = self
                .ledger
                .table
                .update(&Key::rebuilds(workspace))
                .update_expression("SET version = :next")
                .condition_expression("attribute_not_exists(pk) OR version = :done")
                .expression_attribute_values(":next", n(done + 1))
                .expression_attribute_values(":done", n(done));
            let numbers: usize = corrections.rows().map(|(_, attributes)| attributes.len()).sum();
            let detail = json!({"rows": corrections.len(), "counters": numbers});
            let mut writes = vec![
                store::update(count)?,
                self.activity.record(operator, "ledger.rebuilt", "counters", detail, now)?,
            ];
            writes.extend(self.ledger.counters(workspace, corrections, id::random_below(SHARDS))?);
            match self.ledger.table.transact(writes).await? {
                Transacted::Done => return Ok(()),
                Transacted::Refused => {
                    let reason = "counters were rebuilt by someone else meanwhile; run it again";
                    return Err(Error::Conflict(reason.to_owned()));
                }
                Transacted::Contended => {
                    sleep(pauses.next().ok_or_else(|| unavailable("too many writers at once"))?).await;
                }
            }
        }
    }
}

/// Corrections by transaction.
fn parts(settled: &Settled) -> Vec<Deltas> {
    let mut parts = Vec::<Deltas>::new();
    for (row, attributes) in settled.corrections.rows() {
        for (at, (attribute, by)) in attributes.iter().enumerate() {
            let is_full = parts.last().is_none_or(|part| part.len() == ROWS_MAX);
            if at.is_multiple_of(ATTRIBUTES_MAX) && (is_full || at > 0) {
                parts.push(Deltas::default());
            }
            if let Some(part) = parts.last_mut() {
                part.add(row, attribute.clone(), *by);
            }
        }
    }
    parts
}
