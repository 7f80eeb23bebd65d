//! Figures: how many events of a source were processed, by hour and by whatever is counted.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

use super::{Source, Webhooks, is_kept};
use crate::{
    Error,
    identity::Workspace,
    store::{key::Key, number, s, unavailable},
};

impl Webhooks {
    /// The sums of all that was counted of a source from the hour of `from` to now, by name: types
    /// as `t:<type>`, and what handlers count. One query, or one for each megabyte: a month has
    /// some 3,000 small rows at most.
    pub async fn counted(
        &self,
        workspace: &Workspace,
        source: Source,
        from: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<String, u64>, Error> {
        let first = Key::stats(workspace, source.word(), from, 0);
        let last = Key::stats(workspace, source.word(), now, u8::MAX);
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(first.pk))
            .expression_attribute_values(":from", s(first.sk))
            .expression_attribute_values(":to", s(last.sk));
        let mut rows = query.into_paginator().items().send();
        let mut sums = BTreeMap::new();
        while let Some(row) = rows.next().await {
            let row = row.map_err(|error| unavailable(error.into_service_error()))?;
            if !is_kept(&row, now) {
                continue;
            }
            for (name, value) in &row {
                if name != "expires_at" && matches!(value, AttributeValue::N(_)) {
                    *sums.entry(name.clone()).or_default() += number::<u64>(&row, name);
                }
            }
        }
        Ok(sums)
    }
}
