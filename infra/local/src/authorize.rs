//! Lambda authorizers with API Gateway's rules: who lacks an identity is refused without asking,
//! and an answer, yes or no, is reused for everyone with that identity on every route.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Map, Value, value::to_raw_value};

use crate::{
    functions::Functions,
    template::{Authorizer, IdentitySource},
};

/// How long an authorizer may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The most answers remembered. Whoever sends ever new identities must not fill the memory.
const CAPACITY: usize = 10_000;

/// What an authorizer decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// With what it says about the caller.
    Allow(Map<String, Value>),
    /// 403.
    Deny,
}

/// Why a request does not get to its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 401: a part of the identity is missing or empty.
    Unidentified,
    /// 403: the authorizer says no.
    Denied,
    /// 500: the authorizer gave no answer that can be read.
    Failed,
}

/// The answers of all authorizers.
#[derive(Default)]
pub struct Cache(Mutex<HashMap<Key, (Instant, Decision)>>);

type Key = (String, Vec<String>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    is_authorized: bool,
    #[serde(default)]
    context: Option<Map<String, Value>>,
}

/// The parts of a request that can identify its caller.
pub struct Parts<'a> {
    /// By lower-cased name.
    pub headers: &'a Map<String, Value>,
    /// Decoded.
    pub query: &'a Map<String, Value>,
}

impl Cache {
    /// Asks the authorizer `name`, or reuses its answer. `event` makes the event from the
    /// identity sources' values.
    pub async fn authorize(
        &self,
        functions: &Functions,
        name: &str,
        authorizer: &Authorizer,
        parts: &Parts<'_>,
        event: impl FnOnce(&[String]) -> Value,
    ) -> Result<Map<String, Value>, Refusal> {
        let identity = identity(authorizer, parts).ok_or(Refusal::Unidentified)?;
        let key = (name.to_owned(), identity);
        let decision = if let Some(decision) = self.get(&key) {
            decision
        } else {
            let decision = ask(functions, authorizer, &event(&key.1)).await.ok_or(Refusal::Failed)?;
            if !authorizer.ttl.is_zero() {
                self.put(key, authorizer.ttl, decision.clone());
            }
            decision
        };
        match decision {
            Decision::Allow(context) => Ok(context),
            Decision::Deny => Err(Refusal::Denied),
        }
    }

    fn get(&self, key: &Key) -> Option<Decision> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(key).filter(|(end, _)| Instant::now() < *end).map(|(_, decision)| decision.clone())
    }

    fn put(&self, key: Key, ttl: Duration, decision: Decision) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= CAPACITY {
            let now = Instant::now();
            answers.retain(|_, (end, _)| now < *end);
        }
        if answers.len() >= CAPACITY {
            answers.clear();
        }
        answers.insert(key, (Instant::now() + ttl, decision));
    }
}

fn identity(authorizer: &Authorizer, parts: &Parts<'_>) -> Option<Vec<String>> {
    let value = |source: &IdentitySource| {
        let value = match source {
            IdentitySource::Header(name) => parts.headers.get(name),
            IdentitySource::Query(name) => parts.query.get(name),
        };
        value.and_then(Value::as_str).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    authorizer.identity.iter().map(value).collect()
}

async fn ask(functions: &Functions, authorizer: &Authorizer, event: &Value) -> Option<Decision> {
    let event = to_raw_value(event).ok()?;
    let answer = functions.invoke(&authorizer.function, event, Some(TIMEOUT)).await.ok()?;
    let Ok(answer) = serde_json::from_str::<Answer>(answer.get()) else {
        tracing::error!(function = authorizer.function, "the authorizer's answer lacks isAuthorized");
        return None;
    };
    Some(match answer {
        Answer { is_authorized: true, context } => Decision::Allow(context.unwrap_or_default()),
        Answer { is_authorized: false, .. } => Decision::Deny,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ever_new_identities_do_not_fill_the_memory() {
        let cache = Cache::default();
        for number in 0..=CAPACITY {
            let key = ("Key".to_owned(), vec![number.to_string()]);
            cache.put(key, Duration::from_mins(5), Decision::Deny);
        }
        assert!(cache.0.lock().unwrap().len() <= CAPACITY);
        let last = ("Key".to_owned(), vec![CAPACITY.to_string()]);
        assert_eq!(cache.get(&last), Some(Decision::Deny));
        let expired = ("Key".to_owned(), vec!["expired".to_owned()]);
        cache.put(expired.clone(), Duration::ZERO, Decision::Deny);
        assert_eq!(cache.get(&expired), None);
    }
}
