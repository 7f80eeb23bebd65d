//! The vault: how often KMS is asked for a seal and for an open, and what it saves to remember
//! data keys. In this process, against the embedded database and KMS.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};
use shared::{identity::Workspace, lambda::Env, time, vault::Vault};
use tidegate::embedded::Embedded;

use crate::Error;

/// Secrets that are opened in turns: as many credentials as one warm function works with.
const SECRETS: usize = 10;
/// A Google service account has about as much.
const SECRET_BYTES: usize = 2400;
/// Dollars of a million calls of KMS in us-east-1, at list price.
const KMS_MILLION: f64 = 3.0;

/// One kind of operation, done many times.
pub struct Line {
    name: &'static str,
    operations: usize,
    kms_calls: usize,
    median: Duration,
}

/// Seals, and opens with and without remembered keys.
pub async fn measure(embedded: &Embedded, rounds: usize) -> Result<Vec<Line>, Error> {
    let kms = Kms::default();
    let http = embedded.sdk().http_client().ok_or("the SDK has no HTTP client")?;
    let counted = SharedHttpClient::new(Counted { inner: http, kms: kms.clone() });
    let sdk = embedded.sdk().into_builder().http_client(counted).build();
    let key: String = embedded.env("vault-rewrap").required("VAULT_KEY_ID")?;
    let vault = |seconds| {
        let table = ("VAULT_TABLE", "VaultTable");
        let env = [table, ("VAULT_KEY_ID", key.as_str()), ("VAULT_CACHE_SECONDS", seconds)];
        Vault::load(&Env::of(env), &sdk)
    };
    let (plain, remembering) = (vault("0")?, vault("300")?);

    let workspace: Workspace = "bench".parse()?;
    let ids: Vec<_> = (0..SECRETS).map(|number| format!("cred_{number}")).collect();
    let client = Client::new(&embedded.sdk());
    let (secret, now) = (vec![b'x'; SECRET_BYTES], time::now());
    for id in &ids {
        let sealed = plain.seal(&workspace, id, 1, &secret, now).await?;
        let put = plain.put(&workspace, id, &sealed, None)?;
        client.transact_write_items().transact_items(put).send().await?;
    }

    let seal = run(&kms, "seal", rounds, &ids, async |id| {
        plain.seal(&workspace, id, 2, &secret, now).await.map(drop)
    });
    let mut lines = vec![seal.await?];
    for (name, vault) in [("open", &plain), ("open, keys remembered", &remembering)] {
        let open = async |id: &str| vault.open(&workspace, id).await.map(drop);
        lines.push(run(&kms, name, rounds, &ids, open).await?);
    }
    Ok(lines)
}

async fn run(
    kms: &Kms,
    name: &'static str,
    rounds: usize,
    ids: &[String],
    operation: impl AsyncFn(&str) -> Result<(), shared::Error>,
) -> Result<Line, Error> {
    let before = kms.0.load(Ordering::Relaxed);
    let mut took = Vec::new();
    for id in std::iter::repeat_n(ids, rounds).flatten() {
        let begin = Instant::now();
        operation(id).await?;
        took.push(begin.elapsed());
    }
    took.sort();
    let kms_calls = kms.0.load(Ordering::Relaxed) - before;
    Ok(Line { name, operations: took.len(), kms_calls, median: took[took.len() / 2] })
}

/// What is not as the vault says: one call for a seal and for an open, and for remembered keys
/// one for each secret and each hundred times that it is opened.
pub fn wrong(lines: &[Line]) -> Vec<String> {
    let expected = |line: &Line| match line.name {
        "open, keys remembered" => SECRETS * (line.operations / SECRETS).div_ceil(101),
        _ => line.operations,
    };
    lines
        .iter()
        .filter(|line| line.kms_calls != expected(line))
        .map(|line| format!("{}: {} calls of KMS, not {}", line.name, line.kms_calls, expected(line)))
        .collect()
}

/// The lines as a table.
pub fn table(lines: &[Line]) -> String {
    let mut table = "| vault | KMS calls each | median | KMS for a million |\n|---|--:|--:|--:|\n".to_owned();
    for line in lines {
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        let each = line.kms_calls as f64 / line.operations as f64;
        let row =
            format!("| {} | {each:.2} | {:.0?} | ${:.2} |\n", line.name, line.median, each * KMS_MILLION);
        table.push_str(&row);
    }
    table
}

/// Calls of KMS so far.
#[derive(Debug, Clone, Default)]
struct Kms(Arc<AtomicUsize>);

/// An HTTP client that counts them.
#[derive(Debug)]
struct Counted {
    inner: SharedHttpClient,
    kms: Kms,
}

impl HttpClient for Counted {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(CountedConnector { inner, kms: self.kms.clone() })
    }
}

#[derive(Debug)]
struct CountedConnector {
    inner: SharedHttpConnector,
    kms: Kms,
}

impl HttpConnector for CountedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        if target.starts_with("TrentService.") {
            self.kms.0.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.call(request)
    }
}
