//! What differs between two versions, field by field.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::redact;

/// How a field differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum How {
    Added,
    Removed,
    Changed,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    change: How,
    /// A JSON Pointer (RFC 6901), such as `/configuration/property_id`.
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Value>,
}

impl Difference {
    /// Where.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// What differs between two values, in the order of their fields. Objects are compared member by
/// member, lists place by place. Nothing that is called or looks like a secret is shown, although
/// none should be there.
#[must_use]
pub fn diff(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(from), Some(to), false, &mut found);
    found
}

fn compare(path: &str, from: Option<&Value>, to: Option<&Value>, secret: bool, found: &mut Vec<Difference>) {
    match (from, to) {
        (Some(Value::Object(from)), Some(Value::Object(to))) => {
            for name in from.keys().chain(to.keys()).collect::<BTreeSet<_>>() {
                let here = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                let secret = secret || redact::is_secret_name(name);
                compare(&here, from.get(name), to.get(name), secret, found);
            }
        }
        (Some(Value::Array(from)), Some(Value::Array(to))) => {
            for at in 0..from.len().max(to.len()) {
                compare(&format!("{path}/{at}"), from.get(at), to.get(at), secret, found);
            }
        }
        (from, to) if from == to => {}
        (from, to) => {
            let change = match (from, to) {
                (None, _) => How::Added,
                (_, None) => How::Removed,
                _ => How::Changed,
            };
            let shown = |value: Option<&Value>| value.map(|value| masked(value, secret));
            found.push(Difference { change, path: path.to_owned(), from: shown(from), to: shown(to) });
        }
    }
}

fn masked(value: &Value, secret: bool) -> Value {
    match value {
        Value::String(text) if redact::is_known_secret(text) => redact::MASK.into(),
        Value::Object(map) if !secret => map
            .iter()
            .map(|(name, value)| (name.clone(), masked(value, redact::is_secret_name(name))))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(values) if !secret => values.iter().map(|value| masked(value, false)).collect(),
        _ if secret => redact::MASK.into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_difference_is_told_by_its_path() {
        let old = json!({"name": "a", "configuration": {"x": 1, "gone": [1], "deep": {"a/b": 1, "m~n": 2}}});
        let new = json!({
            "name": "a", "credential_id": "c",
            "configuration": {"x": 2, "deep": {"a/b": 1, "m~n": null}, "list": [1]},
        });
        let found = serde_json::to_value(diff(&old, &new)).unwrap();
        let expected = json!([
            {"change": "changed", "path": "/configuration/deep/m~0n", "from": 2, "to": null},
            {"change": "removed", "path": "/configuration/gone", "from": [1]},
            {"change": "added", "path": "/configuration/list", "to": [1]},
            {"change": "changed", "path": "/configuration/x", "from": 1, "to": 2},
            {"change": "added", "path": "/credential_id", "to": "c"},
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn lists_differ_by_place() {
        let found = serde_json::to_value(diff(&json!({"l": [1, 2]}), &json!({"l": [1, 3, 4]}))).unwrap();
        let expected = json!([
            {"change": "changed", "path": "/l/1", "from": 2, "to": 3},
            {"change": "added", "path": "/l/2", "to": 4},
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_the_same_is_no_difference() {
        let value = json!({"a": [1, {"b": null}], "c": 1.5});
        assert_eq!(diff(&value, &value), []);
    }

    #[test]
    fn a_secret_that_should_not_be_there_is_not_shown() {
        let key = format!("sk_{}_{}", "live", "y".repeat(24));
        for (case, old, new) in [
            ("by name", json!({"password": "hunter2"}), json!({"password": "hunter3"})),
            ("below a name", json!({"token": {"of": "hunter2"}}), json!({"token": {"of": "hunter3"}})),
            ("in what was added", json!({}), json!({"a": {"b": [{"api_key": ["hunter2"]}]}})),
            ("by looks", json!({"a": key}), json!({"a": [key]})),
        ] {
            let shown = serde_json::to_string(&diff(&old, &new)).unwrap();
            assert!(shown.contains("\"path\""), "{case}: {shown}");
            assert!(!shown.contains("hunter") && !shown.contains(&key), "{case}: {shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn applying_the_differences_leads_from_one_to_the_other(
            old in proptest::collection::btree_map("[ab~/]{1,2}", 0..3_u8, 0..4),
            new in proptest::collection::btree_map("[ab~/]{1,2}", 0..3_u8, 0..4),
        ) {
            let mut applied = json!(old);
            for difference in diff(&json!(old), &json!(new)) {
                let name = difference.path[1..].replace("~1", "/").replace("~0", "~");
                let map = applied.as_object_mut().unwrap();
                match difference.to {
                    Some(value) => map.insert(name, value),
                    None => map.remove(&name),
                };
            }
            proptest::prop_assert_eq!(applied, json!(new));
        }
    }
}
