//! What readers may ask, and how they spell it.

use chrono::{Days, NaiveDate};

use crate::{
    Error,
    fields::{Fields, date, digits, integer, one_of, text},
    ledger::{money::Currency, policy::Policy},
};

/// Days of a window at most: their counters then fit into one page of a query.
pub(super) const WINDOW_DAYS: u64 = 366;
/// Entries of a list unless more or less are asked for.
const LIMIT: u64 = 20;
/// … and users of a page.
const USERS: u64 = 100;

/// Days from `from` up to and without `to`, in the workspace's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub(super) from: NaiveDate,
    pub(super) to: NaiveDate,
}

impl Window {
    /// A window; without `to` it ends with today.
    pub fn new(from: NaiveDate, to: Option<NaiveDate>, today: NaiveDate) -> Result<Self, Error> {
        Self::checked(from, to, today).map_err(|(field, message)| Error::invalid(field, message))
    }

    /// … or the field that is wrong, and why.
    fn checked(
        from: NaiveDate,
        to: Option<NaiveDate>,
        today: NaiveDate,
    ) -> Result<Self, (&'static str, String)> {
        let to = to.unwrap_or_else(|| today + Days::new(1));
        if to <= from {
            return Err(("to", "must be after `from`".to_owned()));
        }
        if from + Days::new(WINDOW_DAYS) < to {
            return Err(("from", format!("must be at most {WINDOW_DAYS} days before `to`")));
        }
        Ok(Self { from, to })
    }

    /// The `days` days up to and with this one.
    pub(super) fn up_to(last: NaiveDate, days: u64) -> Self {
        let to = last + Days::new(1);
        Self { from: to - Days::new(days), to }
    }

    pub(super) fn contains(self, day: NaiveDate) -> bool {
        self.from <= day && day < self.to
    }

    pub(super) fn last(self) -> NaiveDate {
        self.to - Days::new(1)
    }
}

/// A question about revenue or commissions.
#[derive(Debug, Clone)]
pub struct Query {
    /// What happened in these days; all there is without.
    pub window: Option<Window>,
    /// What the metrics mean.
    pub policy: Policy,
    /// What amounts are counted in, where an answer has one of each.
    pub currency: Currency,
    /// Entries of the list at most.
    pub limit: u64,
    /// Where the list goes on.
    pub cursor: Option<String>,
}

impl Query {
    /// Reads `from`, `to`, `limit`, `cursor`, `currency` and `policy`.
    pub fn parse(mut fields: Fields, today: NaiveDate, reporting: Currency) -> Result<Self, Error> {
        let query = Self::take(&mut fields, today, reporting);
        fields.finish().map_err(Error::Invalid)?;
        Ok(query)
    }

    /// Takes these fields and leaves what others there are.
    pub fn take(fields: &mut Fields, today: NaiveDate, reporting: Currency) -> Self {
        Self {
            window: window(fields, today),
            policy: policy(fields, "policy"),
            currency: currency(fields, reporting),
            limit: limit(fields, LIMIT),
            cursor: cursor(fields),
        }
    }
}

/// A question about users.
#[derive(Debug, Clone)]
pub struct UserQuery {
    /// Who joined in these days; all without.
    pub window: Option<Window>,
    /// Users of the page at most.
    pub limit: u64,
    /// Where the list goes on.
    pub cursor: Option<String>,
}

impl UserQuery {
    /// Reads `from`, `to`, `limit` and `cursor`.
    pub fn parse(mut fields: Fields, today: NaiveDate) -> Result<Self, Error> {
        let query = Self::take(&mut fields, today);
        fields.finish().map_err(Error::Invalid)?;
        Ok(query)
    }

    /// Takes these fields and leaves what others there are.
    pub fn take(fields: &mut Fields, today: NaiveDate) -> Self {
        Self { window: window(fields, today), limit: limit(fields, USERS), cursor: cursor(fields) }
    }
}

/// Takes `from` and `to`.
pub fn window(fields: &mut Fields, today: NaiveDate) -> Option<Window> {
    let (from, to) = (fields.optional("from", date), fields.optional("to", date));
    match (from, to) {
        (Some(from), to) if fields.is_good("to") => match Window::checked(from, to, today) {
            Ok(window) => Some(window),
            Err((field, message)) => {
                fields.refuse(field, message);
                None
            }
        },
        (None, Some(_)) if fields.is_good("from") => {
            fields.refuse("from", "is required with `to`");
            None
        }
        _ => None,
    }
}

/// Takes `as_of`, a day that has begun. Nothing that chooses days or pages may stand beside it.
pub fn as_of(fields: &mut Fields, today: NaiveDate) -> Option<NaiveDate> {
    let day = fields.optional("as_of", date)?;
    if day > today {
        fields.refuse("as_of", "must not lie in the future");
    }
    for other in ["from", "to", "limit", "cursor"] {
        if fields.optional(other, |_| Ok(())).is_some() {
            fields.refuse(other, "must not stand beside `as_of`");
        }
    }
    Some(day)
}

/// Takes the name of a policy.
pub fn policy(fields: &mut Fields, name: &str) -> Policy {
    fields.optional(name, one_of(Policy::WORDS)).unwrap_or_default()
}

/// Takes `currency`.
pub fn currency(fields: &mut Fields, reporting: Currency) -> Currency {
    fields.optional("currency", Currency::field).unwrap_or(reporting)
}

/// Takes `limit`, from 1 to 100.
pub fn limit(fields: &mut Fields, otherwise: u64) -> u64 {
    fields.optional("limit", digits(integer(1, 100))).unwrap_or(otherwise)
}

/// Takes `cursor`.
pub fn cursor(fields: &mut Fields) -> Option<String> {
    fields.optional("cursor", text(1, 1024))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: serde_json::Value) -> Fields {
        Fields::of("", value).unwrap()
    }

    #[test]
    fn one_answer_names_every_parameter_that_is_wrong() {
        let today = "2026-06-15".parse().unwrap();
        for (case, query, wrong) in [
            ("nothing", json!({}), vec![]),
            ("a window", json!({"from": "2026-06-01", "to": "2026-06-15"}), vec![]),
            ("up to today", json!({"from": "2026-06-01"}), vec![]),
            ("to alone", json!({"to": "2026-06-01"}), vec!["from"]),
            ("backwards", json!({"from": "2026-06-02", "to": "2026-06-02"}), vec!["to"]),
            ("too long", json!({"from": "2024-06-01"}), vec!["from"]),
            ("no date", json!({"from": "soon", "to": "later"}), vec!["from", "to"]),
            ("no date to end with", json!({"from": "2026-06-01", "to": "later"}), vec!["to"]),
            ("unknown", json!({"since": "2026-06-01"}), vec!["since"]),
            (
                "each of them",
                json!({"from": "x", "policy": "mine", "currency": "XYZ", "limit": "0", "cursor": "", "user": "1"}),
                vec!["currency", "cursor", "from", "limit", "policy", "user"],
            ),
        ] {
            let named = match Query::parse(fields(query), today, Currency::default()) {
                Ok(_) => vec![],
                Err(Error::Invalid(errors)) => {
                    let mut named: Vec<_> = errors.into_iter().map(|error| error.field).collect();
                    named.sort();
                    named
                }
                Err(error) => panic!("{case}: {error}"),
            };
            assert_eq!(named, wrong, "{case}");
        }
    }

    #[test]
    fn a_day_stands_alone_and_has_begun() {
        let today = "2026-06-15".parse().unwrap();
        for (case, query, wrong) in [
            ("yesterday", json!({"as_of": "2026-06-14"}), vec![]),
            ("today", json!({"as_of": "2026-06-15"}), vec![]),
            ("tomorrow", json!({"as_of": "2026-06-16"}), vec!["as_of"]),
            ("no date", json!({"as_of": "2026-6-1"}), vec!["as_of"]),
            ("beside a window", json!({"as_of": "2026-06-14", "from": "2026-06-01"}), vec!["from"]),
            (
                "beside a page",
                json!({"as_of": "2026-06-14", "limit": "5", "cursor": "x"}),
                vec!["limit", "cursor"],
            ),
        ] {
            let mut fields = fields(query);
            as_of(&mut fields, today);
            let errors = fields.finish().err().unwrap_or_default();
            let named: Vec<_> = errors.into_iter().map(|error| error.field).collect();
            assert_eq!(named, wrong, "{case}");
        }
    }
}
