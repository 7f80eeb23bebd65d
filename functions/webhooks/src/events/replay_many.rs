//! `POST /api/webhooks/replay`: some events by their ids, or those of a time.

use lambda_http::Request;
use serde_json::Value;
use shared::{
    Error,
    fields::{Fields, is_id},
    http::{self, Answer},
    identity::Person,
    time,
    webhooks::store::Filter,
};

use super::{cursor, filter};
use crate::Deps;

const BODY_MAX: usize = 16 * 1024;
const IDS_MAX: usize = 100;

#[derive(Debug)]
enum Input {
    Ids(Vec<String>),
    Range(Filter, Option<String>),
}

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let replayed = match parse(http::body_within(request, BODY_MAX)?)? {
        Input::Ids(ids) => deps.replays.many(&person, &ids, time::now()).await?,
        Input::Range(filter, cursor) => deps.replays.range(&person, &filter, cursor, time::now()).await?,
    };
    Ok(http::ok(&replayed))
}

/// By ids or by time: a mistake must not send everything back.
fn parse(mut body: Fields) -> Result<Input, Error> {
    if let Some(ids) = body.optional("ids", ids) {
        body.finish().map_err(Error::Invalid)?;
        return Ok(Input::Ids(ids));
    }
    let cursor = body.optional("cursor", cursor);
    let filter = filter(&mut body);
    if body.is_good("ids") {
        for (name, given) in [("from", filter.from), ("to", filter.to)] {
            if given.is_none() && body.is_good(name) {
                body.refuse(name, "is required where `ids` are not given");
            }
        }
    }
    body.finish().map_err(Error::Invalid)?;
    Ok(Input::Range(filter, cursor))
}

fn ids(value: &Value) -> Result<Vec<String>, String> {
    let ids = value.as_array().filter(|ids| (1..=IDS_MAX).contains(&ids.len()));
    let ids = ids.and_then(|ids| ids.iter().map(|id| id.as_str().filter(|id| is_id(id))).collect());
    let mut ids: Vec<&str> = ids.ok_or_else(|| format!("must be a list of 1 to {IDS_MAX} ids of events"))?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Input, Vec<String>> {
        parse(Fields::of("", body).unwrap()).map_err(|error| match error {
            Error::Invalid(errors) => errors.into_iter().map(|error| error.field).collect(),
            error => panic!("{error}"),
        })
    }

    #[test]
    fn it_is_said_which_events_or_none_is_replayed() {
        let window = json!({"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z"});
        let with = |more: Value| {
            let mut body = window.clone();
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        assert!(
            matches!(read(json!({"ids": ["evt_2", "evt_1", "evt_2"]})), Ok(Input::Ids(ids)) if ids.len() == 2)
        );
        assert!(matches!(read(with(json!({"status": "dead"}))), Ok(Input::Range(..))));
        for (case, body, fields) in [
            ("nothing", json!({}), vec!["from", "to"]),
            ("no end", json!({"from": "2026-11-20T00:00:00Z"}), vec!["to"]),
            ("no ids", json!({"ids": []}), vec!["ids"]),
            ("too many ids", json!({"ids": vec!["evt_1"; 101]}), vec!["ids"]),
            ("no id", json!({"ids": ["a#b"]}), vec!["ids"]),
            ("both", with(json!({"ids": ["evt_1"]})), vec!["from", "to"]),
            (
                "all wrong",
                json!({"source": "x", "type": "", "status": "x", "endpoint": "a b", "from": 1, "to": "x", "cursor": "", "a": 1}),
                vec!["cursor", "source", "type", "status", "endpoint", "from", "to", "a"],
            ),
            ("backwards", json!({"from": "2026-11-21T00:00:00Z", "to": "2026-11-20T00:00:00Z"}), vec!["to"]),
        ] {
            assert_eq!(
                read(body).map(|_| ()),
                Err(fields.into_iter().map(str::to_owned).collect()),
                "{case}"
            );
        }
    }
}
