//! Proving what an integration is set to, with the credential that it names.

use std::collections::HashSet;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    Content, Environment,
    health::{TestCause, TestFailure, TestResult},
    order::known_provider,
};
use crate::{
    Error,
    credentials::Credentials,
    identity::Workspace,
    lambda::{Env, EnvError},
    providers::{Client, Credential, Proof, Provider},
};

/// Spreadsheets that a proof names at most: one that is not among so many may still be there.
const SHEETS_MAX: usize = 1000;

/// Tests integrations with their providers.
pub struct Tester {
    credentials: Credentials,
    client: Client,
}

impl TestFailure {
    fn new(cause: TestCause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into() }
    }

    /// As an answer tells it.
    #[must_use]
    pub fn answer(&self) -> Value {
        json!({"verified": false, "cause": self.cause.word(), "message": self.message})
    }

    /// As the refusal of a change that had to pass a test.
    #[must_use]
    pub fn refusal(self) -> Error {
        Error::Unproven { cause: self.cause.word(), message: self.message }
    }
}

impl Tester {
    /// Reads what [`Credentials::load`] and [`Client::load`] read.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { credentials: Credentials::load(env, sdk)?, client: Client::load(env)? })
    }

    /// Those of the credentials that are not there; at most 100. One read.
    pub async fn missing<'a>(
        &self,
        workspace: &Workspace,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<HashSet<String>, Error> {
        let ids: HashSet<&str> = ids.into_iter().collect();
        let there = self.credentials.providers(workspace, &ids).await?;
        Ok(ids.into_iter().filter(|id| !there.contains_key(*id)).map(str::to_owned).collect())
    }

    /// Refuses to name a credential that is not there or is another provider's. `before` is what
    /// is named already: that may stay.
    pub async fn check(
        &self,
        workspace: &Workspace,
        provider: &str,
        content: &Content,
        before: Option<&str>,
    ) -> Result<(), Error> {
        let Some(id) = content.credential_id.as_deref().filter(|id| Some(*id) != before) else {
            return Ok(());
        };
        let there = self.credentials.providers(workspace, &HashSet::from([id])).await?;
        match there.get(id) {
            None => Err(Error::invalid("credential_id", "names no credential of this workspace")),
            Some(other) if Some(*other) != known_provider(provider) => {
                let message = format!("names a credential of {}, and not of {provider}", other.word());
                Err(Error::invalid("credential_id", message))
            }
            Some(_) => Ok(()),
        }
    }

    /// Tests what an integration is set to, or would be. Only what keeps the test from being made
    /// is an error. Opening the credential, and the provider's calls.
    pub async fn test(
        &self,
        workspace: &Workspace,
        provider: &str,
        content: &Content,
        now: DateTime<Utc>,
    ) -> Result<TestResult, Error> {
        let Some(known) = known_provider(provider) else {
            return Err(Error::Conflict(format!("an integration with {provider} cannot be tested")));
        };
        let Some(id) = content.credential_id.as_deref() else {
            let message = "no credential is named: name one in credential_id";
            return Ok(Err(TestFailure::new(TestCause::CredentialMissing, message)));
        };
        let credential = match self.credentials.open(workspace, id).await {
            Ok(opened) => opened.credential,
            Err(Error::NotFound(_)) => {
                let message = "the credential was deleted: name another one in credential_id";
                return Ok(Err(TestFailure::new(TestCause::CredentialMissing, message)));
            }
            Err(error) => return Err(error),
        };
        let credential = match narrowed(known, credential, content) {
            Ok(credential) => credential,
            Err(failure) => return Ok(Err(failure)),
        };
        let proof = credential.verify(&self.client, now).await;
        Ok(proof.map_err(TestFailure::from).and_then(|proof| fits(known, proof, content)))
    }
}

/// The credential as the configuration narrows it, or why it cannot serve.
fn narrowed(
    provider: Provider,
    credential: Credential,
    content: &Content,
) -> Result<Credential, TestFailure> {
    let configuration = &content.configuration;
    if credential.provider() != provider {
        let message = format!("the credential is one of {}", credential.provider().word());
        return Err(TestFailure::new(TestCause::Format, message));
    }
    match provider.word() {
        // The same service account may read several properties: the one that is used is proven.
        "ga4" => match configuration.text("property_id") {
            Some(property) => credential
                .patched("credential", json!({"property_id": property}))
                .map_err(|_| TestFailure::new(TestCause::Format, "the property_id cannot be one")),
            None => Ok(credential),
        },
        "shopify" => {
            let mask = credential.mask();
            let shop = mask.get("shop").and_then(Value::as_str).unwrap_or_default();
            match configuration.text("shop").filter(|wanted| !wanted.eq_ignore_ascii_case(shop)) {
                Some(wanted) => {
                    let message = format!("the credential is for {shop}, the configuration names {wanted}");
                    Err(TestFailure::new(TestCause::Scope, message))
                }
                None => Ok(credential),
            }
        }
        _ => Ok(credential),
    }
}

/// Whether what was proven is what the integration is meant for.
fn fits(provider: Provider, proof: Proof, content: &Content) -> TestResult {
    let refuse = |message: String| Err(TestFailure::new(TestCause::Scope, message));
    match provider.word() {
        "stripe" => {
            let environment = content.environment;
            let live = proof.answer.get("livemode").and_then(Value::as_bool);
            if live.is_some_and(|live| live != (environment == Environment::Live)) {
                let mode = if live == Some(true) { "live" } else { "test" };
                let environment = environment.name();
                return refuse(format!("the key is of {mode} mode, the integration is {environment}"));
            }
        }
        "google" => {
            let sheets = proof.answer.get("sheets").and_then(Value::as_array);
            let sheets = sheets.map(Vec::as_slice).unwrap_or_default();
            let wanted = content.configuration.text("spreadsheet_id");
            let seen = |wanted: &str| sheets.iter().any(|sheet| sheet["id"] == wanted);
            if sheets.len() < SHEETS_MAX && wanted.is_some_and(|wanted| !seen(wanted)) {
                return refuse("the spreadsheet is not shared with the service account".to_owned());
            }
        }
        _ => {}
    }
    Ok(proof)
}
