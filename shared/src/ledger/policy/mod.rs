//! What the metrics mean: the one place that defines them.
//!
//! # Metrics
//!
//! - **Net revenue** of a transaction: captured − refunded. Failed ones are zero, and counted.
//! - **MRR**: monthly value of the subscriptions that the policy counts. An item is unit amount ×
//!   quantity, a year ÷ 12, a week × 52 ÷ 12, a day × 365 ÷ 12, all ÷ interval count. Metered and
//!   free items, trials and tax are not in it; of the discounts, those that the policy names are
//!   deducted.
//! - **Active subscriptions**: those in a status, and with something to pay, as the policy says.
//! - **Churn rate**: subscriptions that ceased to be active in the last 30 days ÷ (active before
//!   them + become active in them).
//! - **Payment success rate**: succeeded ÷ (succeeded + failed) transactions.
//! - **Average transaction value**: net revenue ÷ succeeded transactions.
//!
//! # Policies
//!
//! | | `default` | `chartmogul` | `profitwell` |
//! |---|---|---|---|
//! | statuses | active, past due | active, past due, unpaid, paused | active, past due |
//! | discounts deducted | forever, repeating | all | all |
//! | active with a discount of all there is to pay | yes | yes | no |
//! | trials, incomplete ones | no | no | no |
//! | ends later (`canceled_at` ahead) | until then | until then | until then |
//!
//! `default` follows Stripe with its option to subtract recurring discounts:
//! <https://support.stripe.com/questions/calculating-monthly-recurring-revenue-(mrr)-in-billing>,
//! <https://support.stripe.com/questions/impact-of-discounts-and-coupons-on-monthly-recurring-revenue-mrr-in-billing>.
//! [`Rule`]s name the pages that the other two follow, with these vendors' default settings.
//!
//! Their pages are silent, or speak of what the ledger does not hold, in this:
//! - How weeks and days become months: neither says; both get the ratios above. (ChartMogul only
//!   tells of a ratio that "normalizes" an interval, ProfitWell of quarters and years.)
//! - Metered use: ChartMogul leaves it out. ProfitWell's pages contradict each other (rolled in;
//!   not supported). The ledger knows prices and not use, so it is in none.
//! - ChartMogul derives MRR from invoices. A change that was not invoiced yet shows later there.
//! - ProfitWell leaves out who joins and leaves within one calendar month. Here each counts.
//! - Both convert currencies; here each currency stands by itself.
//!
//! # Worked examples
//!
//! 1,200 a year is 100 a month: 120,000 ÷ 12 = 10,000 minor units. 9.99 a week is 43.29: 999 × 52
//! ÷ 12 = 4,329. 1 a day is 30.4166…: 100 × 365 ÷ 12 = 3,041.666667 minor units, kept in
//! millionths and rounded once. 30 every three months, three of them, is 30: 3,000 × 3 ÷ 3. With
//! 10 % off forever and 5 off a month for half a year, 100 a month is 85 while both hold: forever
//! first, 90, then 5 less. The other way round the answer were 85.5, so the order is part of the
//! definition: see [`state`](self::state()).

mod state;
#[cfg(test)]
mod tests;

pub use state::{State, breakpoints, state};

use super::subscriptions::SubscriptionStatus as Status;
use crate::word::words;

words! {
    /// A definition of the metrics that a request can name.
    Policy {
        /// Ours.
        Default = "default",
        /// As <https://chartmogul.com> counts.
        ChartMogul = "chartmogul",
        /// As <https://www.paddle.com/profitwell-metrics> counts.
        ProfitWell = "profitwell",
    }
}

words! {
    /// A part of what a subscription brings in a month. All parts add up to what is paid.
    Component {
        /// Before any discount.
        Gross = "gross",
        /// Less by discounts that last as long as the subscription; negative.
        Forever = "forever",
        /// Less by discounts that last some months; negative.
        Repeating = "repeating",
        /// Less by discounts of one payment; negative.
        Once = "once",
    }
}

words! {
    /// What a subscription has to pay for.
    Priced {
        /// Something.
        Paid = "paid",
        /// Something, and discounts take all of it.
        Discounted = "discounted",
        /// Nothing: all its items are free or metered, or it has ended.
        Free = "free",
    }
}

/// What a policy counts, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// A component of MRR, of subscriptions in a status.
    Monthly(Status, Component),
    /// Subscriptions in a status, among the active ones.
    Active(Status, Priced),
}

/// A change of what counts as active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It became active.
    New,
    /// It ceased to be.
    Churned,
}

/// Why a policy counts a term or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Rule {
    /// In a sentence.
    pub says: &'static str,
    /// The page that says so.
    pub source: &'static str,
}

impl Policy {
    /// Whether it counts this.
    #[must_use]
    pub fn counts(self, term: Term) -> bool {
        match term {
            Term::Monthly(status, component) => self.takes(status) && self.deducts(component),
            Term::Active(status, priced) => {
                self.takes(status)
                    && match priced {
                        Priced::Paid => true,
                        Priced::Discounted => self != Self::ProfitWell,
                        Priced::Free => false,
                    }
            }
        }
    }

    /// Whether a subscription turned active, or ceased to be, between two states of it.
    #[must_use]
    pub fn turn(self, before: Option<&State>, after: Option<&State>) -> Option<Turn> {
        let active = |state: Option<&State>| {
            state.is_some_and(|state| self.counts(Term::Active(state.status, state.priced)))
        };
        match (active(before), active(after)) {
            (false, true) => Some(Turn::New),
            (true, false) => Some(Turn::Churned),
            _ => None,
        }
    }

    fn takes(self, status: Status) -> bool {
        match status {
            Status::Active | Status::PastDue => true,
            Status::Unpaid | Status::Paused => self == Self::ChartMogul,
            Status::Trialing | Status::Incomplete | Status::IncompleteExpired | Status::Canceled => false,
        }
    }

    fn deducts(self, component: Component) -> bool {
        match component {
            Component::Gross | Component::Forever | Component::Repeating => true,
            Component::Once => self != Self::Default,
        }
    }

    /// Why it counts this or does not. It is asked where two policies differ.
    #[must_use]
    pub fn rule(self, term: Term) -> Rule {
        let (status, discount) = match term {
            Term::Monthly(status, component) => (status, component == Component::Once),
            Term::Active(status, priced) => (status, priced == Priced::Discounted),
        };
        // The status decides first, then what is left of the price.
        match (self, status, discount) {
            (Self::ChartMogul, Status::Unpaid, _) => Rule {
                says: "Delinquent subscriptions count until they are cancelled.",
                source: "https://help.chartmogul.com/article/303-handling-past-due-subscriptions",
            },
            (Self::ChartMogul, Status::Paused, _) => Rule {
                says: "A subscription that is paused in Stripe becomes past due and goes on counting.",
                source: "https://help.chartmogul.com/hc/en-us/articles/360015688860",
            },
            (Self::ChartMogul, _, true) if matches!(term, Term::Active(..)) => Rule {
                says: "Paying customers who are given a discount of 100 % stay active.",
                source: "https://help.chartmogul.com/hc/en-us/articles/15384089786524",
            },
            (Self::ChartMogul, ..) => Rule {
                says: "Discounts are deducted before MRR is calculated.",
                source: "https://help.chartmogul.com/hc/en-us/articles/203299812",
            },
            (Self::ProfitWell, Status::Unpaid, _) => Rule {
                says: "Past its dunning window without payment a subscription has churned.",
                source: "http://bssubs.net/profit-well-faqs-for-paddle-users.html",
            },
            (Self::ProfitWell, Status::Paused, _) => Rule {
                says: "A subscription on hold has an MRR of zero.",
                source: "https://www.paddle.com/help/profitwell-metrics/measure/compare/profitwell-vs-recurly",
            },
            (Self::ProfitWell, _, true) if matches!(term, Term::Active(..)) => Rule {
                says: "A customer must be actively paying, so one who is fully discounted is none.",
                source: "https://learn.profitwell.com/category/WoBCXt3Wpj-calculating-metrics",
            },
            (Self::ProfitWell, ..) => Rule {
                says: "All discounts are deducted, however long they last.",
                source: "https://www.paddle.com/help/profitwell-metrics/measure/subscription-metrics/discounts",
            },
            (Self::Default, Status::Unpaid | Status::Paused, _) => {
                Rule { says: "Subscriptions count while they are active or past due.", source: STRIPE_MRR }
            }
            (Self::Default, _, true) if matches!(term, Term::Active(..)) => Rule {
                says: "A subscription is active as long as it has an item with a price.",
                source: STRIPE_MRR,
            },
            (Self::Default, ..) => Rule {
                says: "Discounts that recur are deducted, and those of one payment are not.",
                source: "https://support.stripe.com/questions/impact-of-discounts-and-coupons-on-monthly-recurring-revenue-mrr-in-billing",
            },
        }
    }
}

const STRIPE_MRR: &str =
    "https://support.stripe.com/questions/calculating-monthly-recurring-revenue-(mrr)-in-billing";
