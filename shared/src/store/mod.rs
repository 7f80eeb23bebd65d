//! DynamoDB: tables, rows, transactions and page cursors. Keys are spelled in [`key`] only.

pub mod cursor;
pub(crate) mod key;

use std::{collections::HashMap, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Put, TransactWriteItem, Update},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Error,
    error::Source,
    lambda::{Env, EnvError},
};
use key::Key;

/// A row as the SDK sees it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// One of our tables.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Table {
    /// The table that the environment variable names. `client` is shared between tables.
    pub(crate) fn load(env: &Env, client: &Client, variable: &'static str) -> Result<Self, EnvError> {
        Ok(Self { client: client.clone(), name: env.required(variable)? })
    }

    /// A put of a whole row, for a transaction.
    pub(crate) fn put<T: Serialize>(
        &self,
        key: Key,
        entity: &T,
    ) -> Result<aws_sdk_dynamodb::types::builders::PutBuilder, Error> {
        Ok(Put::builder().table_name(&self.name).set_item(Some(item(key, entity)?)))
    }

    /// An update of a row, for a transaction.
    pub(crate) fn update(&self, key: &Key) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
        Update::builder().table_name(&self.name).set_key(Some(key.item()))
    }

    /// Applies all or nothing; see [`Transacted`].
    pub(crate) async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<Transacted, Error> {
        self.attempt(writes).await.map(|(ended, _)| ended)
    }

    /// The same, and the places of the writes whose conditions did not hold.
    pub(crate) async fn attempt(
        &self,
        writes: Vec<TransactWriteItem>,
    ) -> Result<(Transacted, Vec<usize>), Error> {
        let request = self.client.transact_write_items().set_transact_items(Some(writes));
        match request.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Ok((Transacted::Done, Vec::new())),
            Err(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
                let codes = || canceled.cancellation_reasons().iter().map(|reason| reason.code());
                let refused = codes().enumerate().filter(|(_, code)| *code == Some("ConditionalCheckFailed"));
                let refused: Vec<_> = refused.map(|(at, _)| at).collect();
                if !refused.is_empty() {
                    Ok((Transacted::Refused, refused))
                } else if codes().flatten().any(|code| BUSY.contains(&code)) {
                    Ok((Transacted::Contended, refused))
                } else {
                    Err(unavailable(TransactWriteItemsError::TransactionCanceledException(canceled)))
                }
            }
            Err(TransactWriteItemsError::TransactionInProgressException(_)) => {
                Ok((Transacted::Contended, Vec::new()))
            }
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// Reasons of a cancelled transaction that pass.
const BUSY: [&str; 3] = ["TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"];

/// How a transaction ended when nothing was wrong with the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transacted {
    /// Everything was applied.
    Done,
    /// A condition did not hold; nothing was applied.
    Refused,
    /// Another write was under way on one of the rows, or its partition had no capacity at the
    /// moment; nothing was applied, and it may be again.
    Contended,
}

/// Where a row is, and what it holds.
#[derive(Serialize, Deserialize)]
struct Row<T> {
    #[serde(flatten)]
    key: Key,
    #[serde(flatten)]
    entity: T,
}

pub(crate) fn item<T: Serialize>(key: Key, entity: &T) -> Result<Item, Error> {
    serde_dynamo::to_item(Row { key, entity }).map_err(unavailable)
}

pub(crate) fn entity<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::from_item(item).map_err(unavailable)
}

pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn n(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

pub(crate) fn b(bytes: Vec<u8>) -> AttributeValue {
    AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new(bytes))
}

/// A numeric attribute; absent counts as zero, as `ADD` makes it.
pub(crate) fn number<T: std::str::FromStr + Default>(item: &Item, name: &str) -> T {
    item.get(name).and_then(|value| value.as_n().ok()).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The store did not do its part.
pub(crate) fn unavailable(cause: impl Into<Source>) -> Error {
    Error::Unavailable("the store", cause.into())
}

/// A write of a row into a transaction.
pub(crate) fn put(put: aws_sdk_dynamodb::types::builders::PutBuilder) -> Result<TransactWriteItem, Error> {
    Ok(TransactWriteItem::builder().put(put.build().map_err(unavailable)?).build())
}

/// An update of a row in a transaction.
pub(crate) fn update(
    update: aws_sdk_dynamodb::types::builders::UpdateBuilder,
) -> Result<TransactWriteItem, Error> {
    Ok(TransactWriteItem::builder().update(update.build().map_err(unavailable)?).build())
}

/// Asks a table whether it answers, by a row that never exists: the cheapest call that proves
/// name, permission, network and table at once.
pub struct Probe(Table);

impl Probe {
    /// Probes the table that the environment variable names.
    pub fn load(env: &Env, client: &Client, variable: &'static str) -> Result<Self, EnvError> {
        Table::load(env, client, variable).map(Self)
    }

    /// Succeeds when the table answers. One read.
    pub async fn answers(&self) -> Result<(), Error> {
        let Self(Table { client, name }) = self;
        let read = client.get_item().table_name(name).set_key(Some(Key::absent().item()));
        read.send().await.map(|_| ()).map_err(|error| unavailable(error.into_service_error()))
    }
}

/// The one DynamoDB client of a function.
#[must_use]
pub fn client(sdk: &SdkConfig) -> Client {
    Client::new(sdk)
}

/// Pauses between attempts at a write that met another one: 20 ms doubling to 640 ms, jittered.
pub(crate) fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(640))
        .with_max_times(10)
        .with_jitter()
        .build()
}
