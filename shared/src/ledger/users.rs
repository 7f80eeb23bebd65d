//! Users of a workspace's product.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Outcome, counter::Deltas};
use crate::{
    FieldError,
    fields::{self, Fields, past, text, word},
    store::key::Counter,
    time,
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

/// A user's row: the user, and what the ledger needs beside.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(flatten)]
    pub(super) user: User,
    /// The day that counts the user. Kept, so that counting it off hits the same row even after
    /// the deployment's time zone was changed.
    pub(super) day: NaiveDate,
    /// Counts the changes of this row.
    pub(super) version: u64,
}

impl User {
    /// Reads one item of a call; `path` is where it stands there.
    pub fn parse(path: &str, item: Value, now: DateTime<Utc>) -> Result<Self, Vec<FieldError>> {
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

    /// What a change to `self` means where `old` is stored.
    ///
    /// The later `updated_at` holds. Two different states of the same time cannot both hold, and
    /// which one does must not depend on which came first; so the one that sorts later does.
    pub(super) fn outcome(&self, old: Option<&Self>) -> Outcome {
        match old {
            None => Outcome::Created,
            Some(old) if self == old => Outcome::Unchanged,
            Some(old) if self.order() > old.order() => Outcome::Updated,
            Some(_) => Outcome::Stale,
        }
    }

    fn order(&self) -> impl Ord + '_ {
        let Self { id: _, email, username, role, status, signed_up_at, updated_at } = self;
        (updated_at, signed_up_at, status, role, username, email)
    }
}

/// By how much each counter moves when `old` becomes `new`. A month's counters are named by the
/// day of the month.
pub(super) fn change(old: Option<&Stored>, new: &Stored) -> Deltas {
    let mut deltas = Deltas::default();
    for (state, by) in old.map(|old| (old, -1)).into_iter().chain([(new, 1)]) {
        deltas.add(Counter::month_of(state.day), state.day.format("%d").to_string(), by);
        for counter in [Counter::Sum, Counter::Day(state.day)] {
            deltas.add(counter, TOTAL, by);
            deltas.add(counter, format!("{ROLE}{}", state.user.role), by);
            deltas.add(counter, format!("{STATUS}{}", state.user.status), by);
        }
    }
    deltas
}

/// Counter of users.
pub(super) const TOTAL: &str = "total";
/// Prefix of the counters of users by role.
pub(super) const ROLE: &str = "role:";
/// Prefix of the counters of users by status.
pub(super) const STATUS: &str = "status:";

impl Stored {
    /// The row that makes `user` hold where `old` is stored.
    pub(super) fn after(old: Option<&Self>, user: User, zone: Tz) -> Self {
        let day = time::day_in(zone, user.signed_up_at);
        Self { user, day, version: old.map_or(0, |old| old.version) + 1 }
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
    use std::collections::BTreeMap;

    use chrono::Duration;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Users of a small world, in which changes meet: few ids, few times, few words.
    fn users() -> impl Strategy<Value = Vec<User>> {
        let user =
            (0..4_u8, 0..3_i64, 0..3_i64, "[ab]", "[xy]").prop_map(|(id, joined, updated, role, status)| {
                let day = |days| DateTime::UNIX_EPOCH + Duration::days(days);
                User {
                    id: format!("u{id}"),
                    email: None,
                    username: "name".to_owned(),
                    role,
                    status,
                    signed_up_at: day(joined),
                    updated_at: day(updated),
                }
            });
        prop::collection::vec(user, 1..12)
    }

    /// What is stored, and the counters, after these changes.
    fn after(changes: &[User]) -> (BTreeMap<String, User>, Deltas) {
        let mut stored = BTreeMap::<String, Stored>::new();
        let mut counters = Deltas::default();
        for user in changes {
            let old = stored.get(&user.id);
            if matches!(user.outcome(old.map(|old| &old.user)), Outcome::Created | Outcome::Updated) {
                let new = Stored::after(old, user.clone(), Tz::UTC);
                counters.merge(change(old, &new));
                stored.insert(user.id.clone(), new);
            }
        }
        (stored.into_iter().map(|(id, stored)| (id, stored.user)).collect(), counters)
    }

    proptest! {
        #[test]
        fn any_order_and_repetition_leaves_the_same(
            (changes, shuffled) in users().prop_flat_map(|changes| {
                let twice = [changes.clone(), changes.clone()].concat();
                (Just(changes), Just(twice).prop_shuffle())
            })
        ) {
            let (users, counters) = after(&changes);
            let (users_again, counters_again) = after(&shuffled);
            prop_assert!(users == users_again);
            prop_assert_eq!(counters.rows(), counters_again.rows());
            // … and the counters are what counting the users afresh gives.
            let (_, recounted) = after(&users.into_values().collect::<Vec<_>>());
            prop_assert_eq!(counters.rows(), recounted.rows());
        }
    }

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
