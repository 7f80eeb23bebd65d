//! Erasing what an event says, where the law asks for it: that it came stays known.

use aws_sdk_dynamodb::{error::SdkError, operation::update_item::UpdateItemError};

use super::{Webhooks, body::Packed};
use crate::{
    Error,
    identity::Workspace,
    store::{
        Item,
        key::{Key, webhooks::body_pieces},
        n, s, unavailable,
    },
};

/// What stands in the place of a body that was erased. Handlers know it, as an event may be
/// replayed.
pub const ERASED: &[u8] = br#"{"erased":true}"#;

impl Webhooks {
    /// Erases the body of an event, if it is there. One write, and one read and a write for each
    /// piece of a large body.
    pub async fn erase(&self, workspace: &Workspace, id: &str) -> Result<(), Error> {
        let key = Key::event(workspace, id);
        let erased: Item = serde_dynamo::to_item(Packed::of(ERASED)?.place).map_err(unavailable)?;
        let mut update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(key.item()))
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_names("#size", "size")
            .expression_attribute_values(":size", n(i64::try_from(ERASED.len()).map_err(unavailable)?))
            .expression_attribute_values(":one", n(1));
        let mut sets = vec!["#size = :size".to_owned()];
        for (at, (name, value)) in erased.into_iter().enumerate() {
            sets.push(format!("#{at} = :{at}"));
            update = update
                .expression_attribute_names(format!("#{at}"), name)
                .expression_attribute_values(format!(":{at}"), value);
        }
        let change = format!("SET {} REMOVE body_digest ADD revision :one", sets.join(", "));
        match update.update_expression(change).send().await.map_err(SdkError::into_service_error) {
            Ok(_) => {}
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => return Ok(()),
            Err(error) => return Err(unavailable(error)),
        }
        let pieces = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
            .expression_attribute_values(":pk", s(&key.pk))
            .expression_attribute_values(":sk", s(body_pieces("").trim_end_matches('#')))
            .projection_expression("pk, sk");
        let mut pieces = pieces.into_paginator().items().send();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| unavailable(error.into_service_error()))?;
            let delete = self.table.client.delete_item().table_name(&self.table.name);
            delete.set_key(Some(piece)).send().await.map_err(unavailable)?;
        }
        Ok(())
    }
}
