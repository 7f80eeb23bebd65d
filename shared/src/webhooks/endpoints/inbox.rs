//! Taking in what comes to an endpoint.

use std::sync::Arc;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use serde_json::json;

use super::{Endpoint, Paths, RECEIVE, Receiving};
use crate::{
    Error, id,
    identity::Workspace,
    lambda::{Env, EnvError},
    webhooks::{
        event::Via,
        receive::{BODY_MAX, Delivery, Naming, Receiver},
        scheme::{Cause, Incoming, Scheme},
        store::Accepted,
    },
};

/// Takes in what comes to endpoints.
pub struct Inbox {
    paths: Paths,
    receiver: Receiver,
}

impl Inbox {
    /// Reads what [`Paths::load`] and [`Receiver::load`] read.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { paths: Paths::load(env, sdk)?, receiver: Receiver::load(env, sdk)? })
    }

    /// Takes in a delivery to `path`. What it costs beside [`Receiver::accept`], [`super::paths`]
    /// tells: mostly nothing.
    pub async fn receive(
        &self,
        path: &str,
        incoming: Incoming<'_>,
        now: DateTime<Utc>,
    ) -> Result<Accepted, Error> {
        let found = self.paths.find(path, now).await?;
        self.take(found, Via::Delivery, incoming, now).await
    }

    /// Sends an event to an endpoint as its service would, signed with the newest secret. It stands
    /// among the others and changes nothing.
    pub async fn test(
        &self,
        workspace: &Workspace,
        endpoint: &Endpoint,
        now: DateTime<Utc>,
    ) -> Result<Accepted, Error> {
        let settings = &endpoint.settings;
        let found = match self.paths.find(&settings.path, now).await {
            Err(Error::NotFound(_)) => return Err(Error::Conflict("the endpoint is not active".to_owned())),
            found => found?,
        };
        // Its path may have become another's since it was read.
        if found.endpoint.id != endpoint.id || found.workspace != *workspace {
            return Err(Error::Conflict("the endpoint was changed meanwhile".to_owned()));
        }
        let url = format!("https://localhost{RECEIVE}{}", settings.path);
        let id = id::generate("test", now);
        let (mut headers, body) = event(&found.endpoint, &id, now);
        if found.endpoint.settings.verify_signature {
            headers.extend(signature(&found, &url, &body, &id, now)?);
        }
        let incoming = Incoming { headers: &headers, url: &url, body: &body };
        self.take(found, Via::Test, incoming, now).await
    }

    async fn take(
        &self,
        found: Arc<Receiving>,
        via: Via,
        incoming: Incoming<'_>,
        now: DateTime<Utc>,
    ) -> Result<Accepted, Error> {
        let (found, verified) = if incoming.body.len() > BODY_MAX {
            (found, Err(Cause::TooLarge.into()))
        } else {
            self.paths.verify(found, &incoming, now).await?
        };
        let Receiving { workspace, endpoint, .. } = &*found;
        if let Err(refused) = verified {
            return Err(self.receiver.refuse(workspace, &endpoint.id, &incoming, refused, now).await);
        }
        let settings = &endpoint.settings;
        let delivery = Delivery {
            source: settings.scheme.source(),
            endpoint: Some(&endpoint.id),
            scheme: Some(&settings.scheme),
            naming: Naming::Headers {
                id: settings.event_id_header.as_deref(),
                kind: settings.event_type_header.as_deref(),
            },
            via,
            incoming,
        };
        self.receiver.take(workspace, &delivery, now).await
    }
}

fn signature(
    found: &Receiving,
    url: &str,
    body: &[u8],
    id: &str,
    now: DateTime<Utc>,
) -> Result<HeaderMap, Error> {
    let scheme = &found.endpoint.settings.scheme;
    if matches!(scheme, Scheme::Sendgrid) {
        let message = "only SendGrid can sign for this endpoint: let it send a test event";
        return Err(Error::Conflict(message.to_owned()));
    }
    let signed = found.newest().and_then(|secret| scheme.sign(url, body, id, secret, now));
    signed.ok_or_else(|| Error::Conflict("the endpoint has no secret to sign with".to_owned()))
}

/// An event in the shape of the service's own, of a type that no service has.
fn event(endpoint: &Endpoint, id: &str, now: DateTime<Utc>) -> (HeaderMap, Vec<u8>) {
    const KIND: &str = "tidegate.test";
    let settings = &endpoint.settings;
    let usual = match settings.scheme {
        Scheme::Github => vec![("x-github-delivery", id), ("x-github-event", KIND)],
        Scheme::Shopify => vec![("x-shopify-webhook-id", id), ("x-shopify-topic", "tidegate/test")],
        _ => Vec::new(),
    };
    let told = [(&settings.event_id_header, id), (&settings.event_type_header, KIND)];
    let told = told.iter().filter_map(|(name, value)| Some((name.as_deref()?, *value)));
    let form = matches!(settings.scheme, Scheme::Twilio { .. });
    let body = if form {
        format!("MessageSid={id}&MessageStatus=test")
    } else {
        let data = json!({"endpoint": endpoint.id});
        let (object, created) = ("event", now.timestamp());
        json!({"id": id, "object": object, "type": KIND, "created": created, "data": data}).to_string()
    };
    let content_type = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    let pairs = usual.into_iter().chain(told).chain([(CONTENT_TYPE.as_str(), content_type)]);
    let pairs = pairs.filter_map(|(name, value)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    });
    (pairs.collect(), body.into_bytes())
}
