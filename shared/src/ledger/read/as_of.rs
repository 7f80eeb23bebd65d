//! Totals as of the end of a day: what all versions say that are known today of that day.

use std::fmt::Write;

use chrono::NaiveDate;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    CommissionTotals, Window, commissions,
    line::Line,
    revenue::{self, RevenueTotals, Turnover},
    totals::Totals,
    users::{self, UserTotals},
};
use crate::{
    Error, id,
    identity::Workspace,
    ledger::{Ledger, counter::Tally, money::Currency, policy::Policy},
    store::key::Book,
};

/// Days that count as recent, for sign-ups and for churn.
const RECENT_DAYS: u64 = 30;

/// Totals as of the end of a day.
///
/// The same day gives the same answer, whenever it is asked and in whatever order entities
/// arrived, until a version comes that tells something else of that day or of one before.
#[derive(Debug, Serialize)]
pub struct AsOf<T> {
    /// The day, where the workspace is.
    pub as_of: NaiveDate,
    /// What the metrics mean.
    pub policy: &'static str,
    /// SHA-256, in hexadecimal, of the day, the policy, the currency, all counters as of the day,
    /// what is told of the days before it, and the sum of the hashes of the versions that were in
    /// force. Two answers with one digest were made from the same versions.
    pub digest: String,
    /// The totals.
    #[serde(flatten)]
    pub totals: T,
}

/// Revenue's totals as of a day. The policy stands beside them already.
#[derive(Debug, Serialize)]
pub struct RevenueAsOf {
    /// The day, where the workspace is.
    pub as_of: NaiveDate,
    /// As in [`AsOf`].
    pub digest: String,
    /// Totals.
    #[serde(flatten)]
    pub totals: RevenueTotals,
    /// More of them.
    #[serde(flatten)]
    pub turnover: Turnover,
}

impl Ledger {
    /// Revenue as of the end of a day. 64 queries.
    pub async fn revenue_as_of(
        &self,
        workspace: &Workspace,
        day: NaiveDate,
        policy: Policy,
        currency: Currency,
    ) -> Result<RevenueAsOf, Error> {
        let (line, totals) = self.as_of(workspace, Book::Revenue, day).await?;
        let turnover = revenue::turnover(&totals, &line, day, policy, currency);
        Ok(RevenueAsOf {
            as_of: day,
            digest: digest(day, policy, currency, &totals, &turnover),
            turnover,
            totals: revenue::totals(&totals, &totals, policy, currency),
        })
    }

    /// Commissions as of the end of a day. 64 queries.
    pub async fn commissions_as_of(
        &self,
        workspace: &Workspace,
        day: NaiveDate,
        policy: Policy,
        currency: Currency,
    ) -> Result<AsOf<CommissionTotals>, Error> {
        let (_, totals) = self.as_of(workspace, Book::Commissions, day).await?;
        Ok(AsOf {
            as_of: day,
            policy: policy.word(),
            digest: digest(day, policy, currency, &totals, &()),
            totals: commissions::totals(&totals, currency),
        })
    }

    /// Users as of the end of a day. 2 queries at once.
    pub async fn users_as_of(
        &self,
        workspace: &Workspace,
        day: NaiveDate,
    ) -> Result<AsOf<UserTotals>, Error> {
        // Nothing of users depends on these.
        let (policy, currency) = (Policy::default(), Currency::default());
        let (line, totals) = self.as_of(workspace, Book::Users, day).await?;
        let recent = line.moved(Window::up_to(day, RECENT_DAYS)).get(Tally::Users);
        Ok(AsOf {
            as_of: day,
            policy: policy.word(),
            digest: digest(day, policy, currency, &totals, &recent),
            totals: users::totals_of(&totals, recent),
        })
    }

    /// What stood at the end of a day, and the line of the days that count as recent.
    pub(super) async fn as_of(
        &self,
        workspace: &Workspace,
        book: Book,
        day: NaiveDate,
    ) -> Result<(Line, Totals), Error> {
        let line = self.line(workspace, book, Window::up_to(day, RECENT_DAYS)).await?;
        let totals = line.end_of(day);
        Ok((line, totals))
    }
}

/// How many bits a version's hash has; sums of them are taken modulo 2 to this.
const DIGEST_BITS: u32 = 96;

/// `days` is what is told of the days up to this one.
fn digest(
    day: NaiveDate,
    policy: Policy,
    currency: Currency,
    totals: &Totals,
    days: &impl Serialize,
) -> String {
    let versions = totals.get(Tally::Digest).rem_euclid(1 << DIGEST_BITS);
    let days = serde_json::to_string(days).unwrap_or_default();
    let mut text = format!("{day}\n{}\n{currency}\n{versions:024x}\n{days}\n", policy.word());
    // What came and went ever since is in no answer.
    let stands = |tally: &Tally| !matches!(tally, Tally::Digest | Tally::New(_) | Tally::Churned(_));
    for (tally, value) in totals.iter().filter(|(tally, _)| stands(tally)) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{tally}={value}");
    }
    id::hex(&Sha256::digest(text))
}
