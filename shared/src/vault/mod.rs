//! The vault: secrets sealed so that a row alone is worth nothing, and fits nowhere else.
//!
//! Envelope encryption. Each version of a secret has a data key of its own from KMS, which
//! encrypts it with AES-256-GCM; the row holds the data key only as KMS wrapped it. KMS and the
//! cipher are both bound to the same [`Context`] of workspace, id and version. [`Vault::read`]
//! takes workspace and id from the caller, never from the row: so a row that was copied to
//! another workspace or another id does not open, nor does one that says it is a newer version
//! than it is, nor one with a flipped bit.
//!
//! What is sealed has an id that no other kind of thing has (`cred_…`), and belongs to a domain
//! that writes it in the transaction of its own row ([`Vault::put`], [`Vault::delete`]).
//!
//! Round trips: sealing is one KMS call and no read; opening is one read and one KMS call, or no
//! KMS call while the [`cache`] has the key.
//!
//! Memory. Plaintexts and data keys live in buffers that are wiped when they are dropped. What
//! cannot be wiped are the copies in others' buffers, of a data key in the SDK's and TLS's, of a
//! new secret in the request that brought it: the allocator reuses them, and they leave the
//! process only with a core dump, which Lambda does not make.

pub mod cache;
mod envelope;
mod rewrap;

use std::time::Duration;

use aws_config::{SdkConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::types::{Delete, TransactWriteItem};
use aws_sdk_kms::{
    Client,
    error::SdkError,
    operation::{decrypt::DecryptError, generate_data_key::GenerateDataKeyError},
    primitives::Blob,
    types::DataKeySpec,
};
use chrono::{DateTime, Utc};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use rewrap::Progress;

use crate::{
    Error,
    error::Source,
    id,
    identity::Workspace,
    lambda::{Env, EnvError},
    store::{
        self, Table,
        key::{self, Key},
        n, unavailable,
    },
};
use cache::Cache;
use envelope::{Context, DataKey};

/// How long a call of KMS may take, its repetitions included: a caller gets an answer before the
/// gateway gives up.
const PATIENCE: Duration = Duration::from_secs(8);
const ATTEMPT: Duration = Duration::from_secs(3);

/// A sealed secret, as its row holds it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sealed {
    version: u64,
    /// The data key, encrypted by KMS.
    #[serde(with = "serde_bytes")]
    wrapped_key: Vec<u8>,
    #[serde(with = "serde_bytes")]
    nonce: Vec<u8>,
    #[serde(with = "serde_bytes")]
    ciphertext: Vec<u8>,
    #[serde(flatten)]
    wrapped: Wrapped,
}

/// When the data key was wrapped, as the index has it by which old ones are found.
#[derive(Clone, Serialize, Deserialize)]
struct Wrapped {
    gsi2pk: String,
    /// Seconds since 1970.
    gsi2sk: i64,
}

impl Sealed {
    /// Which version of the secret this is.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Tells one sealing from any other, in 16 hexadecimal digits.
    ///
    /// It is taken from what is stored, not from the secret: two sealings of one secret differ,
    /// and nobody can try guesses against it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::new().chain_update(&self.nonce).chain_update(&self.ciphertext).finalize();
        id::hex(&digest[..8])
    }
}

/// Seals and opens secrets.
#[derive(Clone)]
pub struct Vault {
    table: Table,
    kms: Client,
    key_id: String,
    cache: Cache,
}

impl Vault {
    /// Reads `VAULT_TABLE`, `VAULT_KEY_ID` and `VAULT_CACHE_SECONDS` (none: data keys are not
    /// remembered).
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let patience = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(PATIENCE)
            .build();
        let config = aws_sdk_kms::config::Builder::from(sdk).timeout_config(patience).build();
        Ok(Self {
            table: Table::load(env, &store::client(sdk), "VAULT_TABLE")?,
            kms: Client::from_conf(config),
            key_id: env.required("VAULT_KEY_ID")?,
            cache: Cache::load(env)?,
        })
    }

    /// Seals a version of a secret, to be stored by [`Vault::put`]. One KMS call.
    pub async fn seal(
        &self,
        workspace: &Workspace,
        id: &str,
        version: u64,
        plaintext: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Sealed, Error> {
        let context = Context { workspace, id, version };
        let generated = self
            .kms
            .generate_data_key()
            .key_id(&self.key_id)
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(Some(context.pairs()))
            .send()
            .await
            .map_err(|error| closed(SdkError::<GenerateDataKeyError, _>::into_service_error(error)))?;
        let key = DataKey::of(generated.plaintext)?;
        let wrapped_key = generated.ciphertext_blob.ok_or_else(|| closed("KMS gave no wrapped key"))?;
        let (nonce, ciphertext) = key.seal(&context, plaintext)?;
        Ok(Sealed {
            version,
            wrapped_key: wrapped_key.into_inner(),
            nonce,
            ciphertext,
            wrapped: Wrapped { gsi2pk: key::wrapped(id), gsi2sk: now.timestamp() },
        })
    }

    /// The write that stores what was sealed, in place of the version `replaced` or of nothing.
    pub fn put(
        &self,
        workspace: &Workspace,
        id: &str,
        sealed: &Sealed,
        replaced: Option<u64>,
    ) -> Result<TransactWriteItem, Error> {
        let put = self.table.put(Key::sealed(workspace, id), sealed)?;
        store::put(match replaced {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(version) => put
                .condition_expression("version = :version")
                .expression_attribute_values(":version", n(version)),
        })
    }

    /// The write that destroys a secret. See the credentials' deletion for what backups keep.
    pub fn delete(&self, workspace: &Workspace, id: &str) -> Result<TransactWriteItem, Error> {
        let delete =
            Delete::builder().table_name(&self.table.name).set_key(Some(Key::sealed(workspace, id).item()));
        Ok(TransactWriteItem::builder().delete(delete.build().map_err(unavailable)?).build())
    }

    /// What is sealed under this id. One read.
    pub async fn read(&self, workspace: &Workspace, id: &str) -> Result<Sealed, Error> {
        let read = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let found =
            read.set_key(Some(Key::sealed(workspace, id).item())).send().await.map_err(unavailable)?;
        store::entity(found.item.ok_or(Error::NotFound("secret"))?)
    }

    /// The secret in what was read under this very workspace and id. One KMS call, or none.
    pub async fn unseal(
        &self,
        workspace: &Workspace,
        id: &str,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let context = Context { workspace, id, version: sealed.version };
        if let Some(key) = self.cache.take(&context, &sealed.wrapped_key) {
            return key.open(&context, &sealed.nonce, &sealed.ciphertext);
        }
        let decrypted = self
            .kms
            .decrypt()
            // Named, so that nothing that another key wrapped is taken for ours.
            .key_id(&self.key_id)
            .ciphertext_blob(Blob::new(sealed.wrapped_key.clone()))
            .set_encryption_context(Some(context.pairs()))
            .send()
            .await
            .map_err(|error| closed(SdkError::<DecryptError, _>::into_service_error(error)))?;
        let key = DataKey::of(decrypted.plaintext)?;
        let plaintext = key.open(&context, &sealed.nonce, &sealed.ciphertext)?;
        self.cache.put(&context, &sealed.wrapped_key, key);
        Ok(plaintext)
    }

    /// The version and the secret under this id: [`Vault::read`] and [`Vault::unseal`].
    pub async fn open(&self, workspace: &Workspace, id: &str) -> Result<(u64, Zeroizing<Vec<u8>>), Error> {
        let sealed = self.read(workspace, id).await?;
        Ok((sealed.version, self.unseal(workspace, id, &sealed).await?))
    }
}

/// The vault did not open or seal: KMS is away or refuses, or the row is not what was stored.
fn closed(cause: impl Into<Source>) -> Error {
    Error::Unavailable("the vault", cause.into())
}
