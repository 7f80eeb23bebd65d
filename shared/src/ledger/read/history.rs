//! Series for charts: a number a day.

use chrono::NaiveDate;
use serde::Serialize;

use super::{
    super::{
        Ledger,
        counter::Tally,
        money::{Currency, Decimal, divide, major},
        policy::Policy,
    },
    Window,
    line::{Day, Line},
    revenue::{MICRO, net},
    totals::{Totals, count},
};
use crate::{Error, fields::Fields, identity::Workspace, store::key::Book, word::words};

use super::query;

/// Days of a series unless more or less are asked for.
const DAYS: u64 = 30;

words! {
    /// What a series is of.
    Metric {
        /// Revenue, MRR and subscriptions.
        Revenue = "revenue",
        /// Users and sign-ups.
        Users = "users",
        /// Commissions.
        Commissions = "commissions",
    }
}

/// A day of revenue.
#[derive(Debug, Serialize)]
pub struct RevenueDay {
    /// The day, where the workspace is.
    pub date: NaiveDate,
    /// Net revenue of what was paid on it.
    pub revenue: Decimal,
    /// Transactions that succeeded on it.
    pub succeeded_transactions: u64,
    /// … that failed.
    pub failed_transactions: u64,
    /// Subscriptions that became active on it.
    pub new_subscriptions: u64,
    /// … that ceased to be.
    pub churned_subscriptions: u64,
    /// Active ones at its end.
    pub active_subscriptions: u64,
    /// MRR at its end.
    pub monthly_recurring_revenue: Decimal,
}

/// A day of users.
#[derive(Debug, Serialize)]
pub struct UsersDay {
    /// The day, where the workspace is.
    pub date: NaiveDate,
    /// Users who joined on it.
    pub signups: u64,
    /// Users at its end.
    pub total_users: u64,
}

/// A day of commissions.
#[derive(Debug, Serialize)]
pub struct CommissionsDay {
    /// The day, where the workspace is.
    pub date: NaiveDate,
    /// What was earned on it.
    pub commissions: Decimal,
    /// By how many transactions.
    pub transactions: u64,
}

/// The days of a series, oldest first.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Series {
    /// Of revenue.
    Revenue(Vec<RevenueDay>),
    /// Of users.
    Users(Vec<UsersDay>),
    /// Of commissions.
    Commissions(Vec<CommissionsDay>),
}

/// A series.
#[derive(Debug, Serialize)]
pub struct History {
    /// What it is of.
    pub metric: Metric,
    /// What its amounts are counted in.
    pub currency: Currency,
    /// What the metrics mean.
    pub policy: &'static str,
    /// Each day that was asked for, whether anything happened on it or not.
    pub days: Series,
}

/// A question about days.
pub struct HistoryQuery {
    metric: Metric,
    window: Window,
    policy: Policy,
    currency: Currency,
}

impl HistoryQuery {
    /// Reads `metric`, `from`, `to`, `currency` and `policy`.
    pub fn parse(mut fields: Fields, today: NaiveDate, reporting: Currency) -> Result<Self, Error> {
        let metric = fields.required("metric", crate::fields::one_of(Metric::WORDS));
        let window = query::window(&mut fields, today).unwrap_or_else(|| Window::up_to(today, DAYS));
        if window.last() > today {
            fields.refuse("to", "must not lie in the future");
        }
        let policy = query::policy(&mut fields, "policy");
        let currency = query::currency(&mut fields, reporting);
        fields.finish().map_err(Error::Invalid)?;
        Ok(Self { metric, window, policy, currency })
    }
}

impl Ledger {
    /// A series of up to 366 days. 64 queries, 2 of users.
    pub async fn history(&self, workspace: &Workspace, query: &HistoryQuery) -> Result<History, Error> {
        let HistoryQuery { metric, window, policy, currency } = *query;
        let book = match metric {
            Metric::Revenue => Book::Revenue,
            Metric::Users => Book::Users,
            Metric::Commissions => Book::Commissions,
        };
        let line = self.line(workspace, book, window).await?;
        let days = match metric {
            Metric::Revenue => Series::Revenue(each(&line, window, |date, day, end| RevenueDay {
                date,
                revenue: major(net(&day.own, currency), currency),
                succeeded_transactions: count(day.own.get(Tally::Succeeded(currency))),
                failed_transactions: count(day.own.get(Tally::Failed(currency))),
                new_subscriptions: count(day.moved.get(Tally::New(policy))),
                churned_subscriptions: count(day.moved.get(Tally::Churned(policy))),
                active_subscriptions: end.active(policy),
                monthly_recurring_revenue: major(divide(end.monthly(policy, currency), MICRO), currency),
            })),
            Metric::Users => Series::Users(each(&line, window, |date, day, end| UsersDay {
                date,
                signups: count(day.own.get(Tally::Users)),
                total_users: count(end.get(Tally::Users)),
            })),
            Metric::Commissions => Series::Commissions(each(&line, window, |date, day, _| CommissionsDay {
                date,
                commissions: major(day.own.get(Tally::Earned(currency)), currency),
                transactions: count(day.own.get(Tally::Commissions(currency))),
            })),
        };
        Ok(History { metric, currency, policy: policy.word(), days })
    }
}

/// Each day of a window, with what stood at its end.
fn each<T>(line: &Line, window: Window, show: impl Fn(NaiveDate, &Day, &Totals) -> T) -> Vec<T> {
    let nothing = Day::default();
    let mut end = line.end_of(window.from.pred_opt().unwrap_or(window.from));
    window
        .from
        .iter_days()
        .take_while(|date| *date < window.to)
        .map(|date| {
            let day = line.day(date).unwrap_or(&nothing);
            end.merge(&day.moved);
            show(date, day, &end)
        })
        .collect()
}
