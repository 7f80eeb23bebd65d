//! Users of a workspace's product.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Entity,
    counter::{Deltas, Row, Tally},
};
use crate::{
    FieldError,
    fields::{self, Fields, past, text, word},
    store::key::{Book, Counter, Kind},
};

/// A user, as partners tell of them. A list, which only passes times on, leaves them text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User<Time = DateTime<Utc>> {
    /// The product's own id of the user.
    pub id: String,
    /// Where they can be written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The name they show.
    pub username: String,
    /// The product's word for what they may do.
    pub role: String,
    /// The product's word for how they stand.
    pub status: String,
    /// When they joined.
    pub signed_up_at: Time,
    /// When all this was so; of two states, the later one holds.
    pub updated_at: Time,
}

/// Tells users apart; whom they are is personal and stays out of logs.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, role, status, signed_up_at, updated_at, .. } = self;
        write!(f, "User({id} {role} {status} {signed_up_at} {updated_at})")
    }
}

impl Entity for User {
    const KIND: Kind = Kind::User;
    const BOOK: Book = Book::Users;
    const LABEL: &str = "role";

    /// Reads one item of a call; `path` is where it stands there.
    fn parse(path: &str, item: Value, now: DateTime<Utc>) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::of(path, item)?;
        let user = Self {
            id: fields.required("id", fields::id),
            email: fields.optional("email", email),
            username: fields.required("username", text(1, 100)),
            role: fields.required("role", word),
            status: fields.required("status", word),
            signed_up_at: fields.required("signed_up_at", past(now)),
            updated_at: fields.required("updated_at", past(now)),
        };
        fields.finish()?;
        Ok(user)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn updated_at(&self) -> DateTime<Utc> {
        self.updated_at
    }

    fn began_at(&self) -> DateTime<Utc> {
        self.signed_up_at
    }

    fn tallies(&self, _: DateTime<Utc>) -> Vec<(Tally<'_>, i128)> {
        vec![(Tally::Users, 1), (Tally::Role(&self.role), 1), (Tally::Status(&self.status), 1)]
    }

    /// A month's counters are named by the day of the month.
    fn book(&self, day: NaiveDate, times: i128, deltas: &mut Deltas) {
        let month = Row::Total(Book::Users, Counter::month_of(day));
        deltas.add(&month, day.format("%d").to_string(), times);
        for (tally, by) in self.tallies(self.signed_up_at) {
            deltas.add(&Row::Total(Book::Users, Counter::Day(day)), tally.to_string(), by * times);
        }
    }
}

/// An address with one `@`. Whether mail arrives there, only mail can tell.
fn email(value: &Value) -> Result<String, String> {
    let text = text(3, 254)(value).unwrap_or_default();
    let plain = |text: &str| text.matches('@').count() == 1 && !text.contains(char::is_whitespace);
    match text.split_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() && plain(&text) => Ok(text),
        _ => Err("must be an e-mail address of at most 254 characters".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Duration;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_bad_field_of_an_item_is_named() {
        let now = DateTime::UNIX_EPOCH + Duration::days(10);
        let good = json!({
            "id": "u1", "email": "a@example.com", "username": "ann", "role": "member", "status": "active",
            "signed_up_at": "1970-01-05T00:00:00Z", "updated_at": "1970-01-05T01:00:00+01:00",
        });
        assert!(User::parse("items[0]", good.clone(), now).is_ok());
        for (case, field, value) in [
            ("no id", "id", json!(null)),
            ("empty id", "id", json!("")),
            ("separator in the id", "id", json!("a#b")),
            ("number for an id", "id", json!(7)),
            ("no address", "email", json!("nobody")),
            ("two @", "email", json!("a@b@c")),
            ("address with a space", "email", json!("a b@c")),
            ("empty name", "username", json!("")),
            ("long name", "username", json!("x".repeat(101))),
            ("control character", "username", json!("a\u{0}b")),
            ("upper-case role", "role", json!("Admin")),
            ("status of a sentence", "status", json!("is active")),
            ("not a time", "signed_up_at", json!("yesterday")),
            ("time without zone", "updated_at", json!("1970-01-05T00:00:00")),
            ("time in the future", "updated_at", json!("1970-01-12T00:00:01Z")),
            ("unknown field", "admin", json!(true)),
        ] {
            let mut item = good.clone();
            item[field] = value;
            let errors = User::parse("items[3]", item, now).err().unwrap_or_default();
            let named: Vec<_> = errors.iter().map(|error| error.field.clone()).collect();
            assert_eq!(named, [format!("items[3].{field}")], "{case}");
        }
    }
}
