//! `GET /api/health`: whether the service and what it depends on are up.
//!
//! Callers learn `ok` or `unavailable` of each dependency; why is logged.

use std::{sync::Arc, time::Duration};

use aws_config::SdkConfig;
use lambda_http::{Request, http::StatusCode};
use serde::Serialize;
use shared::{
    http::{self, Answer},
    lambda::{Env, EnvError, Function},
    store::{self, Probe},
};

/// How long a dependency may take. Longer counts as down: a load balancer would not wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// What this function may touch; its policy in `template.yaml` grants no more.
struct Deps {
    api_keys: Probe,
    ledger: Probe,
    activity: Probe,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let client = store::client(sdk);
        Ok(Self {
            api_keys: Probe::load(env, &client, "API_KEYS_TABLE")?,
            ledger: Probe::load(env, &client, "LEDGER_TABLE")?,
            activity: Probe::load(env, &client, "ACTIVITY_TABLE")?,
        })
    }
}

async fn state(name: &str, probe: &Probe) -> State {
    match tokio::time::timeout(PATIENCE, probe.answers()).await {
        Ok(Ok(())) => State::Ok,
        Ok(Err(error)) => {
            tracing::error!(dependency = name, causes = error.causes(), "a dependency is unavailable");
            State::Unavailable
        }
        Err(_) => {
            tracing::error!(
                dependency = name,
                after_seconds = PATIENCE.as_secs(),
                "a dependency does not answer"
            );
            State::Unavailable
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Degraded,
    Unavailable,
}

#[derive(Serialize)]
struct Health {
    status: State,
    version: &'static str,
    dependencies: Dependencies,
}

#[derive(Serialize)]
struct Dependencies {
    api_keys: State,
    ledger: State,
    activity: State,
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, _request: Request) -> Answer {
    let (api_keys, ledger, activity) = tokio::join!(
        state("api_keys", &deps.api_keys),
        state("ledger", &deps.ledger),
        state("activity", &deps.activity)
    );
    let up = [api_keys, ledger, activity].iter().all(|state| *state == State::Ok);
    let (code, status) =
        if up { (StatusCode::OK, State::Ok) } else { (StatusCode::SERVICE_UNAVAILABLE, State::Degraded) };
    let dependencies = Dependencies { api_keys, ledger, activity };
    Ok(http::json(code, &Health { status, version: env!("CARGO_PKG_VERSION"), dependencies }))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use aws_config::BehaviorVersion;
    use aws_sdk_dynamodb::{
        Client,
        config::{Credentials, Region, SharedCredentialsProvider},
        types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType},
    };
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;

    fn sdk(port: u16) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "test", "test", None, None, "test",
            )))
            .http_client(shared::lambda::http_client())
            .endpoint_url(format!("http://127.0.0.1:{port}"))
            .build()
    }

    fn deps(sdk: &SdkConfig) -> Arc<Deps> {
        let env =
            Env::of([("API_KEYS_TABLE", "Keys"), ("LEDGER_TABLE", "Ledger"), ("ACTIVITY_TABLE", "Activity")]);
        Arc::new(Deps::load(&env, sdk).unwrap())
    }

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// An embedded DynamoDB with these tables.
    async fn database(tables: &[&str]) -> SdkConfig {
        let (listener, port) = listener().await;
        let database = dynoxide::Database::memory().unwrap();
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        let sdk = sdk(port);
        let client = Client::new(&sdk);
        for table in tables {
            let mut create =
                client.create_table().table_name(*table).billing_mode(BillingMode::PayPerRequest);
            for (name, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
                let schema = KeySchemaElement::builder().attribute_name(name).key_type(kind);
                let attribute = AttributeDefinition::builder()
                    .attribute_name(name)
                    .attribute_type(ScalarAttributeType::S);
                create = create
                    .key_schema(schema.build().unwrap())
                    .attribute_definitions(attribute.build().unwrap());
            }
            create.send().await.unwrap();
        }
        sdk
    }

    async fn ask(sdk: &SdkConfig) -> (u16, Value) {
        let response = Box::pin(handle(deps(sdk), Request::default())).await.unwrap();
        let body = serde_json::from_slice(response.body()).unwrap();
        (response.status().as_u16(), body)
    }

    fn body(status: &str, [api_keys, ledger, activity]: [&str; 3]) -> Value {
        json!({
            "status": status,
            "version": env!("CARGO_PKG_VERSION"),
            "dependencies": {"api_keys": api_keys, "ledger": ledger, "activity": activity},
        })
    }

    #[tokio::test]
    async fn the_answer_names_what_is_down_and_nothing_else() {
        for (case, tables, status, expected) in [
            ("all up", &["Keys", "Ledger", "Activity"][..], 200, body("ok", ["ok"; 3])),
            ("one missing", &["Keys", "Activity"], 503, body("degraded", ["ok", "unavailable", "ok"])),
            ("all missing", &[], 503, body("degraded", ["unavailable"; 3])),
        ] {
            assert_eq!(ask(&database(tables).await).await, (status, expected), "{case}");
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_an_outage() {
        let (listener, port) = listener().await;
        drop(listener);
        assert_eq!(ask(&sdk(port)).await, (503, body("degraded", ["unavailable"; 3])));
    }

    #[tokio::test]
    async fn silent_dependencies_are_waited_for_once_and_together() {
        // Connections are made by the kernel; nobody ever answers them.
        let (_silent, port) = listener().await;
        let start = Instant::now();
        assert_eq!(ask(&sdk(port)).await, (503, body("degraded", ["unavailable"; 3])));
        assert!(start.elapsed() < PATIENCE + Duration::from_secs(1), "{:?}", start.elapsed());
    }
}
