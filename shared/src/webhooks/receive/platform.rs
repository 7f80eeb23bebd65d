//! Deliveries of the deployment's own accounts with Stripe, GitHub and Shopify, and what the
//! deployment asks of its workspaces' own tools: each is signed with a platform secret.

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use lambda_http::Request;

use super::{Delivery, Naming, Receiver, Scheme, Source, envelope::of_bytes, verify};
use crate::{
    Error, http, id,
    identity::Workspace,
    lambda::{Env, EnvError},
    secrets::{PlatformSecrets, SecretName},
    webhooks::{event::Via, operations::Report, scheme::Incoming, store::Accepted},
};

/// Takes in what a platform secret signs.
pub struct Platform {
    secrets: PlatformSecrets,
    receiver: Receiver,
    home: Option<Workspace>,
}

impl Platform {
    /// Reads what [`Receiver::load`] does, `SECRETS_PREFIX`, `OPERATORS_WORKSPACE` and `WORKSPACE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self {
            secrets: PlatformSecrets::load(env, sdk)?,
            receiver: Receiver::load(env, sdk)?,
            home: Workspace::home(env)?,
        })
    }

    /// Takes in a delivery to the deployment's own account. Beside what [`Receiver::accept`] asks,
    /// the secret is read every five minutes.
    pub async fn receive(
        &self,
        scheme: &Scheme,
        secret: SecretName,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Result<Accepted, Error> {
        let missing = || Error::NotConfigured { service: "webhooks", missing: vec!["OperatorsWorkspace"] };
        let workspace = self.home.as_ref().ok_or_else(missing)?;
        let source = scheme.source();
        let incoming = incoming(request);
        self.check(workspace, source, scheme, secret, &incoming, now).await?;
        let delivery = Delivery {
            source,
            endpoint: None,
            scheme: Some(scheme),
            naming: Naming::default(),
            via: Via::Delivery,
            incoming,
        };
        self.receiver.take(workspace, &delivery, now).await
    }

    /// Takes in what a tool of a workspace tells, once for each id that it gives; without one, once
    /// for the same bytes, if they say a time.
    pub async fn report(
        &self,
        workspace: &Workspace,
        report: &Report,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Result<Accepted, Error> {
        let scheme = Scheme::devops();
        let header = request.headers().get("idempotency-key").and_then(|value| value.to_str().ok());
        let id = match report.id.as_deref().or(header) {
            Some(id) => id.to_owned(),
            None if report.at.is_some() => of_bytes(&[http::bytes(request)]),
            // Two measurements may be equal: nothing tells a new one from one that is repeated.
            None => id::generate("report", now),
        };
        let naming = Naming::Known { id: &id, kind: &report.kind };
        let delivery = Delivery {
            source: Source::Devops,
            endpoint: None,
            scheme: Some(&scheme),
            naming,
            via: Via::Delivery,
            incoming: incoming(request),
        };
        self.receiver.take(workspace, &delivery, now).await
    }

    /// Refuses a report that is not signed, where the deployment has a secret for that.
    pub async fn check_report(
        &self,
        workspace: &Workspace,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let (scheme, secret) = (Scheme::devops(), SecretName::DevopsWebhookSecret);
        match self.check(workspace, Source::Devops, &scheme, secret, &incoming(request), now).await {
            Err(Error::NotConfigured { .. }) => Ok(()),
            checked => checked,
        }
    }

    async fn check(
        &self,
        workspace: &Workspace,
        source: Source,
        scheme: &Scheme,
        secret: SecretName,
        incoming: &Incoming<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let rolling = self.secrets.get(secret, now).await?;
        let Err(refused) = verify(scheme, incoming, rolling.accepted(now), [], [], now) else {
            return Ok(());
        };
        let replaced = self.secrets.replaced(secret, now).await;
        let refused = scheme.explain(refused, incoming, &replaced, []);
        Err(self.receiver.refuse(workspace, source.word(), incoming, refused, now).await)
    }
}

/// None of these schemes signs the address.
fn incoming(request: &Request) -> Incoming<'_> {
    Incoming { headers: request.headers(), url: "", body: http::bytes(request) }
}
