//! The vault: what was sealed opens as and where it was sealed, and nowhere else.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    primitives::Blob,
    types::{AttributeValue, TransactWriteItem},
};
use chrono::{DateTime, Duration, Utc};
use shared::{
    Error,
    identity::Workspace,
    lambda::Env,
    vault::{Progress, Vault},
};
use tidegate::embedded::Embedded;
use tokio::time::Instant;

use crate::{at, wire::Wire};

const TABLE: &str = "VaultTable";
const SECRET: &[u8] = b"what nobody may read";

struct World {
    _embedded: Embedded,
    client: Client,
    vault: Vault,
    wire: Wire,
}

fn workspace(name: &str) -> Workspace {
    name.parse().unwrap()
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

type Row = HashMap<String, AttributeValue>;

impl World {
    async fn new(cache_seconds: &str) -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let (sdk, wire) = Wire::tap(embedded.sdk());
        let key: String = embedded.env("vault-rewrap").required("VAULT_KEY_ID").unwrap();
        let env = Env::of([
            ("VAULT_TABLE", TABLE),
            ("VAULT_KEY_ID", key.as_str()),
            ("VAULT_CACHE_SECONDS", cache_seconds),
        ]);
        let vault = Vault::load(&env, &sdk).unwrap();
        Self { client: Client::new(&embedded.sdk()), vault, wire, _embedded: embedded }
    }

    async fn seal(&self, workspace: &Workspace, id: &str, version: u64, now: DateTime<Utc>) {
        let sealed = self.vault.seal(workspace, id, version, SECRET, now).await.unwrap();
        let replaced = (version > 1).then(|| version - 1);
        self.write(self.vault.put(workspace, id, &sealed, replaced).unwrap()).await;
    }

    async fn write(&self, write: TransactWriteItem) {
        self.client.transact_write_items().transact_items(write).send().await.unwrap();
    }

    async fn row(&self, workspace: &str, id: &str) -> Row {
        let read = self.client.get_item().table_name(TABLE).consistent_read(true);
        let read = read.key("pk", text(&format!("SEALED#{workspace}#{id}"))).key("sk", text("SEALED"));
        read.send().await.unwrap().item.unwrap()
    }

    async fn put(&self, row: Row) {
        self.client.put_item().table_name(TABLE).set_item(Some(row)).send().await.unwrap();
    }

    async fn opens(&self, workspace: &Workspace, id: &str) -> bool {
        match self.vault.open(workspace, id).await {
            Ok((_, secret)) => {
                assert_eq!(*secret, SECRET);
                true
            }
            Err(Error::Unavailable("the vault", _)) => false,
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn bytes(row: &Row, name: &str) -> Vec<u8> {
    row[name].as_b().unwrap().as_ref().to_vec()
}

#[tokio::test]
async fn a_row_that_was_moved_or_altered_does_not_open() {
    let (world, now) = (World::new("").await, at("2026-05-01T10:00:00Z"));
    let (acme, other) = (workspace("acme"), workspace("other"));
    world.seal(&acme, "cred_1", 1, now).await;
    world.seal(&acme, "cred_2", 1, now).await;
    world.seal(&other, "cred_1", 1, now).await;
    let first = world.row("acme", "cred_1").await;
    world.seal(&acme, "cred_1", 2, now).await;
    let honest = world.row("acme", "cred_1").await;
    assert_eq!(world.vault.open(&acme, "cred_1").await.unwrap().0, 2);

    for (case, workspace, id) in [("another workspace", &other, "cred_1"), ("another id", &acme, "cred_2")] {
        let own = world.row(&workspace.to_string(), id).await;
        assert!(world.opens(workspace, id).await, "{case}: before");
        let mut moved = honest.clone();
        moved.insert("pk".to_owned(), own["pk"].clone());
        world.put(moved).await;
        assert!(!world.opens(workspace, id).await, "{case}");
    }
    for (name, version) in [("an older one", "1"), ("a newer one", "3")] {
        let mut relabelled = honest.clone();
        relabelled.insert("version".to_owned(), AttributeValue::N(version.to_owned()));
        world.put(relabelled).await;
        assert!(!world.opens(&acme, "cred_1").await, "a version that says it is {name}");
    }
    let mut passed_off = first.clone();
    passed_off.insert("version".to_owned(), honest["version"].clone());
    world.put(passed_off).await;
    assert!(!world.opens(&acme, "cred_1").await, "an old version that says it is the new one");
    for name in ["wrapped_key", "nonce", "ciphertext"] {
        let whole = bytes(&honest, name);
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            let mut row = honest.clone();
            row.insert(name.to_owned(), AttributeValue::B(Blob::new(flipped)));
            world.put(row).await;
            assert!(!world.opens(&acme, "cred_1").await, "{name}, a bit of byte {at}");
        }
        let mut row = honest.clone();
        row.insert(name.to_owned(), first[name].clone());
        world.put(row).await;
        assert!(!world.opens(&acme, "cred_1").await, "{name} of the version before");
    }
    world.put(honest).await;
    assert!(world.opens(&acme, "cred_1").await);
}

#[tokio::test]
async fn a_seal_is_one_call_and_opening_two_and_nothing_sent_holds_the_secret() {
    let (world, now) = (World::new("").await, at("2026-05-01T10:00:00Z"));
    let acme = workspace("acme");
    let sealed = world.vault.seal(&acme, "cred_1", 1, SECRET, now).await.unwrap();
    assert_eq!(world.wire.seen().calls, ["GenerateDataKey"]);
    world.write(world.vault.put(&acme, "cred_1", &sealed, None).unwrap()).await;
    for _ in 0..2 {
        assert!(world.opens(&acme, "cred_1").await);
        assert_eq!(world.wire.seen().calls, ["GetItem", "Decrypt"]);
    }
    let again = world.vault.seal(&acme, "cred_1", 1, SECRET, now).await.unwrap();
    assert_ne!(sealed.fingerprint(), again.fingerprint());
    let refused = world.client.transact_write_items();
    let refused = refused.transact_items(world.vault.put(&acme, "cred_1", &again, None).unwrap());
    assert!(refused.send().await.is_err(), "a new secret replaces none");

    world.write(world.vault.delete(&acme, "cred_1").unwrap()).await;
    assert!(matches!(world.vault.open(&acme, "cred_1").await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_remembered_key_saves_the_call_and_opens_nothing_that_is_gone() {
    let (world, now) = (World::new("60").await, at("2026-05-01T10:00:00Z"));
    let (acme, other) = (workspace("acme"), workspace("other"));
    world.seal(&acme, "cred_1", 1, now).await;
    world.wire.seen();
    for calls in [&["GetItem", "Decrypt"][..], &["GetItem"], &["GetItem"]] {
        assert!(world.opens(&acme, "cred_1").await);
        assert_eq!(world.wire.seen().calls, calls);
    }
    let honest = world.row("acme", "cred_1").await;
    let mut moved = honest.clone();
    moved.insert("pk".to_owned(), text("SEALED#other#cred_1"));
    world.put(moved).await;
    assert!(!world.opens(&other, "cred_1").await, "another workspace");
    let mut newer = honest.clone();
    newer.insert("version".to_owned(), AttributeValue::N("2".to_owned()));
    world.put(newer).await;
    assert!(!world.opens(&acme, "cred_1").await, "another version");
    world.put(honest).await;
    world.seal(&acme, "cred_1", 2, now).await;
    world.wire.seen();
    assert!(world.opens(&acme, "cred_1").await);
    assert_eq!(world.wire.seen().calls, ["GetItem", "Decrypt"], "a replaced secret is asked for");
    world.write(world.vault.delete(&acme, "cred_1").unwrap()).await;
    assert!(matches!(world.vault.open(&acme, "cred_1").await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn old_wrappings_are_replaced_and_nothing_else() {
    let (world, first) = (World::new("").await, at("2026-05-01T10:00:00Z"));
    let now = first + Duration::days(40);
    let acme = workspace("acme");
    let old: Vec<_> = (0..250).map(|number| format!("cred_{number}")).collect();
    for id in &old {
        world.seal(&acme, id, 1, first).await;
    }
    world.seal(&acme, "recent", 1, now).await;
    let soon = || Instant::now() + std::time::Duration::from_mins(1);
    let rows = async || {
        let mut rows = Vec::new();
        for id in &old {
            rows.push(world.row("acme", id).await);
        }
        rows
    };
    let before = rows().await;
    let recent = world.row("acme", "recent").await;

    let none = world.vault.rewrap(now, Instant::now(), now).await.unwrap();
    assert_eq!(none, Progress::default(), "out of time before it began");

    world.wire.seen();
    let done = world.vault.rewrap(now, soon(), now).await.unwrap();
    assert_eq!(done, Progress { rewrapped: 250, finished: true, ..Progress::default() });
    let calls = world.wire.seen().calls;
    assert!(!calls.iter().any(|call| call == "Decrypt" || call == "Scan"), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| *call == "ReEncrypt").count(), 250);
    for (before, after) in before.iter().zip(rows().await) {
        assert_ne!(bytes(before, "wrapped_key"), bytes(&after, "wrapped_key"));
        for name in ["ciphertext", "nonce", "version", "gsi2pk"] {
            assert_eq!(before[name], after[name], "{name}");
        }
    }
    assert_eq!(world.row("acme", "recent").await, recent);
    for id in &old[..5] {
        assert!(world.opens(&acme, id).await);
    }
    let again = world.vault.rewrap(now, soon(), now).await.unwrap();
    assert_eq!(again, Progress { finished: true, ..Progress::default() });

    let later = now + Duration::seconds(1);
    let all = world.vault.rewrap(DateTime::<Utc>::MAX_UTC, soon(), later).await.unwrap();
    assert_eq!(all, Progress { rewrapped: 251, finished: true, ..Progress::default() }, "each once");
}

#[tokio::test]
async fn a_row_that_was_altered_does_not_hold_up_the_others() {
    let (world, first) = (World::new("").await, at("2026-05-01T10:00:00Z"));
    let now = first + Duration::days(40);
    let acme = workspace("acme");
    for number in 0..20 {
        world.seal(&acme, &format!("cred_{number}"), 1, first + Duration::seconds(number)).await;
    }
    let mut altered = world.row("acme", "cred_0").await;
    altered.insert("version".to_owned(), AttributeValue::N("2".to_owned()));
    world.put(altered).await;
    let soon = Instant::now() + std::time::Duration::from_mins(1);
    let done = world.vault.rewrap(now, soon, now).await.unwrap();
    assert_eq!(done, Progress { rewrapped: 19, refused: 1, finished: true, ..Progress::default() });

    world.wire.deny_kms(true);
    let denied = world.vault.rewrap(now + Duration::days(1), soon, now + Duration::days(1)).await;
    assert!(matches!(denied, Err(Error::Unavailable("the vault", _))), "{denied:?}");
    world.wire.deny_kms(false);
    assert!(world.opens(&acme, "cred_7").await);
}
