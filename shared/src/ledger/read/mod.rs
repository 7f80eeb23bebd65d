//! Totals, lists and series. Nothing here adds up entities: all numbers are counters' and the
//! lists are of a page's length, so a read costs the same however much there is.
//!
//! | What is asked | Requests to the table; none waits for another, but that days and months are read 16 shards at a time |
//! |---|---|
//! | revenue, as tools poll it | 1 `BatchGetItem` of 32 rows and 4 queries |
//! | commissions | the same and 1 query |
//! | … of days that go up to today | 32 queries more, or 4 for the performers |
//! | … of earlier days | 64 queries for the totals at their end, and 4 |
//! | revenue, as people see it | those of the poll and 64 queries |
//! | as of a day, or a series | 64 queries; 2 of users |
//! | explanation | 1 `BatchGetItem` of 32 rows, or as of a day |
//!
//! The 64 are 2 for each of 32 shards: of the months before, and of the days since. They grow with
//! the days and months that are asked, not with what happened in them.

mod as_of;
mod commissions;
mod explain;
mod history;
mod line;
pub mod query;
mod recent;
mod revenue;
mod totals;
mod users;

pub use as_of::{AsOf, RevenueAsOf};
pub use commissions::{CommissionTotals, Commissions, Performer, TierTotals};
pub use explain::{Explained, Explanation, ExplanationQuery, Line as ExplainedLine};
pub use history::{CommissionsDay, History, HistoryQuery, Metric, RevenueDay, Series, UsersDay};
pub use query::{Query, UserQuery, Window};
pub use recent::{CommissionShown, TransactionShown};
pub use revenue::{CurrencyRevenue, PlanTotals, Revenue, RevenueTotals, Turnover};
pub use users::{UserPage, UserTotals};
