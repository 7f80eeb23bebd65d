//! Keys: what is admitted, what is refused, and that each is counted once.

use chrono::{DateTime, Duration, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use shared::{
    Error,
    identity::Person,
    keys::{
        Admission, ApiKey, Authenticator, Call, Environment, KeyAdmin, KeyCaller, Order, Permission, Secret,
    },
};
use tidegate::embedded::Embedded;

use crate::{admin, at};

struct World {
    _embedded: Embedded,
    admission: Admission,
    authenticator: Authenticator,
    admin: KeyAdmin,
    person: Person,
}

impl World {
    async fn new() -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let env = embedded.env("keys");
        Self {
            admission: Admission::load(&env, &embedded.sdk()).unwrap(),
            authenticator: Authenticator::load(&env, &embedded.sdk()).unwrap(),
            admin: KeyAdmin::load(&env, &embedded.sdk()).unwrap(),
            person: admin("acme"),
            _embedded: embedded,
        }
    }

    async fn generate(&self, now: DateTime<Utc>, change: impl FnOnce(&mut Order)) -> (ApiKey, Secret) {
        let mut order = Order {
            name: "partner".to_owned(),
            permissions: vec![Permission::ReadMetrics, Permission::WriteMetrics],
            expires_in_days: 365,
            rate_limit: 1000,
            sync_rate_limit: 300,
            user_id: None,
            environment: Environment::Live,
        };
        change(&mut order);
        let (key, secret) = ApiKey::issue(&self.person, order, now);
        self.admin.insert(&self.person, &key, now).await.unwrap();
        (key, secret)
    }

    async fn caller(&self, secret: &Secret, now: DateTime<Utc>) -> KeyCaller {
        self.authenticator.establish(secret, now).await.unwrap().expect("the key lives")
    }

    /// The day's usage as the API shows it.
    async fn usage(&self, key: &ApiKey, now: DateTime<Utc>) -> Value {
        let days = self.admin.usage(&self.person.workspace, &key.id, 1, now).await.unwrap();
        serde_json::to_value(days.first()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_callers_get_exactly_the_limit_through() {
    let (world, now) = (World::new().await, at("2026-05-01T10:59:00Z"));
    let (key, secret) = world.generate(now, |order| order.rate_limit = 20).await;
    let caller = world.caller(&secret, now).await;
    let calls = (0..50).map(|_| world.admission.admit(&caller, Call::IngestUsers, now));
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 20);
    for answer in answers {
        match answer {
            Ok(quota) => assert_eq!((quota.limit, quota.reset_seconds), (20, 60)),
            Err(Error::RateLimited { quota, .. }) => {
                assert_eq!((quota.remaining, quota.reset_seconds), (0, 60));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    let usage = world.usage(&key, now).await;
    assert_eq!((&usage["calls"], &usage["denials"]), (&json!(20), &json!({"rate_limited": 30})));

    let next_hour = now + Duration::minutes(1);
    assert_eq!(world.admission.admit(&caller, Call::IngestUsers, next_hour).await.unwrap().remaining, 19);
}

#[tokio::test]
async fn a_sync_endpoint_has_a_limit_of_its_own() {
    let (world, now) = (World::new().await, at("2026-05-01T10:00:00Z"));
    let (_, secret) = world.generate(now, |order| order.sync_rate_limit = 2).await;
    let caller = world.caller(&secret, now).await;
    for remaining in [1, 0] {
        assert_eq!(world.admission.admit(&caller, Call::SyncUsers, now).await.unwrap().remaining, remaining);
    }
    let refused = world.admission.admit(&caller, Call::SyncUsers, now).await;
    assert!(matches!(refused, Err(Error::RateLimited { quota, .. }) if quota.limit == 2), "{refused:?}");
    // Two of the thousand went to the sync endpoint; the refused call took none.
    assert_eq!(world.admission.admit(&caller, Call::IngestUsers, now).await.unwrap().remaining, 997);
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_holds_from_the_very_next_call() {
    let (world, now) = (World::new().await, at("2026-05-01T23:58:00Z"));
    let (key, secret) = world.generate(now, |_| ()).await;
    // As a gateway remembers it.
    let caller = world.caller(&secret, now).await;
    let busy = join_all((0..40).map(|_| world.admission.admit(&caller, Call::IngestUsers, now)));
    let (busy, revoked) = tokio::join!(busy, world.admin.revoke(&world.person, &key.id, "leaked", now));
    revoked.unwrap();
    let overtaken = busy.iter().filter(|answer| answer.is_err()).count();
    for (case, later, before) in
        [("at once", now, overtaken), ("after midnight", now + Duration::minutes(5), 0)]
    {
        let refused = world.admission.admit(&caller, Call::IngestUsers, later).await;
        assert!(matches!(refused, Err(Error::Unauthenticated(_))), "{case}: {refused:?}");
        assert!(world.authenticator.establish(&secret, later).await.unwrap().is_none(), "{case}");
        // Both refusals are counted, the gateway's and the function's.
        assert_eq!(world.usage(&key, later).await["denials"], json!({"revoked": before + 2}), "{case}");
    }
}

#[tokio::test]
async fn revoking_again_changes_nothing() {
    let (world, now) = (World::new().await, at("2026-05-01T10:00:00Z"));
    let (key, _) = world.generate(now, |_| ()).await;
    let first = world.admin.revoke(&world.person, &key.id, "leaked", now).await.unwrap();
    let later = now + Duration::hours(1);
    let again = world.admin.revoke(&world.person, &key.id, "another reason", later).await.unwrap();
    let view = |key: &ApiKey| serde_json::to_value(key.view(later)).unwrap();
    assert_eq!(view(&first), view(&again));
}

#[tokio::test]
async fn an_old_secret_lives_through_its_grace_and_no_longer() {
    let (world, now) = (World::new().await, at("2026-05-01T10:00:00Z"));
    let (key, old) = world.generate(now, |_| ()).await;
    let (_, new) = world.admin.rotate(&world.person, &key.id, Duration::hours(2), now).await.unwrap();
    let within = now + Duration::minutes(119);
    for (case, secret) in [("old", &old), ("new", &new)] {
        let caller = world.caller(secret, within).await;
        assert!(world.admission.admit(&caller, Call::IngestUsers, within).await.is_ok(), "{case}");
    }
    let remembered = world.caller(&old, within).await;
    let after = now + Duration::hours(2);
    assert!(world.authenticator.establish(&old, after).await.unwrap().is_none());
    let refused = world.admission.admit(&remembered, Call::IngestUsers, after).await;
    assert!(matches!(refused, Err(Error::Unauthenticated(_))), "{refused:?}");
    assert_eq!(world.usage(&key, after).await["denials"], json!({"expired": 2}));
    assert!(world.admission.admit(&world.caller(&new, after).await, Call::IngestUsers, after).await.is_ok());
}

#[tokio::test]
async fn without_grace_an_old_secret_ends_at_once_whatever_a_gateway_remembers() {
    let (world, now) = (World::new().await, at("2026-05-01T10:00:00Z"));
    let (key, old) = world.generate(now, |_| ()).await;
    let remembered = world.caller(&old, now).await;
    let (_, new) = world.admin.rotate(&world.person, &key.id, Duration::zero(), now).await.unwrap();
    let refused = world.admission.admit(&remembered, Call::IngestUsers, now).await;
    assert!(matches!(refused, Err(Error::Unauthenticated(_))), "{refused:?}");
    assert!(world.authenticator.establish(&old, now).await.unwrap().is_none());
    assert!(world.admission.admit(&world.caller(&new, now).await, Call::IngestUsers, now).await.is_ok());
}

#[tokio::test]
async fn rotating_again_ends_the_secret_before_the_last() {
    let (world, now) = (World::new().await, at("2026-05-01T10:00:00Z"));
    let (key, first) = world.generate(now, |_| ()).await;
    let remembered = world.caller(&first, now).await;
    let grace = Duration::hours(24);
    let (_, second) = world.admin.rotate(&world.person, &key.id, grace, now).await.unwrap();
    let (_, third) = world.admin.rotate(&world.person, &key.id, grace, now).await.unwrap();
    assert!(world.admission.admit(&remembered, Call::IngestUsers, now).await.is_err());
    assert!(world.authenticator.establish(&first, now).await.unwrap().is_none());
    for (case, secret) in [("second", &second), ("third", &third)] {
        let caller = world.caller(secret, now).await;
        assert!(world.admission.admit(&caller, Call::IngestUsers, now).await.is_ok(), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_admins_who_rotate_at_once_both_get_a_secret_that_works() {
    let (world, now) = (World::new().await, at("2026-05-01T10:00:00Z"));
    let (key, _) = world.generate(now, |_| ()).await;
    let rotate = || world.admin.rotate(&world.person, &key.id, Duration::hours(24), now);
    let (one, other) = tokio::join!(rotate(), rotate());
    for secret in [one.unwrap().1, other.unwrap().1] {
        let caller = world.caller(&secret, now).await;
        assert!(world.admission.admit(&caller, Call::IngestUsers, now).await.is_ok());
    }
}

#[tokio::test]
async fn what_a_key_lacks_is_named_and_counted() {
    let (world, now) = (World::new().await, at("2026-05-01T10:00:00Z"));
    let (key, secret) = world.generate(now, |order| order.permissions = vec![Permission::ReadMetrics]).await;
    let caller = world.caller(&secret, now).await;
    let refused = world.admission.admit(&caller, Call::IngestUsers, now).await;
    assert!(matches!(&refused, Err(Error::Forbidden(why)) if why.contains("write_metrics")), "{refused:?}");
    let usage = world.usage(&key, now).await;
    assert_eq!((&usage["calls"], &usage["denials"]), (&json!(0), &json!({"permission": 1})));
}

#[tokio::test]
async fn a_key_expires_even_while_a_gateway_remembers_it() {
    let (world, now) = (World::new().await, at("2026-05-01T10:00:00Z"));
    let (_, secret) = world.generate(now, |order| order.expires_in_days = 1).await;
    let remembered = world.caller(&secret, now).await;
    let end = now + Duration::days(1);
    assert!(world.admission.admit(&remembered, Call::SyncUsers, end - Duration::seconds(1)).await.is_ok());
    assert!(world.admission.admit(&remembered, Call::SyncUsers, end).await.is_err());
    assert!(world.authenticator.establish(&secret, end).await.unwrap().is_none());
}

#[tokio::test]
async fn another_workspace_can_do_nothing_with_a_key() {
    let (world, now) = (World::new().await, at("2026-05-01T10:00:00Z"));
    let (key, secret) = world.generate(now, |_| ()).await;
    let other = admin("other");
    let missing = |error| matches!(error, Some(Error::NotFound(_)));
    assert!(missing(world.admin.revoke(&other, &key.id, "mine", now).await.err()));
    assert!(missing(world.admin.rotate(&other, &key.id, Duration::zero(), now).await.err()));
    assert!(missing(world.admin.usage(&other.workspace, &key.id, 30, now).await.err()));
    let theirs = world.admin.list(&other.workspace, 100, None, now).await.unwrap();
    assert_eq!(serde_json::to_value(&theirs).unwrap(), json!({"keys": [], "next_cursor": null}));
    assert!(world.admission.admit(&world.caller(&secret, now).await, Call::SyncUsers, now).await.is_ok());
}

#[tokio::test]
async fn a_list_shows_the_newest_first_with_what_each_was_used_for() {
    let (world, now) = (World::new().await, at("2026-05-01T10:00:00Z"));
    let mut ids = Vec::new();
    for minute in 0..5 {
        let (key, secret) = world.generate(now + Duration::minutes(minute), |_| ()).await;
        let caller = world.caller(&secret, now).await;
        for day in [0, 20, 40] {
            world.admission.admit(&caller, Call::SyncUsers, now + Duration::days(day)).await.unwrap();
        }
        ids.insert(0, key.id);
    }
    let today = now + Duration::days(40);
    let (mut listed, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = world.admin.list(&world.person.workspace, 2, cursor.as_deref(), today).await.unwrap();
        let page = serde_json::to_value(&page).unwrap();
        for key in page["keys"].as_array().unwrap() {
            assert_eq!((&key["calls_today"], &key["calls_30_days"]), (&json!(1), &json!(2)), "{key}");
            assert_eq!(key["last_used_at"], json!("2026-06-10T10:00:00Z"));
            listed.push(key["id"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(listed, ids);
}
