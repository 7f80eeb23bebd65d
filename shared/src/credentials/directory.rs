//! Which credentials there are, for those who only name one. Reads no secret, needs no key.

use std::collections::HashMap;

use aws_sdk_dynamodb::{Client, types::KeysAndAttributes};
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    Error,
    fields::is_id,
    identity::Workspace,
    lambda::{Env, EnvError},
    providers::Provider,
    store::{self, Table, key::Key, unavailable},
};

/// What a batch of `DynamoDB` takes.
const BATCH_MAX: usize = 100;

/// Looks credentials up.
#[derive(Clone)]
pub struct Directory {
    table: Table,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    provider: Provider,
}

impl Directory {
    /// Reads `VAULT_TABLE`.
    pub fn load(env: &Env, client: &Client) -> Result<Self, EnvError> {
        Ok(Self { table: Table::load(env, client, "VAULT_TABLE")? })
    }

    /// Whose those of these credentials are that the workspace has, at most 100. One read.
    pub async fn providers(
        &self,
        workspace: &Workspace,
        ids: impl IntoIterator<Item = &str>,
    ) -> Result<HashMap<String, Provider>, Error> {
        let ids = ids.into_iter().filter(|id| is_id(id)).take(BATCH_MAX);
        // A batch refuses to name a row twice.
        let keys: HashMap<_, _> = ids.map(|id| (id, Key::credential(workspace, id).item())).collect();
        let mut found = HashMap::new();
        let mut keys: Vec<_> = keys.into_values().collect();
        for pause in store::backoff() {
            if keys.is_empty() {
                return Ok(found);
            }
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .projection_expression("id, provider")
                .build();
            let batch =
                self.table.client.batch_get_item().request_items(&self.table.name, wanted.map_err(unavailable)?);
            let answer = batch.send().await.map_err(unavailable)?;
            for item in answer.responses.unwrap_or_default().into_values().flatten() {
                let Found { id, provider } = store::entity(item)?;
                found.insert(id, provider);
            }
            keys = answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|rest| rest.keys).collect();
            if !keys.is_empty() {
                sleep(pause).await;
            }
        }
        Err(unavailable("the store left keys of a batch unread"))
    }
}
