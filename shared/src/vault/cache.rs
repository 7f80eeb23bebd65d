//! Data keys that a warm function remembers: none, unless `VAULT_CACHE_SECONDS` says so.
//!
//! A remembered key saves the KMS call of opening the same version of a secret again. What it
//! trades, for as long as the variable says: opening is not seen by KMS, so it is missing in
//! `CloudTrail`, and a key that was disabled or a grant that was taken away still opens what this
//! process opened before; and who could read the process's memory finds up to [`CAPACITY`] data
//! keys there, where else there is at most the one in use. The row is read each time, so a
//! deleted or replaced secret never opens.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::envelope::{Context, DataKey};
use crate::lambda::{Env, EnvError};

/// Keys remembered at the same time.
pub const CAPACITY: usize = 32;
/// How often a remembered key opens before KMS is asked again.
pub const USES: u32 = 100;
/// The longest time that a deployment may choose.
pub const SECONDS_MAX: u64 = 300;

/// What is remembered, shared by clones.
#[derive(Clone)]
pub(super) struct Cache {
    life: Duration,
    keys: Arc<Mutex<HashMap<Name, Remembered>>>,
}

/// The spelling of the context and the wrapped key: what KMS would be asked.
type Name = (String, Vec<u8>);

struct Remembered {
    key: DataKey,
    since: Instant,
    uses: u32,
}

impl Cache {
    pub(super) fn load(env: &Env) -> Result<Self, EnvError> {
        let seconds = env.optional("VAULT_CACHE_SECONDS")?.unwrap_or(0);
        if seconds > SECONDS_MAX {
            return Err(EnvError::Malformed("VAULT_CACHE_SECONDS"));
        }
        Ok(Self { life: Duration::from_secs(seconds), keys: Arc::default() })
    }

    /// The key that KMS gave for this very question not long ago.
    pub(super) fn take(&self, context: &Context<'_>, wrapped: &[u8]) -> Option<DataKey> {
        if self.life.is_zero() {
            return None;
        }
        let mut keys = self.living();
        let found = keys.get_mut(&(context.canonical(), wrapped.to_vec()))?;
        found.uses += 1;
        Some(found.key.clone())
    }

    /// Remembers a key, in place of the oldest one when there are too many.
    pub(super) fn put(&self, context: &Context<'_>, wrapped: &[u8], key: DataKey) {
        if self.life.is_zero() {
            return;
        }
        let mut keys = self.living();
        if keys.len() >= CAPACITY {
            let oldest = keys.iter().min_by_key(|(_, one)| one.since).map(|(name, _)| name.clone());
            oldest.and_then(|name| keys.remove(&name));
        }
        let remembered = Remembered { key, since: Instant::now(), uses: 0 };
        keys.insert((context.canonical(), wrapped.to_vec()), remembered);
    }

    /// Forgets, and so wipes, what is too old or used up; returns the others.
    fn living(&self) -> MutexGuard<'_, HashMap<Name, Remembered>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, one| one.since.elapsed() < self.life && one.uses < USES);
        keys
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kms::primitives::Blob;

    use super::*;
    use crate::identity::Workspace;

    fn cache(seconds: &str) -> Cache {
        Cache::load(&Env::of([("VAULT_CACHE_SECONDS", seconds)])).unwrap()
    }

    fn key() -> DataKey {
        DataKey::of(Some(Blob::new([7; 32]))).unwrap()
    }

    fn context<'a>(workspace: &'a Workspace, id: &'a str) -> Context<'a> {
        Context { workspace, id, version: 1 }
    }

    #[test]
    fn nothing_is_remembered_unless_told() {
        let acme: Workspace = "acme".parse().unwrap();
        let context = context(&acme, "cred_1");
        for (seconds, remembered) in [("", false), ("0", false), ("60", true)] {
            let cache = cache(seconds);
            cache.put(&context, b"wrapped", key());
            assert_eq!(cache.take(&context, b"wrapped").is_some(), remembered, "{seconds}");
        }
        assert!(Cache::load(&Env::of([("VAULT_CACHE_SECONDS", "301")])).is_err());
    }

    #[test]
    fn a_key_answers_only_what_kms_would_have_answered() {
        let (acme, other): (Workspace, Workspace) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let cache = cache("60");
        cache.put(&context(&acme, "cred_1"), b"wrapped", key());
        for (case, context, wrapped) in [
            ("another workspace", context(&other, "cred_1"), b"wrapped"),
            ("another id", context(&acme, "cred_2"), b"wrapped"),
            ("another version", Context { version: 2, ..context(&acme, "cred_1") }, b"wrapped"),
            ("another wrapped key", context(&acme, "cred_1"), b"WRAPPED"),
        ] {
            assert!(cache.take(&context, wrapped).is_none(), "{case}");
        }
    }

    #[test]
    fn age_uses_and_number_are_limited() {
        let acme: Workspace = "acme".parse().unwrap();
        let cache = cache("60");
        cache.put(&context(&acme, "used"), b"w", key());
        for _ in 0..USES {
            assert!(cache.take(&context(&acme, "used"), b"w").is_some());
        }
        assert!(cache.take(&context(&acme, "used"), b"w").is_none(), "used up");

        let ids: Vec<_> = (0..=CAPACITY).map(|number| format!("cred_{number}")).collect();
        for id in &ids {
            cache.put(&context(&acme, id), b"w", key());
        }
        let living = ids.iter().filter(|id| cache.take(&context(&acme, id), b"w").is_some()).count();
        assert_eq!(living, CAPACITY);
        assert!(cache.take(&context(&acme, &ids[0]), b"w").is_none(), "the oldest went");

        let brief = Cache { life: Duration::from_millis(1), ..cache.clone() };
        std::thread::sleep(Duration::from_millis(2));
        assert!(brief.take(&context(&acme, &ids[1]), b"w").is_none(), "too old");
        assert!(brief.living().is_empty(), "and wiped");
    }
}
