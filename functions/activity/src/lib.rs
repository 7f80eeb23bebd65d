//! `GET /api/activity`: tells who changed what and when.

use std::sync::Arc;

use aws_config::SdkConfig;
use chrono::NaiveDate;
use chrono_tz::Tz;
use lambda_http::Request;
use serde_json::Value;
use shared::{
    Error,
    activity::{Activity, Filter},
    fields::{Fields, date, digits, id, integer, text},
    http::{self, Answer},
    identity::Person,
    lambda::{Env, EnvError, Function},
    time,
};

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    activity: Activity,
    zone: Tz,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { activity: Activity::reader(env, sdk)?, zone: env.required("TIME_ZONE")? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

struct Input {
    filter: Filter,
    limit: u64,
    cursor: Option<String>,
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    let person = Person::of(&request)?;
    let Input { filter, limit, cursor } = parse(http::query(&request), deps.zone)?;
    let page = deps.activity.list(&person.workspace, &filter, limit, cursor.as_deref(), time::now()).await?;
    Ok(http::ok(&page))
}

fn parse(mut query: Fields, zone: Tz) -> Result<Input, Error> {
    let limit = query.optional("limit", digits(integer(1, 100))).unwrap_or(50);
    let cursor = query.optional("cursor", text(1, 1024));
    let actor = query.optional("actor", id);
    let action = query.optional("action", action);
    let target = query.optional("target", id);
    let (from, to) = (query.optional("from", date), query.optional("to", date));
    if from.zip(to).is_some_and(|(from, to)| to <= from) {
        query.refuse("to", "must be after `from`");
    }
    query.finish().map_err(Error::Invalid)?;
    let start = |day: NaiveDate| time::start_of(zone, day);
    let filter = Filter { actor, action, target, from: from.map(start), to: to.map(start) };
    Ok(Input { filter, limit, cursor })
}

/// A whole action, or its first part, which then ends with the dot.
fn action(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .filter(|text| (1..=64).contains(&text.len()))
        .filter(|text| text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.')))
        .map(|text| if text.contains('.') { text.to_owned() } else { format!("{text}.") })
        .ok_or_else(|| "must be an action such as api_key.revoked, or api_key for all of its kind".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_bad_parameter_is_named() {
        let query = json!({
            "limit": "0", "cursor": "", "actor": "a b", "action": "Key!", "target": "a#b",
            "from": "2026-02-30", "to": "today", "order": "asc",
        });
        let Err(Error::Invalid(errors)) = parse(Fields::of("", query).unwrap(), Tz::UTC) else {
            panic!("accepted")
        };
        let named: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(named, ["limit", "cursor", "actor", "action", "target", "from", "to", "order"]);
    }

    #[test]
    fn a_kind_of_actions_goes_with_its_dot_or_without() {
        for (given, meant) in [("api_key", "api_key."), ("api_key.", "api_key."), ("a.b", "a.b")] {
            let input = parse(Fields::of("", json!({"action": given})).unwrap(), Tz::UTC).unwrap();
            assert_eq!(input.filter.action.as_deref(), Some(meant), "{given}");
        }
    }

    #[test]
    fn days_are_those_of_the_workspace() {
        let query = json!({"from": "2026-03-29", "to": "2026-03-30"});
        let input = parse(Fields::of("", query).unwrap(), Tz::Europe__Berlin).unwrap();
        assert_eq!(input.filter.from.map(time::rfc3339).as_deref(), Some("2026-03-28T23:00:00Z"));
        assert_eq!(input.filter.to.map(time::rfc3339).as_deref(), Some("2026-03-29T22:00:00Z"));
    }

    #[test]
    fn a_window_ends_after_it_begins() {
        let query = json!({"from": "2026-03-29", "to": "2026-03-29"});
        let Err(Error::Invalid(errors)) = parse(Fields::of("", query).unwrap(), Tz::UTC) else {
            panic!("accepted")
        };
        assert_eq!(errors[0].field, "to");
    }
}
