//! Why two policies tell different numbers, line by line.

use chrono::NaiveDate;
use serde::Serialize;

use super::{
    super::{
        Ledger,
        counter::Tally,
        money::{Currency, Decimal, major_of_micro},
        policy::{Policy, Rule, Term},
    },
    query,
    totals::Totals,
};
use crate::{Error, fields::Fields, identity::Workspace, store::key::Book};

/// One number by both policies.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// By the policy that was asked for.
    pub value: Decimal,
    /// By the one that it is held against.
    pub against: Decimal,
    /// The first less the second: what the lines add up to.
    pub difference: Decimal,
}

/// Something that one policy counts and the other does not.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The number that it is part of.
    pub metric: &'static str,
    /// How the subscriptions stand.
    pub status: &'static str,
    /// Which part of what they bring, or which of them.
    pub part: &'static str,
    /// By how much it makes the first number differ.
    pub amount: Decimal,
    /// Which of the two counts it.
    pub counted_by: &'static str,
    /// Why the policy that was asked for counts it or not.
    pub rule: Rule,
    /// … and the one that it is held against.
    pub against: Rule,
}

/// The difference between two policies.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// What amounts are counted in.
    pub currency: Currency,
    /// The policy that was asked for.
    pub policy: &'static str,
    /// The one that it is held against.
    pub against: &'static str,
    /// The day at whose end this was so; now without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<NaiveDate>,
    /// Exact, to the millionth of a minor unit, so that lines add up.
    pub monthly_recurring_revenue: Explained,
    /// Subscriptions of any currency.
    pub active_subscriptions: Explained,
    /// Each difference, if it is not zero.
    pub lines: Vec<Line>,
}

/// A question about two policies.
pub struct ExplanationQuery {
    policy: Policy,
    against: Policy,
    currency: Currency,
    as_of: Option<NaiveDate>,
}

impl ExplanationQuery {
    /// Reads `policy`, `against`, `currency` and `as_of`.
    pub fn parse(mut fields: Fields, today: NaiveDate, reporting: Currency) -> Result<Self, Error> {
        let query = Self {
            policy: fields.required("policy", crate::fields::one_of(Policy::WORDS)),
            against: query::policy(&mut fields, "against"),
            currency: query::currency(&mut fields, reporting),
            as_of: query::as_of(&mut fields, today),
        };
        fields.finish().map_err(Error::Invalid)?;
        Ok(query)
    }
}

impl Ledger {
    /// Explains the difference between two policies, now or as of a day.
    pub async fn explain(
        &self,
        workspace: &Workspace,
        query: &ExplanationQuery,
    ) -> Result<Explanation, Error> {
        let totals = match query.as_of {
            None => self.sum(workspace, Book::Revenue).await?,
            Some(day) => self.as_of(workspace, Book::Revenue, day).await?.1,
        };
        Ok(explain(&totals, query))
    }
}

fn explain(totals: &Totals, query: &ExplanationQuery) -> Explanation {
    let ExplanationQuery { policy, against, currency, as_of } = *query;
    let money = |micro| major_of_micro(micro, currency);
    let explained = |value: i128, against: i128, shown: &dyn Fn(i128) -> Decimal| Explained {
        value: shown(value),
        against: shown(against),
        difference: shown(value - against),
    };
    let active = |policy| i128::from(totals.active(policy));
    Explanation {
        currency,
        policy: policy.word(),
        against: against.word(),
        as_of,
        monthly_recurring_revenue: explained(
            totals.monthly(policy, currency),
            totals.monthly(against, currency),
            &money,
        ),
        active_subscriptions: explained(active(policy), active(against), &Decimal::whole),
        lines: totals
            .iter()
            .filter_map(|(tally, value)| {
                let (metric, term, amount, status, part) = match tally {
                    Tally::Monthly(of, status, component) if of == currency => {
                        let term = Term::Monthly(status, component);
                        ("monthly_recurring_revenue", term, money(value), status, component.word())
                    }
                    Tally::Subscriptions(status, priced) => {
                        let term = Term::Active(status, priced);
                        ("active_subscriptions", term, Decimal::whole(value), status, priced.word())
                    }
                    _ => return None,
                };
                let (amount, counted_by) = match (policy.counts(term), against.counts(term)) {
                    (true, false) => (amount, policy),
                    (false, true) => (amount.negated(), against),
                    _ => return None,
                };
                Some(Line {
                    metric,
                    status: status.word(),
                    part,
                    amount,
                    counted_by: counted_by.word(),
                    rule: policy.rule(term),
                    against: against.rule(term),
                })
            })
            .collect(),
    }
}
