//! The cipher: AES-256-GCM under a data key, bound to where the secret belongs.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::aead::{AES_256_GCM, Aad, MAX_TAG_LEN, Nonce, RandomizedNonceKey};
use aws_sdk_kms::primitives::Blob;
use secrecy::zeroize::Zeroizing;

use super::closed;
use crate::{Error, identity::Workspace};

const KEY_LENGTH: usize = 32;

/// Where a secret belongs. KMS binds the wrapped data key to it, the cipher the secret.
pub(super) struct Context<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) id: &'a str,
    pub(super) version: u64,
}

impl Context<'_> {
    /// KMS's encryption context. It is not secret: `CloudTrail` shows it with every call.
    pub(super) fn pairs(&self) -> HashMap<String, String> {
        HashMap::from([
            ("workspace".to_owned(), self.workspace.to_string()),
            ("credential".to_owned(), self.id.to_owned()),
            ("version".to_owned(), self.version.to_string()),
        ])
    }

    /// The one spelling of the pairs: JSON, names in order.
    pub(super) fn canonical(&self) -> String {
        let sorted: BTreeMap<_, _> = self.pairs().into_iter().collect();
        serde_json::to_string(&sorted).unwrap_or_default()
    }
}

/// The key of one version of one secret. Cannot be printed.
#[derive(Clone)]
pub(super) struct DataKey(Zeroizing<[u8; KEY_LENGTH]>);

impl DataKey {
    /// The key in an answer of KMS.
    pub(super) fn of(plaintext: Option<Blob>) -> Result<Self, Error> {
        let bytes = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        if bytes.len() != KEY_LENGTH {
            return Err(closed("KMS gave no data key of 256 bits"));
        }
        key.copy_from_slice(&bytes);
        Ok(Self(key))
    }

    /// A random nonce and the ciphertext with its tag.
    pub(super) fn seal(&self, context: &Context<'_>, plaintext: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        // With its whole length from the start, the buffer does not move and leave a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(plaintext.len() + MAX_TAG_LEN));
        text.extend_from_slice(plaintext);
        let nonce = self
            .cipher()?
            .seal_in_place_append_tag(Aad::from(context.canonical()), &mut *text)
            .map_err(|_| closed("the secret could not be encrypted"))?;
        Ok((nonce.as_ref().to_vec(), std::mem::take(&mut *text)))
    }

    /// The plaintext, if key, nonce, ciphertext and context are those it was sealed with.
    pub(super) fn open(
        &self,
        context: &Context<'_>,
        nonce: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let altered = |_| closed("what is sealed was altered, or belongs elsewhere");
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(altered)?;
        let mut text = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .cipher()?
            .open_in_place(nonce, Aad::from(context.canonical()), &mut text)
            .map_err(altered)?
            .len();
        text.truncate(length);
        Ok(text)
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, Error> {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.0).map_err(|_| closed("the data key is unusable"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DataKey {
        DataKey::of(Some(Blob::new(vec![byte; KEY_LENGTH]))).unwrap()
    }

    #[test]
    fn a_secret_opens_only_as_and_where_it_was_sealed() {
        let (acme, other): (Workspace, Workspace) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let context = Context { workspace: &acme, id: "cred_1", version: 3 };
        let (nonce, sealed) = key(1).seal(&context, b"top secret").unwrap();
        assert!(!sealed.windows(3).any(|part| part == b"top"), "{sealed:?}");
        assert_eq!(*key(1).open(&context, &nonce, &sealed).unwrap(), b"top secret");

        for (case, key, context) in [
            ("another key", key(2), &context),
            ("another workspace", key(1), &Context { workspace: &other, ..context }),
            ("another id", key(1), &Context { id: "cred_2", ..context }),
            ("a later version", key(1), &Context { version: 4, ..context }),
            ("an earlier version", key(1), &Context { version: 2, ..context }),
        ] {
            assert!(key.open(context, &nonce, &sealed).is_err(), "{case}");
        }
        let flipped = |bytes: &[u8], at: usize| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= 1;
            bytes
        };
        for at in 0..sealed.len() {
            assert!(key(1).open(&context, &nonce, &flipped(&sealed, at)).is_err(), "byte {at}");
        }
        for at in 0..nonce.len() {
            assert!(key(1).open(&context, &flipped(&nonce, at), &sealed).is_err(), "nonce's byte {at}");
        }
        for (case, nonce, sealed) in [
            ("cut", &nonce[..], &sealed[..sealed.len() - 1]),
            ("empty", &nonce[..], &[][..]),
            ("short nonce", &nonce[1..], &sealed[..]),
        ] {
            assert!(key(1).open(&context, nonce, sealed).is_err(), "{case}");
        }
    }

    #[test]
    fn the_same_secret_is_sealed_differently_each_time() {
        let acme = "acme".parse().unwrap();
        let context = Context { workspace: &acme, id: "cred_1", version: 1 };
        let (one, other) = (key(1).seal(&context, b"x").unwrap(), key(1).seal(&context, b"x").unwrap());
        assert_ne!(one.0, other.0);
        assert_ne!(one.1, other.1);
    }

    #[test]
    fn no_two_contexts_have_one_spelling() {
        let (one, other): (Workspace, Workspace) = ("a\",\"b".parse().unwrap(), "a".parse().unwrap());
        let first = Context { workspace: &one, id: "c", version: 1 };
        let second = Context { workspace: &other, id: "b\",\"c", version: 1 };
        assert_ne!(first.canonical(), second.canonical());
        assert_eq!(
            Context { workspace: &other, id: "c", version: 7 }.canonical(),
            r#"{"credential":"c","version":"7","workspace":"a"}"#,
        );
    }
}
