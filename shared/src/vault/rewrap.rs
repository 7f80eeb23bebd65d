//! Wrapping data keys anew, so that none depends on old key material for ever.
//!
//! KMS rotates the material of the vault's key each year and keeps the old one, to open what it
//! wrapped. `ReEncrypt` moves a wrapped data key to the newest material inside KMS: neither the
//! data key nor the secret is seen by anyone, the ciphertext stays, and the function that does
//! it cannot open anything.
//!
//! What was wrapped longest ago is found in an index, whose order is also the progress: what is
//! done leaves the range that is asked for. So a run may stop anywhere, and the next one goes on.

use aws_sdk_kms::{error::SdkError, operation::re_encrypt::ReEncryptError, primitives::Blob};
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::time::Instant;

use super::{Context, Sealed, Vault, closed};
use crate::{
    Error,
    store::{
        self, Item,
        key::{self, Key},
        n, s, unavailable,
    },
};

/// Secrets that one query finds.
const PAGE: i32 = 100;
/// Secrets that are worked on at the same time.
const PARALLEL: usize = 8;

/// What a run came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Data keys that are wrapped anew.
    pub rewrapped: u64,
    /// Secrets that were replaced, deleted or wrapped anew by someone else meanwhile.
    pub passed_over: u64,
    /// Rows whose data key KMS does not recognise: they were altered, and open no more.
    pub refused: u64,
    /// Whether there is nothing left to do.
    pub finished: bool,
}

enum Outcome {
    Rewrapped,
    PassedOver,
    Refused,
}

impl Vault {
    /// Wraps anew what was wrapped before a time, until `deadline`. One query for 100 secrets,
    /// and a read, a KMS call and a write for each.
    pub async fn rewrap(
        &self,
        before: DateTime<Utc>,
        deadline: Instant,
        now: DateTime<Utc>,
    ) -> Result<Progress, Error> {
        let mut progress = Progress::default();
        // What this run has wrapped must not come up in it again.
        let before = before.min(now);
        for bucket in 0..key::WRAPPED_BUCKETS {
            // Rows that are refused stay in the range: within a run the pages go past them.
            let mut after = None;
            loop {
                if Instant::now() >= deadline {
                    return Ok(progress);
                }
                let (keys, next) = self.wrapped_before(bucket, before, after).await?;
                let mut outcomes =
                    stream::iter(keys).map(|key| self.rewrap_one(key, now)).buffer_unordered(PARALLEL);
                while let Some(outcome) = outcomes.next().await {
                    match outcome? {
                        Outcome::Rewrapped => progress.rewrapped += 1,
                        Outcome::PassedOver => progress.passed_over += 1,
                        Outcome::Refused => progress.refused += 1,
                    }
                }
                tracing::info!(bucket, ?progress, "data keys were wrapped anew");
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(Progress { finished: true, ..progress })
    }

    /// A page of the index, oldest first, and where the next one begins.
    async fn wrapped_before(
        &self,
        bucket: u32,
        before: DateTime<Utc>,
        after: Option<Item>,
    ) -> Result<(Vec<Key>, Option<Item>), Error> {
        let found = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("gsi2")
            .key_condition_expression("gsi2pk = :bucket AND gsi2sk < :before")
            .expression_attribute_values(":bucket", s(key::wrapped_bucket(bucket)))
            .expression_attribute_values(":before", n(before.timestamp()))
            .limit(PAGE)
            .set_exclusive_start_key(after)
            .send()
            .await
            .map_err(unavailable)?;
        let keys =
            found.items.unwrap_or_default().into_iter().map(store::entity).collect::<Result<_, _>>()?;
        Ok((keys, found.last_evaluated_key))
    }

    async fn rewrap_one(&self, key: Key, now: DateTime<Utc>) -> Result<Outcome, Error> {
        let Some((workspace, id)) = key.of_sealed() else { return Ok(Outcome::Refused) };
        let old: Sealed = match self.read(&workspace, id).await {
            Err(Error::NotFound(_)) => return Ok(Outcome::PassedOver),
            found => found?,
        };
        let context = Context { workspace: &workspace, id, version: old.version }.pairs();
        let moved = self
            .kms
            .re_encrypt()
            .source_key_id(&self.key_id)
            .destination_key_id(&self.key_id)
            .ciphertext_blob(Blob::new(old.wrapped_key.clone()))
            .set_source_encryption_context(Some(context.clone()))
            .set_destination_encryption_context(Some(context))
            .send()
            .await
            .map_err(SdkError::into_service_error);
        let wrapped_key = match moved {
            Ok(moved) => moved.ciphertext_blob.ok_or_else(|| closed("KMS gave no wrapped key"))?,
            // The others need not wait for a row that somebody altered.
            Err(ReEncryptError::InvalidCiphertextException(_) | ReEncryptError::IncorrectKeyException(_)) => {
                tracing::error!(id, "KMS does not recognise the data key of a secret: its row was altered");
                return Ok(Outcome::Refused);
            }
            Err(error) => return Err(closed(error)),
        };
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(key.item()))
            .update_expression("SET wrapped_key = :new, gsi2sk = :now")
            .condition_expression("version = :version AND wrapped_key = :old")
            .expression_attribute_values(":new", store::b(wrapped_key.into_inner()))
            .expression_attribute_values(":old", store::b(old.wrapped_key))
            .expression_attribute_values(":version", n(old.version))
            .expression_attribute_values(":now", n(now.timestamp()));
        match update.send().await.map_err(aws_sdk_dynamodb::error::SdkError::into_service_error) {
            Ok(_) => Ok(Outcome::Rewrapped),
            Err(error) if error.is_conditional_check_failed_exception() => Ok(Outcome::PassedOver),
            Err(error) => Err(unavailable(error)),
        }
    }
}
