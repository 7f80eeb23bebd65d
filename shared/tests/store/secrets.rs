//! Platform secrets: both values while rolling, remembered for a while, and findings told once.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_secretsmanager::Client;
use chrono::{TimeDelta, Utc};
use secrecy::ExposeSecret;
use shared::{
    Error,
    lambda::Env,
    secrets::{
        PlatformSecrets, SecretName, Watch,
        check::{Checker, Finding},
    },
};
use tidegate::embedded::Embedded;

use crate::wire::Wire;

const NAME: SecretName = SecretName::DevopsWebhookSecret;

struct World {
    embedded: Embedded,
    client: Client,
}

impl World {
    async fn new() -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let client = Client::new(&embedded.sdk());
        Self { embedded, client }
    }

    fn secrets(&self) -> PlatformSecrets {
        PlatformSecrets::load(&self.embedded.env("secrets-check"), &self.embedded.sdk()).unwrap()
    }

    async fn set(&self, value: &str) {
        let id = self.secrets().id(NAME);
        if self.client.put_secret_value().secret_id(&id).secret_string(value).send().await.is_err() {
            self.client.create_secret().name(&id).secret_string(value).send().await.unwrap();
        }
    }
}

async fn accepted(secrets: &PlatformSecrets, after: TimeDelta) -> Result<Vec<String>, Error> {
    let now = Utc::now() + after;
    let held = secrets.get(NAME, now).await?;
    Ok(held.accepted(now).map(|value| value.expose_secret().to_owned()).collect())
}

#[tokio::test]
async fn both_values_are_good_while_rolling_and_then_only_the_new_one() {
    let world = World::new().await;
    world.set("the-first-of-all").await;
    let secrets = world.secrets();
    assert_eq!(accepted(&secrets, TimeDelta::zero()).await.unwrap(), ["the-first-of-all"]);
    world.set("the-second-of-all").await;
    for (case, after, values) in [
        ("remembered", TimeDelta::minutes(4), vec!["the-first-of-all"]),
        ("read again", TimeDelta::minutes(6), vec!["the-second-of-all", "the-first-of-all"]),
        ("nearly a day", TimeDelta::minutes(24 * 60 - 3), vec!["the-second-of-all", "the-first-of-all"]),
        // Remembered together, and yet the older one ends on time.
        ("after a day", TimeDelta::minutes(24 * 60 + 1), vec!["the-second-of-all"]),
        ("later", TimeDelta::days(30), vec!["the-second-of-all"]),
    ] {
        assert_eq!(accepted(&secrets, after).await.unwrap(), values, "{case}");
    }
    world.set("the-third-of-all").await;
    world.set("the-third-of-all").await;
    let values = accepted(&world.secrets(), TimeDelta::zero()).await.unwrap();
    assert!(values.iter().all(|value| value == "the-third-of-all"), "set twice: {values:?}");
}

#[tokio::test]
async fn who_needs_a_secret_that_is_not_there_learns_its_name() {
    let world = World::new().await;
    let secrets = world.secrets();
    let refused = accepted(&secrets, TimeDelta::zero()).await;
    let Err(Error::NotConfigured { service, missing }) = refused else { panic!("{refused:?}") };
    assert_eq!((service, missing), ("devops", vec!["DEVOPS_WEBHOOK_SECRET"]));
    world.set("set-at-long-last").await;
    assert!(accepted(&secrets, TimeDelta::seconds(30)).await.is_err(), "remembered for a minute");
    assert_eq!(accepted(&secrets, TimeDelta::seconds(61)).await.unwrap(), ["set-at-long-last"]);
}

#[tokio::test]
async fn while_the_secret_store_does_not_answer_what_was_read_serves_for_an_hour() {
    let world = World::new().await;
    world.set("read-before-the-outage").await;
    let (sdk, wire) = Wire::tap(world.embedded.sdk());
    let secrets = PlatformSecrets::load(&world.embedded.env("secrets-check"), &sdk).unwrap();
    accepted(&secrets, TimeDelta::zero()).await.unwrap();
    wire.deny_secrets(true);
    for (case, minutes, serves) in [
        ("remembered", 4, true),
        ("asked again", 6, true),
        ("nearly an hour", 59, true),
        ("an hour", 61, false),
    ] {
        match accepted(&secrets, TimeDelta::minutes(minutes)).await {
            Ok(values) => assert!(serves && values == ["read-before-the-outage"], "{case}: {values:?}"),
            Err(Error::Unavailable(..)) => assert!(!serves, "{case}"),
            Err(other) => panic!("{case}: {other:?}"),
        }
    }
    let never_read = secrets.get(SecretName::SmtpPassword, Utc::now()).await.err();
    assert!(matches!(never_read, Some(Error::Unavailable(..))), "not taken for missing: {never_read:?}");
    wire.deny_secrets(false);
    world.set("set-after-the-outage").await;
    let values = accepted(&secrets, TimeDelta::minutes(61)).await.unwrap();
    assert_eq!(values, ["set-after-the-outage", "read-before-the-outage"]);
}

/// What the activity log holds: workspace, action and target.
async fn told(world: &World) -> Vec<(String, String, String)> {
    let client = aws_sdk_dynamodb::Client::new(&world.embedded.sdk());
    let rows = client.scan().table_name("ActivityTable").send().await.unwrap().items.unwrap();
    let text = |value: &AttributeValue| value.as_s().unwrap().clone();
    let mut told: Vec<_> = rows
        .iter()
        .map(|row| {
            let workspace = text(&row["pk"]).split('#').nth(1).unwrap().to_owned();
            (workspace, text(&row["action"]), text(&row["target"]))
        })
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn a_finding_is_told_when_it_begins_and_when_it_ends() {
    let world = World::new().await;
    let checker = |required: &str| {
        let env = Env::of([("SECRETS_PREFIX", "tidegate"), ("REQUIRED_SECRETS", required)]);
        Checker::load(&env, &world.embedded.sdk()).unwrap()
    };
    let watch = |operators: &str| {
        let tables = [("INTEGRATIONS_TABLE", "IntegrationsTable"), ("ACTIVITY_TABLE", "ActivityTable")];
        let env = Env::of(tables.into_iter().chain([("OPERATORS_WORKSPACE", operators)]));
        Watch::load(&env, &world.embedded.sdk()).unwrap()
    };
    let now = Utc::now();
    let checker = checker("DEVOPS_WEBHOOK_SECRET");
    let changes = async |watch: &Watch| {
        let found = checker.check(now).await.unwrap();
        let changes = watch.record(&found, now).await.unwrap();
        changes.into_iter().map(|change| (change.name, change.finding)).collect::<Vec<_>>()
    };

    let ops = watch("ops");
    assert_eq!(changes(&ops).await, [(NAME, Some(Finding::Missing))]);
    assert_eq!(changes(&ops).await, [], "the next day");
    world.set("short").await;
    assert_eq!(changes(&ops).await, [(NAME, Some(Finding::Malformed))]);
    world.set("long enough? no: spaces").await;
    assert_eq!(changes(&ops).await, [], "still malformed");
    world.set("long-enough-by-now").await;
    assert_eq!(changes(&ops).await, [(NAME, None)]);
    assert_eq!(changes(&ops).await, [], "and after");
    let entry = |action: &str| ("ops".to_owned(), format!("platform_secret.{action}"), NAME.to_string());
    let expected = [entry("failing"), entry("failing"), entry("recovered")];
    assert_eq!(told(&world).await, expected);

    // Without a workspace of the operators nobody else is told.
    world.set("short").await;
    assert_eq!(changes(&watch("")).await, [(NAME, Some(Finding::Malformed))]);
    assert_eq!(told(&world).await, expected);
}

#[tokio::test]
async fn two_checks_at_once_tell_one_change_once() {
    let world = World::new().await;
    let env = [
        ("SECRETS_PREFIX", "tidegate"),
        ("REQUIRED_SECRETS", "DEVOPS_WEBHOOK_SECRET"),
        ("INTEGRATIONS_TABLE", "IntegrationsTable"),
        ("ACTIVITY_TABLE", "ActivityTable"),
        ("WORKSPACE", "only"),
    ];
    let (env, sdk) = (Env::of(env), world.embedded.sdk());
    let watch = Watch::load(&env, &sdk).unwrap();
    let now = Utc::now();
    let found = Checker::load(&env, &sdk).unwrap().check(now).await.unwrap();
    let (first, second) = tokio::join!(watch.record(&found, now), watch.record(&found, now));
    assert_eq!(first.unwrap().len() + second.unwrap().len(), 1);
    assert_eq!(told(&world).await.len(), 1);
}
