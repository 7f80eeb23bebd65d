//! The template's text as plain JSON: CloudFormation's short tags (`!Ref`, `!Sub`, …) become
//! their long forms (`{"Ref": …}`, `{"Fn::Sub": …}`), so that everything after knows only one.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json};
use serde_saphyr::Tagged;

/// Reads YAML with CloudFormation's tags.
pub fn parse(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str::<Node>(text).map(|node| node.0).map_err(|error| error.to_string())
}

struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(Plain(value), tag) = Tagged::<Plain>::deserialize(deserializer)?;
        long_form(tag.as_deref(), value).map(Self).map_err(D::Error::custom)
    }
}

fn long_form(tag: Option<&str>, value: Value) -> Result<Value, String> {
    let Some(name) = tag.and_then(|tag| tag.strip_prefix('!')) else { return Ok(value) };
    Ok(match name {
        "Ref" | "Condition" => json!({ name: value }),
        "GetAtt" => match value {
            Value::String(path) => {
                let (resource, attribute) =
                    path.split_once('.').ok_or_else(|| format!("!GetAtt {path} names no attribute"))?;
                json!({ "Fn::GetAtt": [resource, attribute] })
            }
            path => json!({ "Fn::GetAtt": path }),
        },
        _ => json!({ format!("Fn::{name}"): value }),
    })
}

/// A node without its own tag; those inside it are in long form already.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Self)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML node")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Plain::deserialize(deserializer).map(|plain| plain.0)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut nodes: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Node(value)) = nodes.next_element()? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut nodes: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Node(value))) = nodes.next_entry::<String, _>()? {
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_become_their_long_forms() {
        let text = r#"
            a: !Ref Table
            b: !Sub "${Table.Arn}/index"
            c: !GetAtt Table.Arn
            d: !If [Has, [!Ref X], !Ref AWS::NoValue]
            e: !Not [!Equals [!Join ["", !Ref List], ""]]
            f: {g: !Condition Has, h: [1, true, "2", 2012-10-17, null]}
            i: !GetAtt [Nested, Outputs.X]
        "#;
        assert_eq!(
            parse(text).unwrap(),
            json!({
                "a": {"Ref": "Table"},
                "b": {"Fn::Sub": "${Table.Arn}/index"},
                "c": {"Fn::GetAtt": ["Table", "Arn"]},
                "d": {"Fn::If": ["Has", [{"Ref": "X"}], {"Ref": "AWS::NoValue"}]},
                "e": {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "List"}]}, ""]}]},
                "f": {"g": {"Condition": "Has"}, "h": [1, true, "2", "2012-10-17", null]},
                "i": {"Fn::GetAtt": ["Nested", "Outputs.X"]},
            })
        );
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        assert!(parse("a: 1\na: 2").is_err());
    }
}
