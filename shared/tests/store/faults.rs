//! A line to DynamoDB that fails as the real one does.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use serde_json::{Value, json};

/// What happens to one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is cancelled, and this is the reason of its last write.
    Cancelled(&'static str),
    /// It is refused by this exception.
    Refused(&'static str),
    /// It is applied, and then answered by this exception.
    AppliedBut(&'static str),
    /// It is applied, and the connection breaks before the answer.
    AnswerLost,
}

/// Says what happens to the n-th transaction, given its text.
type Faults = dyn Fn(usize, &str) -> Fault + Send + Sync;

/// Stands between the SDK and its HTTP client, and counts transactions.
#[derive(Clone)]
pub struct Line {
    inner: SharedHttpClient,
    operation: &'static str,
    faults: Arc<Faults>,
    counts: Arc<Counts>,
}

/// Transactions as they went over the line.
#[derive(Debug, Default)]
pub struct Counts {
    pub attempted: AtomicUsize,
    /// Those that DynamoDB itself took.
    pub done: AtomicUsize,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({:?})", self.counts)
    }
}

impl Line {
    /// The configuration with such a line in it.
    pub fn with(
        sdk: SdkConfig,
        faults: impl Fn(usize, &str) -> Fault + Send + Sync + 'static,
    ) -> (SdkConfig, Arc<Counts>) {
        Self::of("DynamoDB_20120810.TransactWriteItems", sdk, faults)
    }

    /// The same for another operation, by its `X-Amz-Target`.
    pub fn of(
        operation: &'static str,
        sdk: SdkConfig,
        faults: impl Fn(usize, &str) -> Fault + Send + Sync + 'static,
    ) -> (SdkConfig, Arc<Counts>) {
        let counts = Arc::<Counts>::default();
        let inner = sdk.http_client().unwrap();
        let line = Self { inner, operation, faults: Arc::new(faults), counts: Arc::clone(&counts) };
        (sdk.into_builder().http_client(SharedHttpClient::new(line)).build(), counts)
    }
}

impl HttpClient for Line {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, line: self.clone() })
    }
}

#[derive(Debug)]
struct Connector {
    inner: SharedHttpConnector,
    line: Line,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if request.headers().get("x-amz-target") != Some(self.line.operation) {
            return self.inner.call(request);
        }
        let text = String::from_utf8_lossy(request.body().bytes().unwrap()).into_owned();
        let counts = Arc::clone(&self.line.counts);
        let fault = (self.line.faults)(counts.attempted.fetch_add(1, SeqCst), &text);
        match fault {
            Fault::Cancelled(reason) => {
                let body: Value = serde_json::from_str(&text).unwrap();
                let mut reasons =
                    vec![json!({"Code": "None"}); body["TransactItems"].as_array().unwrap().len()];
                *reasons.last_mut().unwrap() = json!({"Code": reason, "Message": "made up"});
                let reasons = json!({"CancellationReasons": reasons});
                return HttpConnectorFuture::ready(Ok(answer("TransactionCanceledException", reasons)));
            }
            Fault::Refused(exception) => {
                return HttpConnectorFuture::ready(Ok(answer(exception, json!({}))));
            }
            Fault::None | Fault::AppliedBut(_) | Fault::AnswerLost => {}
        }
        let answered = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let given = answered.await?;
            counts.done.fetch_add(usize::from(given.status().is_success()), SeqCst);
            match fault {
                Fault::AppliedBut(exception) => Ok(answer(exception, json!({}))),
                Fault::AnswerLost => Err(ConnectorError::io("the connection broke".into())),
                _ => Ok(given),
            }
        })
    }
}

fn answer(exception: &str, mut body: Value) -> HttpResponse {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{exception}"));
    body["message"] = json!("made up");
    let status: u16 = if exception == "InternalServerError" { 500 } else { 400 };
    HttpResponse::new(status.try_into().unwrap(), body.to_string().into())
}
