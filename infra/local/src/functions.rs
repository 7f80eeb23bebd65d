//! The function libraries by the name of the binary that the template builds from them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_config::SdkConfig;
use lambda_runtime::Context;
use serde_json::value::RawValue;
use shared::lambda::{Env, Function, Invoke};

use crate::template;

/// What a synchronous invocation may carry each way.
pub const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

/// Functions by the name of their binary.
pub type Registry = BTreeMap<&'static str, Function>;

/// Every function of the system.
#[must_use]
pub fn registry() -> Registry {
    BTreeMap::from([
        ("activity", activity::function()),
        ("integrations", integrations::function()),
        ("authorize-key", authorize_key::function()),
        ("authorize-user", authorize_user::function()),
        ("credentials", credentials::function()),
        ("docs", docs::function()),
        ("health", health::function()),
        ("ingest", ingest::function()),
        ("key-generate", key_generate::function()),
        ("keys", keys::function()),
        ("ledger-due", ledger_due::function()),
        ("integrations-test", integrations_test::function()),
        ("secrets-check", secrets_check::function()),
        ("settings", settings::function()),
        ("metrics", metrics::function()),
        ("overview", overview::function()),
        ("sync-commissions", sync_commissions::function()),
        ("sync-revenue", sync_revenue::function()),
        ("sync-users", sync_users::function()),
        ("vault-rewrap", vault_rewrap::function()),
        ("webhook-devops", webhook_devops::function()),
        ("webhook-github", webhook_github::function()),
        ("webhook-shopify", webhook_shopify::function()),
        ("webhook-stripe", webhook_stripe::function()),
        ("webhook-heal", webhook_heal::function()),
        ("webhook-process", webhook_process::function()),
        ("webhook-sweep", webhook_sweep::function()),
        ("webhook-receive", webhook_receive::function()),
        ("webhooks", webhooks::function()),
    ])
}

/// The template's functions, loaded.
pub struct Functions(BTreeMap<String, Loaded>);

struct Loaded {
    invoke: Invoke,
    timeout: Duration,
    binary: String,
}

/// Why an invocation gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The template has no such function.
    #[error("there is no function {0}")]
    Unknown(String),
    /// The function returned an error or panicked.
    #[error("{0}")]
    Failed(String),
    /// The function's own `Timeout`, or its caller's patience, was over.
    #[error("timed out after {0:?}")]
    TimedOut(Duration),
    /// More than an invocation may carry.
    #[error("the payload is over 6 MB")]
    TooLarge,
}

impl Functions {
    /// Loads what the template names; a function that only one side knows is an error.
    pub fn load(
        registry: &Registry,
        wanted: &BTreeMap<String, template::Function>,
        sdk: &SdkConfig,
    ) -> Result<Self, String> {
        if let Some(unused) =
            registry.keys().find(|binary| !wanted.values().any(|function| function.binary == **binary))
        {
            return Err(format!("the template has no function that runs the binary {unused}"));
        }
        let mut functions = BTreeMap::new();
        for (id, function) in wanted {
            let binary = function.binary.as_str();
            let library = registry
                .get(binary)
                .ok_or_else(|| format!("{id} runs the binary {binary}, which the embedded runner lacks"))?;
            let invoke = library
                .load(&Env::of(function.environment.clone()), sdk)
                .map_err(|error| format!("{id} does not start: {error}"))?;
            let binary = function.binary.clone();
            functions.insert(id.clone(), Loaded { invoke, timeout: function.timeout, binary });
        }
        Ok(Self(functions))
    }

    /// The logical id of the function that runs `name`, be it the id itself or the binary.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(id, loaded)| *id == name || loaded.binary == name).map(|(id, _)| id.as_str())
    }

    /// Runs a function as Lambda does: in a task of its own, so that a panic ends only this
    /// invocation, and within its `Timeout` and the caller's `patience`.
    pub async fn invoke(
        &self,
        id: &str,
        event: Box<RawValue>,
        patience: Option<Duration>,
    ) -> Result<Box<RawValue>, Failure> {
        let Some(loaded) = self.0.get(id) else { return Err(Failure::Unknown(id.to_owned())) };
        if event.get().len() > MAX_PAYLOAD {
            return Err(Failure::TooLarge);
        }
        let limit = patience.map_or(loaded.timeout, |patience| patience.min(loaded.timeout));
        let mut context = Context::default();
        context.request_id = crate::random::uuid();
        context.invoked_function_arn = crate::intrinsics::arn("lambda", &format!("function:{id}"));
        context.deadline = u64::try_from((chrono::Utc::now() + limit).timestamp_millis()).unwrap_or_default();
        let invoke = Arc::clone(&loaded.invoke);
        let mut task = tokio::spawn(async move { invoke(event, context).await });
        let answer = match tokio::time::timeout(limit, &mut task).await {
            Err(_) => {
                task.abort();
                Err(Failure::TimedOut(limit))
            }
            Ok(Err(_)) => Err(Failure::Failed("the function panicked".into())),
            Ok(Ok(Err(error))) => Err(Failure::Failed(error.to_string())),
            Ok(Ok(Ok(answer))) if answer.get().len() > MAX_PAYLOAD => Err(Failure::TooLarge),
            Ok(Ok(Ok(answer))) => Ok(answer),
        };
        if let Err(failure) = &answer {
            tracing::error!(function = id, "invocation failed: {failure}");
        }
        answer
    }
}
