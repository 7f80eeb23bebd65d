//! Which credentials are there, for those who name them.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::types::KeysAndAttributes;
use tokio::time::sleep;

use super::Credentials;
use crate::{
    Error,
    fields::is_id,
    identity::Workspace,
    providers::Provider,
    store::{self, Item, key::Key, unavailable},
};

impl Credentials {
    /// The providers of those of the credentials that are there; at most 100. One read, and none
    /// for no credentials.
    pub async fn providers(
        &self,
        workspace: &Workspace,
        ids: &HashSet<&str>,
    ) -> Result<HashMap<String, Provider>, Error> {
        #[derive(serde::Deserialize)]
        struct Found {
            id: String,
            provider: Provider,
        }
        let keys =
            ids.iter().filter(|id| is_id(id)).map(|id| Key::credential(workspace, id).item()).collect();
        let mut wanted = Some(keys).filter(|keys: &Vec<Item>| !keys.is_empty());
        let mut found = HashMap::new();
        let mut pauses = store::backoff();
        while let Some(keys) = wanted {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .projection_expression("#id, #provider")
                .expression_attribute_names("#id", "id")
                .expression_attribute_names("#provider", "provider");
            let request = request.build().map_err(unavailable)?;
            let answer = self.table.client.batch_get_item().request_items(&self.table.name, request);
            let answer = answer.send().await.map_err(unavailable)?;
            for item in answer.responses.unwrap_or_default().into_values().flatten() {
                let Found { id, provider } = store::entity(item)?;
                found.insert(id, provider);
            }
            // DynamoDB leaves away what it has no capacity for at the moment.
            wanted = answer
                .unprocessed_keys
                .and_then(|mut left| left.remove(&self.table.name))
                .map(|left| left.keys);
            if wanted.is_some() {
                sleep(pauses.next().ok_or_else(|| unavailable("reads are throttled"))?).await;
            }
        }
        Ok(found)
    }
}
