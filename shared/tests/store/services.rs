//! Settings of services: what is missing is told, and nobody's change is lost.

use serde_json::{Value, json};
use shared::{
    Error,
    credentials::{self, Credentials},
    fields::Fields,
    identity::Person,
    services::{Order, Service, Services},
};
use tidegate::embedded::Embedded;

use crate::{admin, at};

struct World {
    embedded: Embedded,
    services: Services,
    person: Person,
}

fn fields(value: Value) -> Fields {
    Fields::of("", value).unwrap()
}

impl World {
    async fn new() -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let services = Services::load(&embedded.env("settings"), &embedded.sdk()).unwrap();
        Self { embedded, services, person: admin("acme") }
    }

    async fn set(&self, person: &Person, service: Service, order: Value) -> Result<Value, Error> {
        let order = Order::parse(service, fields(order))?;
        let view = self.services.set(person, service, order, at("2026-01-01T00:00:00Z")).await?;
        Ok(serde_json::to_value(view).unwrap())
    }

    async fn get(&self, service: Service) -> Value {
        serde_json::to_value(self.services.get(&self.person.workspace, service).await.unwrap()).unwrap()
    }

    /// A new credential of a provider; its id.
    async fn credential(&self, person: &Person, provider: &str, credential: Value) -> String {
        let store = Credentials::load(&self.embedded.env("credentials"), &self.embedded.sdk()).unwrap();
        let order = json!({"provider": provider, "name": "test", "credential": credential});
        let order = credentials::Order::parse(fields(order)).unwrap();
        let view = store.save(person, order, at("2026-01-01T00:00:00Z")).await.unwrap();
        serde_json::to_value(view).unwrap()["id"].as_str().unwrap().to_owned()
    }

    async fn meta(&self, person: &Person) -> String {
        self.credential(person, "meta", json!({"access_token": "EAA".to_owned() + &"x".repeat(60)})).await
    }

    async fn delete(&self, id: &str) {
        let store = Credentials::load(&self.embedded.env("credentials"), &self.embedded.sdk()).unwrap();
        store.delete(&self.person, id, at("2026-01-02T00:00:00Z")).await.unwrap();
    }
}

#[tokio::test]
async fn a_service_tells_what_it_lacks_until_it_lacks_nothing() {
    let world = World::new().await;
    let workspace = &world.person.workspace;
    let initial = world.get(Service::Meta).await;
    assert_eq!((&initial["enabled"], &initial["version"]), (&json!(false), &json!(0)));
    assert_eq!(initial["missing"], json!(["credential", "account"]));
    assert_eq!(initial["metrics"], initial["available_metrics"]);

    let credential = world.meta(&world.person).await;
    for (case, order, missing, ready, lacks) in [
        (
            "bare",
            json!({"enabled": true, "version": 0}),
            json!(["credential", "account"]),
            false,
            vec!["credential", "account"],
        ),
        (
            "with a credential",
            json!({"enabled": true, "credential_id": credential, "version": 1}),
            json!(["account"]),
            false,
            vec!["account"],
        ),
        (
            "whole",
            json!({"enabled": true, "credential_id": credential, "account": "12", "metrics": ["spend"], "version": 2}),
            json!([]),
            true,
            vec![],
        ),
        (
            "disabled",
            json!({"enabled": false, "credential_id": credential, "account": "12", "version": 3}),
            json!([]),
            false,
            vec!["enabled"],
        ),
    ] {
        let view = world.set(&world.person, Service::Meta, order).await.unwrap();
        assert_eq!((&view["missing"], &view["ready"]), (&missing, &json!(ready)), "{case}: {view}");
        assert_eq!(world.get(Service::Meta).await, view, "{case}");
        match world.services.require(workspace, Service::Meta).await {
            Ok(settings) => {
                assert!(lacks.is_empty(), "{case}");
                assert_eq!(
                    (settings.account.as_deref(), settings.metrics),
                    (Some("act_12"), vec!["spend".to_owned()])
                );
            }
            Err(Error::NotConfigured { service, missing }) => {
                assert_eq!((service, missing), ("meta", lacks), "{case}");
            }
            Err(error) => panic!("{case}: {error}"),
        }
    }

    world.delete(&credential).await;
    assert_eq!(world.get(Service::Meta).await["missing"], json!(["credential"]), "it was deleted");
    let all = serde_json::to_value(world.services.list(workspace).await.unwrap()).unwrap();
    let told: Vec<_> = all.as_array().unwrap().iter().map(|one| (&one["service"], &one["version"])).collect();
    assert_eq!(told.len(), 6, "all of them, set or not: {all}");
    assert_eq!(all[2], world.get(Service::Meta).await);
}

#[tokio::test]
async fn only_a_credential_of_the_workspace_and_the_provider_can_be_named() {
    let world = World::new().await;
    let foreign = world.meta(&admin("other")).await;
    let own = world.meta(&world.person).await;
    for (case, service, id) in [
        ("another workspace's", Service::Meta, foreign.as_str()),
        ("another provider's", Service::Stripe, &own),
        ("none", Service::Meta, "cred_none"),
    ] {
        let order = json!({"enabled": true, "credential_id": id, "version": 0});
        let refused = world.set(&world.person, service, order).await;
        assert!(
            matches!(&refused, Err(Error::Invalid(faults)) if faults[0].field == "credential_id"),
            "{case}: {refused:?}"
        );
        assert_eq!(world.get(service).await["version"], 0, "{case}");
    }
}

#[tokio::test]
async fn of_two_who_change_one_service_at_once_the_second_is_shown_the_newer_state() {
    let world = World::new().await;
    let other = Person { subject: "user_2".to_owned(), ..world.person.clone() };
    let order = |enabled, version| json!({"enabled": enabled, "version": version});
    let (first, second) = tokio::join!(
        world.set(&world.person, Service::Stripe, order(true, 0)),
        world.set(&other, Service::Stripe, order(false, 0)),
    );
    let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
    let won = won.unwrap();
    let Err(Error::Superseded(current)) = lost else { panic!("{lost:?}") };
    assert_eq!(*current, won);
    assert_eq!(world.get(Service::Stripe).await, won);
    world.set(&other, Service::Stripe, order(false, 1)).await.unwrap();
    let again = world.set(&other, Service::Stripe, order(true, 1)).await;
    assert!(matches!(&again, Err(Error::Superseded(current)) if current["version"] == 2), "{again:?}");
}
