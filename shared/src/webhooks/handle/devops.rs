//! A workspace's own tools: what they tell becomes rows of [`Operations`].

use super::{Context, Effects, Failed, json, refused};
use crate::webhooks::operations::{Operations, Report};

pub(super) fn handle(operations: &Operations, context: &Context<'_>, body: &[u8]) -> Result<Effects, Failed> {
    let report = Report::parse(json(body)?, context.now).map_err(|errors| refused("the report", &errors))?;
    let counters = vec![format!("operation:{}", report.kind)];
    let row = operations.row(context.workspace, &context.event.id, report, context.event.received_at)?;
    Ok(Effects { writes: row.into_iter().collect(), counters, ..Effects::default() })
}
