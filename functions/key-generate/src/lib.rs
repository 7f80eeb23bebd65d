//! `POST /api/devops/generate-key`: issues an API key and shows its secret once.

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use serde_json::Value;
use shared::{
    Error,
    fields::{self, Fields, integer, one_of, text},
    http::{self, Answer},
    identity::Person,
    keys::{ApiKey, Environment, KeyAdmin, Order, Permission},
    lambda::{Env, EnvError, Function},
    time,
};

const EXPIRES_IN_DAYS: u64 = 365;
const RATE_LIMIT: u64 = 1000;
/// A 30-second poller makes 120 calls an hour.
const SYNC_RATE_LIMIT: u64 = 300;
/// Calls an hour; a quarter of what one key's meter row takes at most.
const LIMIT_MAX: u64 = 1_000_000;

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    keys: KeyAdmin,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { keys: KeyAdmin::load(env, sdk)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    let person = Person::admin(&request)?;
    let order = parse(http::body(&request)?)?;
    let now = time::now();
    let (key, secret) = ApiKey::issue(&person, order, now);
    deps.keys.insert(&person, &key, now).await?;
    Ok(http::created(&key.issued(&secret, now)))
}

fn parse(mut fields: Fields) -> Result<Order, Error> {
    let order = Order {
        name: fields.required("name", text(1, 100)),
        permissions: fields.optional("permissions", permissions).unwrap_or(Permission::DEFAULT.into()),
        expires_in_days: fields.optional("expires_in_days", integer(1, 3650)).unwrap_or(EXPIRES_IN_DAYS),
        rate_limit: fields.optional("rate_limit", integer(1, LIMIT_MAX)).unwrap_or(RATE_LIMIT),
        sync_rate_limit: fields.optional("sync_rate_limit", integer(1, LIMIT_MAX)).unwrap_or(SYNC_RATE_LIMIT),
        user_id: fields.optional("user_id", fields::id),
        environment: fields.optional("environment", one_of(Environment::NAMES)).unwrap_or_default(),
    };
    fields.finish().map_err(Error::Invalid)?;
    Ok(order)
}

/// A list of at least one permission, each once.
fn permissions(value: &Value) -> Result<Vec<Permission>, String> {
    let permission = one_of(Permission::NAMES);
    let named: Vec<_> = value
        .as_array()
        .ok_or_else(|| "must be a list".to_owned())?
        .iter()
        .map(&permission)
        .collect::<Result<_, _>>()
        .map_err(|message| format!("each {message}"))?;
    let repeated = named.iter().enumerate().any(|(at, one)| named[..at].contains(one));
    if named.is_empty() || repeated {
        return Err("must name at least one permission, each once".to_owned());
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(body: Value) -> Result<Order, Error> {
        parse(Fields::of("", body).unwrap())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let order = order(json!({"name": "partner"})).unwrap();
        assert_eq!(order.permissions, Permission::DEFAULT);
        assert_eq!((order.expires_in_days, order.rate_limit, order.sync_rate_limit), (365, 1000, 300));
        assert_eq!(order.environment, Environment::Live);
    }

    #[test]
    fn every_bad_field_is_named() {
        for (case, body, field) in [
            ("no name", json!({}), "name"),
            ("name too long", json!({"name": "x".repeat(300)}), "name"),
            ("negative expiry", json!({"name": "x", "expires_in_days": -1}), "expires_in_days"),
            ("no permission", json!({"name": "x", "permissions": []}), "permissions"),
            ("unknown permission", json!({"name": "x", "permissions": ["all"]}), "permissions"),
            (
                "repeated permission",
                json!({"name": "x", "permissions": ["read_metrics", "read_metrics"]}),
                "permissions",
            ),
            ("limit of zero", json!({"name": "x", "rate_limit": 0}), "rate_limit"),
            ("unknown environment", json!({"name": "x", "environment": "prod"}), "environment"),
            ("unknown field", json!({"name": "x", "admin": true}), "admin"),
        ] {
            let Err(Error::Invalid(errors)) = order(body) else { panic!("{case}: accepted") };
            assert_eq!(errors.len(), 1, "{case}: {errors:?}");
            assert_eq!(errors[0].field, field, "{case}");
        }
    }
}
