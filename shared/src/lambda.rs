//! What hosts a function: its environment, its SDK configuration, and the way from an event to
//! an answer. Lambda ([`serve`]) and the embedded runner ([`Function::load`]) take the same
//! [`Function`], so nothing is wired twice.

use std::{
    collections::HashMap,
    future::Future,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_smithy_http_client::tls;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use lambda_http::{Adapter, Body, Request, Response, request::LambdaRequest, service_fn, tower::ServiceExt};
use lambda_runtime::{Context, LambdaEvent};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::http::Answer;

/// Any failure that ends an invocation or a start.
pub type Error = lambda_runtime::Error;

type BoxFuture<T> = futures::future::BoxFuture<'static, T>;

/// A loaded function: the event's JSON in, the answer's JSON out. An error is a failed
/// invocation, as when a Lambda function throws.
pub type Invoke =
    Arc<dyn Fn(Box<RawValue>, Context) -> BoxFuture<Result<Box<RawValue>, Error>> + Send + Sync>;

type Load = Box<dyn Fn(&Env, &SdkConfig) -> Result<Invoke, EnvError> + Send + Sync>;

/// One function of the template, not yet loaded.
pub struct Function(Load);

/// Time that a run has where nobody tells: Lambda's own default is 3 seconds, and ours are longer.
const UNTOLD: Duration = Duration::from_secs(10);

impl Function {
    /// A function behind the HTTP API: `load` builds what it may touch, `handle` answers a
    /// request. Errors become `application/problem+json`.
    pub fn http<D, F>(
        load: fn(&Env, &SdkConfig) -> Result<D, EnvError>,
        handle: fn(Arc<D>, Request) -> F,
    ) -> Self
    where
        D: Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self(Box::new(move |env, sdk| {
            let deps = Arc::new(load(env, sdk)?);
            let adapter = Adapter::from(service_fn(move |request: Request| {
                let deps = Arc::clone(&deps);
                async move {
                    Ok::<Response<Body>, Error>(
                        handle(deps, request).await.unwrap_or_else(crate::Error::into_response),
                    )
                }
            }));
            Ok(Arc::new(move |event, context| {
                let adapter = adapter.clone();
                Box::pin(async move {
                    let request: LambdaRequest = serde_json::from_str(event.get())?;
                    answer(&adapter.oneshot(LambdaEvent::new(request, context)).await?)
                })
            }))
        }))
    }

    /// A function that takes any other event: an authorizer, a queue's worker, a scheduled job.
    pub fn event<D, E, A, F>(
        load: fn(&Env, &SdkConfig) -> Result<D, EnvError>,
        handle: fn(Arc<D>, E) -> F,
    ) -> Self
    where
        D: Send + Sync + 'static,
        E: DeserializeOwned + 'static,
        A: Serialize,
        F: Future<Output = Result<A, Error>> + Send + 'static,
    {
        Self(Box::new(move |env, sdk| {
            let deps = Arc::new(load(env, sdk)?);
            Ok(Arc::new(move |event, _context| {
                let deps = Arc::clone(&deps);
                let event: Result<E, _> = serde_json::from_str(event.get());
                match event {
                    Ok(event) => {
                        let handled = handle(deps, event);
                        Box::pin(async move { answer(&handled.await?) })
                    }
                    Err(error) => Box::pin(async move { Err(error.into()) }),
                }
            }))
        }))
    }

    /// As [`Function::event`], for work that comes in many pieces: `handle` is told when it will
    /// be ended, so that it can leave what does not fit to the next time.
    pub fn timed<D, E, A, F>(
        load: fn(&Env, &SdkConfig) -> Result<D, EnvError>,
        handle: fn(Arc<D>, E, Instant) -> F,
    ) -> Self
    where
        D: Send + Sync + 'static,
        E: DeserializeOwned + Send + 'static,
        A: Serialize,
        F: Future<Output = Result<A, Error>> + Send + 'static,
    {
        Self(Box::new(move |env, sdk| {
            let deps = Arc::new(load(env, sdk)?);
            Ok(Arc::new(move |event, context| {
                let deps = Arc::clone(&deps);
                // `cargo lambda watch` tells a deadline that is long past.
                let left = context.deadline().duration_since(SystemTime::now()).unwrap_or(UNTOLD);
                let end = Instant::now() + left;
                Box::pin(async move { answer(&handle(deps, serde_json::from_str(event.get())?, end).await?) })
            }))
        }))
    }

    /// Builds the function's clients. No network is touched.
    pub fn load(&self, env: &Env, sdk: &SdkConfig) -> Result<Invoke, EnvError> {
        (self.0)(env, sdk)
    }
}

fn answer<A: Serialize>(answer: &A) -> Result<Box<RawValue>, Error> {
    Ok(serde_json::value::to_raw_value(answer)?)
}

/// Runs a function as a Lambda bootstrap; returns only when it cannot start.
pub async fn serve(function: Function) -> Result<(), Error> {
    let env = Env::process();
    // Libraries may log what they send, which can be secret, below the level of warnings.
    let quiet = ["aws_", "h2", "hyper", "reqwest", "rustls"].map(|library| (library, LevelFilter::WARN));
    let level: LevelFilter = env.optional("LOG_LEVEL")?.unwrap_or(LevelFilter::INFO);
    let targets = Targets::new().with_targets(quiet).with_default(level);
    let lines = tracing_subscriber::fmt::layer().json().with_span_list(false).with_target(false);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
    let invoke = function.load(&env, &sdk_config(&env)?)?;
    let service = service_fn(move |LambdaEvent { payload, context }: LambdaEvent<Box<RawValue>>| {
        invoke(payload, context)
    });
    lambda_runtime::run(service).await
}

/// The SDK's configuration, from the variables that Lambda sets.
///
/// The SDK's own loader would look for credentials in files, in roles and at metadata services
/// too: that is a fifth of the package, and time at every cold start, for what a function cannot
/// have.
pub fn sdk_config(env: &Env) -> Result<SdkConfig, EnvError> {
    Ok(SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(env.required::<String>("AWS_REGION")?))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .service_config(Endpoints::of(env))
        .http_client(http_client())
        .build())
}

/// The variables `AWS_ENDPOINT_URL_<SERVICE>` and `AWS_ENDPOINT_URL`.
#[derive(Debug)]
struct Endpoints(HashMap<String, String>);

impl Endpoints {
    fn of(env: &Env) -> Self {
        let named =
            env.0.iter().filter(|(name, url)| name.starts_with("AWS_ENDPOINT_URL") && !url.is_empty());
        Self(named.map(|(name, url)| (name.clone(), url.clone())).collect())
    }
}

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace(' ', "_");
        self.0.get(&format!("{}_{service}", key.env())).or_else(|| self.0.get(key.env())).cloned()
    }
}

/// Connections are given up after 20 idle seconds: a frozen sandbox cannot see that the other
/// side closed one, and a write on a closed connection fails without telling whether it was made.
#[must_use]
pub fn http_client() -> aws_smithy_runtime_api::client::http::SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .pool_idle_timeout(Duration::from_secs(20))
        .build_https()
}

/// The function's configuration, read once when it is loaded.
#[derive(Clone)]
pub struct Env(HashMap<String, String>);

/// A setting that keeps a function from starting. Never repeats the value: it may be secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EnvError {
    /// It must be set and is not.
    #[error("environment variable {0} is not set")]
    Missing(&'static str),
    /// It is set to something that cannot be read.
    #[error("environment variable {0} is malformed")]
    Malformed(&'static str),
}

impl Env {
    /// The environment of this process.
    #[must_use]
    pub fn process() -> Self {
        Self(std::env::vars().collect())
    }

    /// An environment of these variables.
    pub fn of<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// A setting without which the function cannot work.
    pub fn required<T: FromStr>(&self, name: &'static str) -> Result<T, EnvError> {
        self.optional(name)?.ok_or(EnvError::Missing(name))
    }

    /// A setting that may be absent; empty counts as absent, as template parameters cannot be.
    pub fn optional<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, EnvError> {
        let Some(text) = self.0.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| EnvError::Malformed(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_of_one_service_goes_before_that_of_all() {
        let env = Env::of([
            ("AWS_ENDPOINT_URL", "http://localhost:1"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://localhost:2"),
            ("AWS_ENDPOINT_URL_KMS", ""),
        ]);
        let endpoints = Endpoints::of(&env);
        for (service, url) in [
            ("DynamoDB", "http://localhost:1"),
            ("Secrets Manager", "http://localhost:2"),
            ("KMS", "http://localhost:1"),
        ] {
            let key = ServiceConfigKey::builder().service_id(service).profile("").env("AWS_ENDPOINT_URL");
            let found = endpoints.load_config(key.build().unwrap());
            assert_eq!(found.as_deref(), Some(url), "{service}");
        }
    }

    #[test]
    fn a_function_without_a_region_does_not_start() {
        let missing = sdk_config(&Env::of([("AWS_REGION", "")])).err();
        assert_eq!(missing, Some(EnvError::Missing("AWS_REGION")));
    }
}
