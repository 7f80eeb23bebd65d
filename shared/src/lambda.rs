//! What hosts a function: its environment, its SDK configuration, and the way from an event to
//! an answer. Lambda ([`serve`]) and the embedded runner ([`Function::load`]) take the same
//! [`Function`], so nothing is wired twice.

use std::{collections::HashMap, future::Future, str::FromStr, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::tls;
use lambda_http::{Adapter, Body, Request, Response, request::LambdaRequest, service_fn, tower::ServiceExt};
use lambda_runtime::{Context, LambdaEvent};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

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
    tracing_subscriber::fmt()
        .json()
        .with_max_level(env.optional("LOG_LEVEL")?.unwrap_or(tracing::Level::INFO))
        .with_current_span(false)
        .with_target(false)
        .init();
    let invoke = function.load(&env, &sdk_config().await)?;
    let service = service_fn(move |LambdaEvent { payload, context }: LambdaEvent<Box<RawValue>>| {
        invoke(payload, context)
    });
    lambda_runtime::run(service).await
}

/// The SDK's configuration with the one HTTP client that every service client shares.
pub async fn sdk_config() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest()).http_client(http_client()).load().await
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
