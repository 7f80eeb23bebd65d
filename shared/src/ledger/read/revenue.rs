//! Revenue, and what subscriptions bring.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, Utc};
use futures::future::{try_join, try_join3};
use serde::Serialize;

use super::{
    super::{
        Ledger,
        counter::Tally,
        money::{Currency, Decimal, divide, major, ratio},
        policy::{Policy, Term},
        transactions::{Transaction, TransactionKind},
    },
    Query, Window,
    line::Line,
    recent::{Recent, TransactionShown},
    totals::{Totals, count},
};
use crate::{Error, identity::Workspace, store::key::Book};

/// Days that the churn rate looks back.
const CHURN_DAYS: u64 = 30;
/// Millionths of a minor unit in one.
pub(super) const MICRO: i128 = 1_000_000;

/// Revenue in one currency.
#[derive(Debug, Serialize)]
pub struct CurrencyRevenue {
    /// Net, of all kinds.
    pub total_revenue: Decimal,
    /// … of periods of subscriptions.
    pub subscription_revenue: Decimal,
    /// … of one-time offers.
    pub tripwire_revenue: Decimal,
    /// … of anything else.
    pub other_revenue: Decimal,
    /// What subscriptions bring in a month, as the policy counts it.
    pub monthly_recurring_revenue: Decimal,
}

/// A plan's part.
#[derive(Debug, Default, Serialize)]
pub struct PlanTotals {
    /// Active subscriptions, of any currency.
    pub count: u64,
    /// Net revenue of its subscriptions' periods. Of all plans it adds up to the subscription
    /// revenue; what names no plan is `unassigned`.
    pub revenue: Decimal,
}

/// Totals in the currency asked for.
#[derive(Debug, Serialize)]
pub struct RevenueTotals {
    /// What the amounts are counted in.
    pub currency: Currency,
    /// What the metrics mean.
    pub policy: &'static str,
    /// Amounts of this currency only: none is converted.
    #[serde(flatten)]
    pub revenue: CurrencyRevenue,
    /// Active subscriptions, of any currency.
    pub active_subscriptions: u64,
    /// … and subscription revenue, by plan.
    pub subscription_breakdown: BTreeMap<String, PlanTotals>,
    /// Revenue in each currency.
    pub by_currency: BTreeMap<Currency, CurrencyRevenue>,
}

/// How payments went, in the currency asked for, and how subscriptions come and go, in all.
#[derive(Debug, Serialize)]
pub struct Turnover {
    /// What was given back.
    pub refunded: Decimal,
    /// Transactions that succeeded.
    pub succeeded_transactions: u64,
    /// Transactions that failed.
    pub failed_transactions: u64,
    /// Succeeded of all; `null` where there were none.
    pub payment_success_rate: Option<Decimal>,
    /// Net revenue of one that succeeded; `null` where none did.
    pub average_transaction_value: Option<Decimal>,
    /// Subscriptions that became active in the last 30 days.
    pub new_subscriptions_30d: u64,
    /// Subscriptions that ceased to be active in the last 30 days.
    pub churned_subscriptions_30d: u64,
    /// Those of all that were active at some time in these days; `null` where there were none.
    pub churn_rate_30d: Option<Decimal>,
}

/// Revenue as tools poll it.
#[derive(Debug, Serialize)]
pub struct Revenue {
    /// Totals.
    #[serde(flatten)]
    pub totals: RevenueTotals,
    /// More of them, for people.
    #[serde(flatten)]
    pub turnover: Option<Turnover>,
    /// Transactions of any currency, newest first.
    pub recent_transactions: Vec<TransactionShown>,
    /// Continues the list.
    pub next_cursor: Option<String>,
}

impl Ledger {
    /// Revenue as tools poll it.
    ///
    /// In a window, amounts are of the days in it, and subscriptions stand as at its end, or as
    /// now if it goes up to today.
    pub async fn revenue(
        &self,
        workspace: &Workspace,
        query: &Query,
        now: DateTime<Utc>,
    ) -> Result<Revenue, Error> {
        let today = self.today(now);
        let last = query.window.map_or(today, |window| window.last().min(today));
        let figures = async {
            match query.window {
                None => {
                    let sum = self.sum(workspace, Book::Revenue).await?;
                    Ok((sum.clone(), sum))
                }
                Some(window) if last == today => {
                    let line = self.days(workspace, Book::Revenue, window);
                    let (line, sum) = try_join(line, self.sum(workspace, Book::Revenue)).await?;
                    Ok((line.own(window), sum))
                }
                Some(window) => {
                    let line = self.line(workspace, Book::Revenue, window).await?;
                    Ok((line.own(window), line.end_of(last)))
                }
            }
        };
        let ((own, standing), recent) = try_join(figures, self.transactions(workspace, query)).await?;
        Ok(revenue(&own, &standing, None, query, recent))
    }

    /// Revenue as people see it: with how payments went and how subscriptions come and go.
    pub async fn revenue_in_detail(
        &self,
        workspace: &Workspace,
        query: &Query,
        now: DateTime<Utc>,
    ) -> Result<Revenue, Error> {
        let today = self.today(now);
        let last = query.window.map_or(today, |window| window.last().min(today));
        let churn = Window::up_to(last, CHURN_DAYS);
        let from = query.window.map_or(churn.from, |window| window.from.min(churn.from));
        let to = query.window.map_or(churn.to, |window| window.to.max(churn.to));
        let (line, sum, recent) = try_join3(
            self.line(workspace, Book::Revenue, Window { from, to }),
            self.sum(workspace, Book::Revenue),
            self.transactions(workspace, query),
        )
        .await?;
        let own = query.window.map_or_else(|| sum.clone(), |window| line.own(window));
        let standing = if last == today { sum } else { line.end_of(last) };
        let turnover = turnover(&own, &line, last, query.policy, query.currency);
        Ok(revenue(&own, &standing, Some(turnover), query, recent))
    }

    async fn transactions(&self, workspace: &Workspace, query: &Query) -> Result<Recent<Transaction>, Error> {
        self.recent(workspace, query.window, query.limit, query.cursor.as_deref()).await
    }
}

fn revenue(
    own: &Totals,
    standing: &Totals,
    turnover: Option<Turnover>,
    query: &Query,
    recent: Recent<Transaction>,
) -> Revenue {
    Revenue {
        totals: totals(own, standing, query.policy, query.currency),
        turnover,
        recent_transactions: recent.entities.into_iter().map(TransactionShown::from).collect(),
        next_cursor: recent.next_cursor,
    }
}

/// Totals of what was paid, and of how subscriptions stand.
pub(super) fn totals(own: &Totals, standing: &Totals, policy: Policy, currency: Currency) -> RevenueTotals {
    let paid = own.iter().filter_map(|(tally, _)| match tally {
        Tally::Net(currency, _) | Tally::Succeeded(currency) | Tally::Failed(currency) => Some(currency),
        _ => None,
    });
    let agreed = standing.iter().filter_map(|(tally, _)| match tally {
        Tally::Monthly(currency, ..) => Some(currency),
        _ => None,
    });
    let by_currency =
        paid.chain(agreed).map(|currency| (currency, in_currency(own, standing, policy, currency))).collect();
    let mut plans = BTreeMap::<String, PlanTotals>::new();
    for (tally, value) in own.iter() {
        if let Tally::PlanNet(of, plan) = tally
            && of == currency
        {
            plans.entry(plan.to_owned()).or_default().revenue = major(value, currency);
        }
    }
    for (tally, value) in standing.iter() {
        if let Tally::Planned(status, priced, plan) = tally
            && policy.counts(Term::Active(status, priced))
        {
            plans.entry(plan.to_owned()).or_default().count += count(value);
        }
    }
    RevenueTotals {
        currency,
        policy: policy.word(),
        revenue: in_currency(own, standing, policy, currency),
        active_subscriptions: standing.active(policy),
        subscription_breakdown: plans,
        by_currency,
    }
}

fn in_currency(own: &Totals, standing: &Totals, policy: Policy, currency: Currency) -> CurrencyRevenue {
    let of = |kind| major(own.get(Tally::Net(currency, kind)), currency);
    CurrencyRevenue {
        total_revenue: major(net(own, currency), currency),
        subscription_revenue: of(TransactionKind::Subscription),
        tripwire_revenue: of(TransactionKind::Tripwire),
        other_revenue: of(TransactionKind::Other),
        monthly_recurring_revenue: major(divide(standing.monthly(policy, currency), MICRO), currency),
    }
}

/// Net amount of all transactions, in minor units.
pub(super) fn net(own: &Totals, currency: Currency) -> i128 {
    own.sum(|tally| matches!(tally, Tally::Net(of, _) if of == currency))
}

/// How payments went, and subscriptions came and went in the days up to `last`.
pub(super) fn turnover(
    own: &Totals,
    line: &Line,
    last: NaiveDate,
    policy: Policy,
    currency: Currency,
) -> Turnover {
    let (succeeded, failed) = (own.get(Tally::Succeeded(currency)), own.get(Tally::Failed(currency)));
    let window = Window::up_to(last, CHURN_DAYS);
    let moved = line.moved(window);
    let (new, churned) = (moved.get(Tally::New(policy)), moved.get(Tally::Churned(policy)));
    let before = line.end_of(window.from - Days::new(1)).active(policy);
    Turnover {
        refunded: major(own.get(Tally::Refunded(currency)), currency),
        succeeded_transactions: count(succeeded),
        failed_transactions: count(failed),
        payment_success_rate: ratio(succeeded, succeeded + failed),
        average_transaction_value: (succeeded > 0)
            .then(|| major(divide(net(own, currency), succeeded), currency)),
        new_subscriptions_30d: count(new),
        churned_subscriptions_30d: count(churned),
        churn_rate_30d: ratio(churned, i128::from(before) + new),
    }
}
