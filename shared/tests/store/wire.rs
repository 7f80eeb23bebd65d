//! What goes over the wire to AWS: which calls, with which bytes, and services that refuse.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    runtime_components::RuntimeComponents,
};

/// Stands between the SDK and its HTTP client.
#[derive(Debug, Clone)]
pub struct Wire {
    inner: SharedHttpClient,
    seen: Arc<Mutex<Seen>>,
    kms_denies: Arc<AtomicBool>,
    secrets_deny: Arc<AtomicBool>,
}

/// What went over it.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Operations in order, such as `GetItem`.
    pub calls: Vec<String>,
    /// The requests' bodies to everything but KMS, one after the other.
    pub sent: String,
    /// Bytes that came back.
    pub received: usize,
}

impl Wire {
    /// The configuration with a wire in it.
    pub fn tap(sdk: SdkConfig) -> (SdkConfig, Self) {
        let inner = sdk.http_client().unwrap();
        let wire =
            Self { inner, seen: Arc::default(), kms_denies: Arc::default(), secrets_deny: Arc::default() };
        (sdk.into_builder().http_client(SharedHttpClient::new(wire.clone())).build(), wire)
    }

    /// What went over it since the last time.
    pub fn seen(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// From now on KMS refuses every call, as without a grant, or no longer.
    pub fn deny_kms(&self, denies: bool) {
        self.kms_denies.store(denies, Ordering::SeqCst);
    }

    /// From now on Secrets Manager refuses every call, or no longer.
    pub fn deny_secrets(&self, denies: bool) {
        self.secrets_deny.store(denies, Ordering::SeqCst);
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, wire: self.clone() })
    }
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    wire: Wire,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let (service, operation) = target.split_once('.').unwrap_or_default();
        let mut seen = self.wire.seen.lock().unwrap();
        seen.calls.push(operation.to_owned());
        let denied = match service {
            "TrentService" => &self.wire.kms_denies,
            "secretsmanager" => &self.wire.secrets_deny,
            _ => &AtomicBool::new(false),
        };
        if denied.load(Ordering::SeqCst) {
            let body = r#"{"__type": "AccessDeniedException", "message": "not authorized"}"#;
            let answer = HttpResponse::new(400.try_into().unwrap(), body.into());
            return HttpConnectorFuture::ready(Ok(answer));
        }
        if service != "TrentService" {
            seen.sent.push_str(&String::from_utf8_lossy(request.body().bytes().unwrap_or_default()));
        }
        drop(seen);
        let (answered, seen) = (self.inner.call(request), Arc::clone(&self.wire.seen));
        HttpConnectorFuture::new(async move {
            let answer = answered.await?;
            let length = answer.headers().get("content-length").and_then(|text| text.parse().ok());
            seen.lock().unwrap().received += length.unwrap_or(0);
            Ok(answer)
        })
    }
}
