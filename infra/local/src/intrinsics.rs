//! Evaluates what a template computes: parameters, conditions and the intrinsic functions.
//!
//! A value that cannot be evaluated is an error: guessing would let the two engines drift apart.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The account that the embedded runner plays; no real account has this number.
pub const ACCOUNT: &str = "000000000000";
/// The region that the embedded runner plays.
pub const REGION: &str = "local";

/// What the values of a template may refer to.
pub struct Scope {
    parameters: BTreeMap<String, Value>,
    conditions: Map<String, Value>,
    resources: Map<String, Value>,
    queue_base_url: String,
}

impl Scope {
    /// `given` and then `own` replace defaults of the template's parameters; a given name that
    /// the template does not have is an error. `aws_url` is where the AWS endpoint listens, as queues are named by URL.
    pub fn new(
        template: &Map<String, Value>,
        given: &BTreeMap<String, String>,
        own: &BTreeMap<String, String>,
        aws_url: &str,
    ) -> Result<Self, String> {
        let section = |name: &str| -> Map<String, Value> {
            template.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
        };
        let declared = section("Parameters");
        if let Some(name) = given.keys().find(|name| !declared.contains_key(*name)) {
            return Err(format!("the template has no parameter {name}"));
        }
        let mut parameters = BTreeMap::new();
        for (name, declaration) in &declared {
            let value = parameter(declaration, given.get(name).or_else(|| own.get(name)))
                .map_err(|reason| format!("parameter {name} {reason}"))?;
            parameters.insert(name.clone(), value);
        }
        Ok(Self {
            parameters,
            conditions: section("Conditions"),
            resources: section("Resources"),
            queue_base_url: format!("{aws_url}/{ACCOUNT}"),
        })
    }

    /// Whether a condition holds; a resource without one always exists.
    pub fn holds(&self, condition: &str) -> Result<bool, String> {
        let expression =
            self.conditions.get(condition).ok_or_else(|| format!("there is no condition {condition}"))?;
        self.truth(expression)
    }

    /// The value with everything in it evaluated; `None` is `AWS::NoValue`.
    pub fn resolve(&self, value: &Value) -> Result<Option<Value>, String> {
        match value {
            Value::Array(items) => {
                let items: Result<Vec<_>, _> =
                    items.iter().filter_map(|item| self.resolve(item).transpose()).collect();
                Ok(Some(items?.into()))
            }
            Value::Object(map) => {
                if let Some((name, argument)) = intrinsic(map) {
                    return self.evaluate(name, argument);
                }
                let mut resolved = Map::new();
                for (key, value) in map {
                    if let Some(value) = self.resolve(value)? {
                        resolved.insert(key.clone(), value);
                    }
                }
                Ok(Some(resolved.into()))
            }
            scalar => Ok(Some(scalar.clone())),
        }
    }

    /// As [`Self::resolve`], for what must be text.
    pub fn text(&self, value: &Value) -> Result<String, String> {
        let value = self.resolve(value)?.ok_or("AWS::NoValue stands where text is needed")?;
        text(&value)
    }

    fn evaluate(&self, name: &str, argument: &Value) -> Result<Option<Value>, String> {
        match (name, argument) {
            ("Ref", Value::String(name)) if name == "AWS::NoValue" => Ok(None),
            ("Ref", Value::String(name)) => self.reference(name).map(Some),
            ("Fn::GetAtt", Value::Array(path)) => match path.as_slice() {
                [Value::String(resource), Value::String(attribute)] => {
                    self.attribute(resource, attribute).map(Some)
                }
                _ => Err(format!("Fn::GetAtt cannot read {argument}")),
            },
            ("Fn::Sub", Value::String(pattern)) => self.substitute(pattern, &Map::new()).map(Some),
            ("Fn::Sub", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(pattern), Value::Object(variables)] => {
                    self.substitute(pattern, variables).map(Some)
                }
                _ => Err(format!("Fn::Sub cannot read {argument}")),
            },
            ("Fn::Join", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(separator), list] => {
                    let list = self.resolve(list)?.unwrap_or_default();
                    let list = list.as_array().ok_or("Fn::Join needs a list")?;
                    let list: Result<Vec<_>, _> = list.iter().map(text).collect();
                    Ok(Some(list?.join(separator).into()))
                }
                _ => Err(format!("Fn::Join cannot read {argument}")),
            },
            ("Fn::Split", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(separator), joined] => {
                    let joined = self.text(joined)?;
                    Ok(Some(joined.split(separator.as_str()).collect()))
                }
                _ => Err(format!("Fn::Split cannot read {argument}")),
            },
            ("Fn::If", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(condition), then, otherwise] => {
                    self.resolve(if self.holds(condition)? { then } else { otherwise })
                }
                _ => Err(format!("Fn::If cannot read {argument}")),
            },
            ("Fn::Equals" | "Fn::Not" | "Fn::And" | "Fn::Or" | "Condition", _) => self
                .truth(&Value::Object(Map::from_iter([(name.to_owned(), argument.clone())])))
                .map(|truth| Some(truth.into())),
            _ => Err(format!("{name} of {argument} is not known to the embedded runner")),
        }
    }

    fn truth(&self, expression: &Value) -> Result<bool, String> {
        let unknown = || format!("cannot evaluate the condition {expression}");
        let (name, argument) = expression.as_object().and_then(intrinsic).ok_or_else(unknown)?;
        if let ("Condition", Value::String(condition)) = (name, argument) {
            return self.holds(condition);
        }
        let arguments = argument.as_array().ok_or_else(unknown)?;
        match (name, arguments.as_slice()) {
            ("Fn::Equals", [left, right]) => Ok(self.text(left)? == self.text(right)?),
            ("Fn::Not", [inner]) => Ok(!self.truth(inner)?),
            ("Fn::And", inner) => inner.iter().try_fold(true, |all, one| Ok(all && self.truth(one)?)),
            ("Fn::Or", inner) => inner.iter().try_fold(false, |any, one| Ok(any || self.truth(one)?)),
            _ => Err(unknown()),
        }
    }

    fn substitute(&self, pattern: &str, variables: &Map<String, Value>) -> Result<Value, String> {
        let mut text = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or_else(|| format!("{pattern} ends inside ${{"))?;
            text.push_str(before);
            if let Some(literal) = name.strip_prefix('!') {
                text.extend(["${", literal, "}"]);
            } else if let Some(value) = variables.get(name) {
                text.push_str(&self.text(value)?);
            } else if let Some((resource, attribute)) = name.split_once('.') {
                text.push_str(&self::text(&self.attribute(resource, attribute)?)?);
            } else {
                text.push_str(&self::text(&self.reference(name)?)?);
            }
            rest = after;
        }
        text.push_str(rest);
        Ok(text.into())
    }

    fn reference(&self, name: &str) -> Result<Value, String> {
        if let Some(value) = self.parameters.get(name) {
            return Ok(value.clone());
        }
        match name {
            "AWS::AccountId" => return Ok(ACCOUNT.into()),
            "AWS::Region" => return Ok(REGION.into()),
            "AWS::Partition" => return Ok("aws".into()),
            "AWS::URLSuffix" => return Ok("amazonaws.com".into()),
            "AWS::StackName" => return Ok("tidegate".into()),
            _ => {}
        }
        Ok(match self.type_of(name)? {
            "AWS::SQS::Queue" => format!("{}/{}", self.queue_base_url, self.name(name)?).into(),
            "AWS::SecretsManager::Secret" => self.attribute(name, "Id")?,
            _ => self.name(name)?.into(),
        })
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<Value, String> {
        let kind = self.type_of(resource)?;
        let name = self.name(resource)?;
        let (service, path) = match (kind, attribute) {
            ("AWS::SQS::Queue", "QueueName") | ("AWS::KMS::Key", "KeyId") => return Ok(name.into()),
            ("AWS::SQS::Queue", "QueueUrl") => return self.reference(resource),
            ("AWS::Serverless::Function", "Arn") => ("lambda", format!("function:{resource}")),
            ("AWS::DynamoDB::Table", "Arn") => ("dynamodb", format!("table/{name}")),
            ("AWS::SQS::Queue", "Arn") => ("sqs", name),
            ("AWS::KMS::Key", "Arn") => ("kms", format!("key/{name}")),
            ("AWS::Logs::LogGroup", "Arn") => ("logs", format!("log-group:{name}:*")),
            ("AWS::SecretsManager::Secret", "Id") => ("secretsmanager", format!("secret:{name}")),
            _ => {
                return Err(format!(
                    "{attribute} of {resource} ({kind}) is not known to the embedded runner"
                ));
            }
        };
        Ok(arn(service, &path).into())
    }

    /// The name a resource is given, or else its logical id.
    pub fn name(&self, resource: &str) -> Result<String, String> {
        let property = match self.type_of(resource)? {
            "AWS::DynamoDB::Table" => "TableName",
            "AWS::SQS::Queue" => "QueueName",
            "AWS::KMS::Alias" => "AliasName",
            "AWS::SecretsManager::Secret" => "Name",
            "AWS::Logs::LogGroup" => "LogGroupName",
            _ => return Ok(resource.to_owned()),
        };
        match self.resources.get(resource).and_then(|found| found.get("Properties")?.get(property)) {
            Some(name) => self.text(name),
            None => Ok(resource.to_owned()),
        }
    }

    fn type_of(&self, resource: &str) -> Result<&str, String> {
        self.resources
            .get(resource)
            .and_then(|resource| resource.get("Type")?.as_str())
            .ok_or_else(|| format!("there is no parameter or resource {resource}"))
    }
}

/// An ARN of the account and region that the runner plays.
pub fn arn(service: &str, path: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{path}")
}

fn intrinsic(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = map.iter().next().filter(|_| map.len() == 1)?;
    (name == "Ref" || name == "Condition" || name.starts_with("Fn::")).then_some((name.as_str(), argument))
}

/// Scalars as CloudFormation writes them into text.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("{value} stands where text is needed"))
        }
    }
}

/// The value of a parameter, checked as CloudFormation checks it.
fn parameter(declaration: &Value, given: Option<&String>) -> Result<Value, String> {
    let of = |name: &str| declaration.get(name);
    let value = match (given, of("Default")) {
        (Some(given), _) => given.clone(),
        (None, Some(default)) => text(default)?,
        (None, None) => return Err("has no default and no value was given".into()),
    };
    let allowed = of("AllowedValues").and_then(Value::as_array);
    if let Some(allowed) = allowed
        && !allowed.iter().any(|allowed| text(allowed).is_ok_and(|allowed| allowed == value))
    {
        return Err(format!("must be one of {}", Value::from(allowed.clone())));
    }
    if let Some(pattern) = of("AllowedPattern").and_then(Value::as_str) {
        let whole = regex_lite::Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|_| format!("has the unreadable pattern {pattern}"))?;
        if !whole.is_match(&value) {
            return Err(format!("must match {pattern}"));
        }
    }
    let length = u64::try_from(value.chars().count()).unwrap_or(u64::MAX);
    let bound = |name: &str| of(name).and_then(Value::as_u64);
    if bound("MinLength").is_some_and(|least| length < least)
        || bound("MaxLength").is_some_and(|most| length > most)
    {
        return Err("has the wrong length".into());
    }
    match of("Type").and_then(Value::as_str).unwrap_or_default() {
        "String" => Ok(value.into()),
        "Number" => {
            let number: serde_json::Number = value.parse().map_err(|_| "must be a number")?;
            let bound = |name: &str| of(name).and_then(Value::as_f64);
            let size = number.as_f64().unwrap_or_default();
            if bound("MinValue").is_some_and(|least| size < least)
                || bound("MaxValue").is_some_and(|most| size > most)
            {
                return Err("is out of its range".into());
            }
            Ok(number.into())
        }
        "CommaDelimitedList" if value.is_empty() => Ok(Value::Array(Vec::new())),
        "CommaDelimitedList" => Ok(value.split(',').map(|item| Value::from(item.trim())).collect()),
        other => Err(format!("has the type {other}, which the embedded runner does not know")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope(given: &[(&str, &str)]) -> Result<Scope, String> {
        let template = json!({
            "Parameters": {
                "Ttl": {"Type": "Number", "Default": 300, "MinValue": 0, "MaxValue": 3600},
                "Zone": {"Type": "String", "Default": "UTC", "AllowedPattern": "[A-Za-z/]+"},
                "Stage": {"Type": "String", "Default": "a", "AllowedValues": ["a", "b"]},
                "Origins": {"Type": "CommaDelimitedList", "Default": ""},
            },
            "Conditions": {
                "HasOrigins": {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Origins"}]}, ""]}]},
                "Both": {"Fn::And": [{"Condition": "HasOrigins"}, {"Fn::Equals": [{"Ref": "Stage"}, "b"]}]},
            },
            "Resources": {
                "Table": {"Type": "AWS::DynamoDB::Table"},
                "Named": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "orders"}},
                "Queue": {"Type": "AWS::SQS::Queue"},
                "Key": {"Type": "AWS::KMS::Key"},
                "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"Name": "app/x"}},
            },
        });
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Scope::new(template.as_object().unwrap(), &given, &BTreeMap::new(), "http://127.0.0.1:1")
    }

    #[test]
    fn intrinsics_evaluate_as_cloudformation_does() {
        let scope = scope(&[("Origins", "https://a.example, https://b.example"), ("Stage", "b")]).unwrap();
        for (expression, value) in [
            (json!({"Ref": "Ttl"}), json!(300)),
            (json!({"Ref": "Table"}), json!("Table")),
            (json!({"Ref": "Named"}), json!("orders")),
            (json!({"Ref": "Queue"}), json!("http://127.0.0.1:1/000000000000/Queue")),
            (
                json!({"Fn::GetAtt": ["Named", "Arn"]}),
                json!("arn:aws:dynamodb:local:000000000000:table/orders"),
            ),
            (json!({"Fn::GetAtt": ["Key", "Arn"]}), json!("arn:aws:kms:local:000000000000:key/Key")),
            (
                json!({"Fn::GetAtt": ["Secret", "Id"]}),
                json!("arn:aws:secretsmanager:local:000000000000:secret:app/x"),
            ),
            (
                json!({"Fn::Sub": "${Table.Arn}/x/${AWS::Region}/${!Kept}/${Ttl}"}),
                json!("arn:aws:dynamodb:local:000000000000:table/Table/x/local/${Kept}/300"),
            ),
            (json!({"Fn::Sub": ["${A}${Zone}", {"A": {"Ref": "Stage"}}]}), json!("bUTC")),
            (json!({"Fn::Join": ["|", {"Ref": "Origins"}]}), json!("https://a.example|https://b.example")),
            (json!({"Fn::Split": [",", "x,y"]}), json!(["x", "y"])),
            (json!({"Fn::If": ["Both", 1, 2]}), json!(1)),
            (json!([1, {"Ref": "AWS::NoValue"}]), json!([1])),
            (json!({"a": {"Ref": "AWS::NoValue"}, "b": {"Ref": "Stage"}}), json!({"b": "b"})),
        ] {
            assert_eq!(scope.resolve(&expression), Ok(Some(value)), "{expression}");
        }
        assert!(!self::scope(&[]).unwrap().holds("HasOrigins").unwrap());
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error() {
        let scope = scope(&[]).unwrap();
        for expression in [
            json!({"Ref": "Nothing"}),
            json!({"Fn::GetAtt": ["Table", "StreamArn"]}),
            json!({"Fn::ImportValue": "x"}),
            json!({"Fn::If": ["Unknown", 1, 2]}),
            json!({"Fn::Sub": "${Open"}),
        ] {
            assert!(scope.resolve(&expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn parameters_are_checked_as_cloudformation_checks_them() {
        for (case, given) in [
            ("unknown", ("Nope", "1")),
            ("not a number", ("Ttl", "many")),
            ("out of range", ("Ttl", "3601")),
            ("not allowed", ("Stage", "c")),
            ("wrong pattern", ("Zone", "1")),
        ] {
            assert!(scope(&[given]).is_err(), "{case}");
        }
    }
}
