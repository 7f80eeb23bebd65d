//! What events change: whatever order they come in, however often and in whatever shape, the
//! ledger ends as the provider has it.

mod history;
mod others;
mod stripe;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::{Map, Value, json};
use shared::{
    identity::Workspace,
    lambda::Env,
    ledger::Ledger,
    webhooks::{
        Event, Source, Status,
        event::{Via, event_id},
        handle::{Context, Effects, Failed, Handlers, handle},
    },
};
use tidegate::embedded::Embedded;

use crate::{
    at,
    ledger::{NOW, ledger, rows},
};

/// A deployment in memory, with one workspace for each case.
pub struct World {
    pub embedded: Embedded,
    pub handlers: Handlers,
    pub ledger: Ledger,
    pub workspace: Workspace,
}

impl World {
    pub async fn new(variables: &[(&str, &str)]) -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let own = [("WEBHOOKS_TABLE", "WebhooksTable"), ("SECRETS_PREFIX", "tidegate")];
        let env = Env::of(own.into_iter().chain(variables.iter().copied()));
        let handlers = Handlers::load(&env, &embedded.sdk()).unwrap();
        let ledger = ledger(&embedded);
        Self { embedded, handlers, ledger, workspace: "acme".parse().unwrap() }
    }

    /// Handles one event, and puts into the ledger what follows from it.
    pub async fn take(&self, source: Source, kind: &str, body: &[u8]) -> Result<Effects, Failed> {
        let provider_id = delivery(kind, body);
        let event = Event {
            id: event_id(&self.workspace, source.word(), &provider_id),
            source,
            endpoint: None,
            kind: kind.to_owned(),
            provider_id,
            via: Via::Delivery,
            status: Status::Received,
            received_at: at(NOW),
            size: 0,
            headers: Vec::new(),
            attempts: 0,
            log: Vec::new(),
            next_attempt_at: None,
            processed_at: None,
        };
        let context = Context { workspace: &self.workspace, event: &event, now: at(NOW) };
        let effects = handle(&self.handlers, context, body).await?;
        self.ledger.put(&self.workspace, effects.subscriptions.clone(), at(NOW)).await?;
        self.ledger.put(&self.workspace, effects.transactions.clone(), at(NOW)).await?;
        Ok(effects)
    }

    /// The fields of each entity that say what it is, by id; not when it was so.
    pub async fn entities(&self) -> BTreeMap<String, Value> {
        let mut entities = BTreeMap::new();
        for (key, row) in rows(&self.embedded).await {
            let (pk, sk) = key.split_once(' ').unwrap();
            let own = pk.split('#').nth(1) == Some(&self.workspace.to_string());
            let id = sk.strip_prefix("TRANSACTION#").or_else(|| sk.strip_prefix("SUBSCRIPTION#"));
            let Some(id) = id.filter(|_| own) else { continue };
            let told = row
                .into_iter()
                .filter(|(name, _)| !["updated_at", "day", "zone"].contains(&name.as_str()))
                .filter(|(name, _)| !name.starts_with("gsi"))
                .map(|(name, value)| (name, serde_json::from_str(&value).unwrap()));
            let mut told: Map<_, _> = told.collect();
            // Rows are told without their zeros.
            if told.contains_key("amount") {
                told.entry("refunded").or_insert(json!(0));
            }
            entities.insert(id.to_owned(), Value::Object(told));
        }
        entities
    }

    /// Whether all totals are as the entities say.
    pub async fn is_exact(&self) {
        let report = self.ledger.verify(&self.workspace, at(NOW), &mut |_| ()).await.unwrap();
        assert_eq!(report.differences, [], "{report:?}");
    }
}

/// The provider's id of what has this type and body.
pub fn delivery(kind: &str, body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("{kind} {:x}", hasher.finish())
}

/// A Stripe event.
pub fn stripe_event(kind: &str, created: i64, object: &Value) -> (String, Vec<u8>) {
    let event = json!({
        "id": format!("evt_{kind}_{created}"), "object": "event", "type": kind, "created": created,
        "livemode": false, "data": {"object": object},
    });
    (kind.to_owned(), event.to_string().into_bytes())
}
