//! Subscriptions: each event has all of one, as it was then.

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};

use super::{Envelope, discounts, entity, id_of, list, lookup::Lookup, price, reference, time};
use crate::{
    ledger::subscriptions::Subscription,
    time::rfc3339,
    webhooks::handle::{Context, Failed},
};

/// The subscription of an event. Asks Stripe only for what the event leaves away: items beyond the
/// tenth, and discounts of which it has the ids.
pub(super) async fn read(
    lookup: &Lookup,
    context: &Context<'_>,
    event: &Envelope,
) -> Result<Subscription, Failed> {
    let mut object = event.object.clone();
    let id = id_of(&object)?.to_owned();
    let ended = matches!(object["status"].as_str(), Some("canceled" | "incomplete_expired"));
    // What has ended costs nothing, whatever else it had.
    if !ended && object["items"]["has_more"] == json!(true) {
        object["items"]["data"] = Value::Array(lookup.subscription_items(&id, context.now).await?);
    }
    let full = if ended || discounts::complete(&object) {
        Value::Null
    } else {
        lookup.discounted(&id, context.now).await?
    };
    entity(context, fields(context, event.at, &id, &object, &full))
}

fn fields(context: &Context<'_>, at: i64, id: &str, object: &Value, full: &Value) -> Value {
    let items = items(object);
    let first = items.first().map_or(&Value::Null, |item| price::priced(item));
    let currency = object["currency"].as_str().or_else(|| first["currency"].as_str());
    let discounts = discounts::read(object, full, currency.unwrap_or_default());
    let ends = ["ended_at", "cancel_at"].iter().find_map(|field| time(&object[*field]));
    let canceled = || time(&object["canceled_at"]).filter(|_| object["status"] == json!("canceled"));
    json!({
        "id": id,
        "customer": reference(&object["customer"]).or_else(|| reference(&object["customer_account"])),
        "plan": price::plan(first),
        "status": object["status"],
        "currency": currency,
        "items": items.iter().map(price::item).collect::<Vec<_>>(),
        "discounts": discounts,
        "started_at": time(&object["start_date"]).or_else(|| time(&object["created"])),
        "trial_ends_at": time(&object["trial_end"]),
        "canceled_at": ends.or_else(canceled),
        "updated_at": updated_at(at, &context.event.kind, &object["status"]),
    })
}

/// Its items; before there were several, it had one plan itself.
fn items(object: &Value) -> Vec<Value> {
    match list(&object["items"]) {
        [] if object["plan"].is_object() => {
            vec![json!({"plan": object["plan"], "quantity": object["quantity"]})]
        }
        items => items.to_vec(),
    }
}

/// Stripe's times are whole seconds, and several events happen within one. Of those the one that
/// usually comes later in a subscription's life holds, and nothing after it was deleted.
fn updated_at(at: i64, kind: &str, status: &Value) -> Option<String> {
    let rank = match (kind, status.as_str().unwrap_or_default()) {
        ("customer.subscription.deleted", _) => 999,
        ("customer.subscription.created", _) => 0,
        (_, "incomplete") => 100,
        (_, "trialing") => 200,
        (_, "active") => 300,
        (_, "past_due") => 400,
        (_, "unpaid") => 500,
        (_, "paused") => 600,
        (_, "incomplete_expired" | "canceled") => 900,
        _ => 50,
    };
    Some(rfc3339(DateTime::from_timestamp(at, 0)? + TimeDelta::milliseconds(rank)))
}
