//! Shopify: an order that was paid is a transaction, less what was refunded of it.
//!
//! Orders and refunds are events of their own that come in any order; the facts of an order join
//! them. They also keep which events told of it, so that a customer's data can be erased from
//! those when Shopify asks for it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use num_bigint::BigInt;
use num_rational::BigRational;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Context, Effects, Failed, Note,
    facts::{Facts, Known},
    stripe::{decimal, rounded},
};
use crate::{
    fields::is_id,
    ledger::{Entity, money::Currency, transactions::Transaction},
    time::rfc3339,
    webhooks::{Source, Webhooks, store::ERASED},
};

/// Events of an order that are remembered: by far more than an order has.
const EVENTS_MAX: usize = 1_000;

/// What is known of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    told: Option<Told>,
    /// Minor units of each refund.
    refunds: BTreeMap<String, i64>,
    /// The events that told of it.
    events: BTreeSet<String>,
}

/// How an order stood. The later one holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Told {
    at: i64,
    paid: i64,
    created: i64,
    currency: String,
    customer: Option<String>,
}

/// What an event changes.
pub(super) async fn handle(
    facts: &Facts,
    events: &Webhooks,
    context: &Context<'_>,
    body: &[u8],
) -> Result<Effects, Failed> {
    let kind = context.event.kind.as_str();
    let known = [
        "orders/create",
        "orders/paid",
        "orders/cancelled",
        "orders/updated",
        "refunds/create",
        "app/uninstalled",
        "customers/data_request",
        "customers/redact",
        "shop/redact",
    ];
    if !known.contains(&kind) {
        return Ok(Effects::default());
    }
    let event = super::json(body)?;
    if body == ERASED {
        return Ok(Effects::default());
    }
    let transactions = match kind {
        "refunds/create" => refunded(facts, context, &event).await?,
        kind if kind.starts_with("orders/") => ordered(facts, context, &event).await?,
        "customers/redact" => {
            redact(facts, events, context, &event).await?;
            Vec::new()
        }
        _ => Vec::new(),
    };
    Ok(Effects { transactions, activity: note(kind, &event).into_iter().collect(), ..Effects::default() })
}

async fn ordered(facts: &Facts, context: &Context<'_>, order: &Value) -> Result<Vec<Transaction>, Failed> {
    let id = id_of(&order["id"])?;
    // A trial of the shop's owner, without money.
    if order["test"] == json!(true) {
        return Ok(Vec::new());
    }
    let currency = currency(order)?;
    let told = Told {
        at: time(&order["updated_at"]).unwrap_or_else(|| context.event.received_at.timestamp()),
        paid: paid(order, currency)?,
        created: ["processed_at", "created_at"]
            .iter()
            .find_map(|field| time(&order[*field]))
            .ok_or_else(|| Failed::Permanent("`created_at` must be a time".to_owned()))?,
        currency: currency.code().to_owned(),
        customer: id_of(&order["customer"]["id"]).ok(),
    };
    let refunds = order["refunds"].as_array().map_or(&[][..], Vec::as_slice);
    let refunds = refunds.iter().map(|refund| refund_of(refund, currency)).collect::<Result<Vec<_>, _>>()?;
    tell(facts, context, &id, told.at, |facts| {
        facts.told = facts.told.take().max(Some(told.clone()));
        facts.refunds(&refunds);
    })
    .await
}

async fn refunded(facts: &Facts, context: &Context<'_>, refund: &Value) -> Result<Vec<Transaction>, Failed> {
    let id = id_of(&refund["order_id"])?;
    let at = ["processed_at", "created_at"].iter().find_map(|field| time(&refund[*field]));
    let at = at.unwrap_or_else(|| context.event.received_at.timestamp());
    // A refund that moves no money names no currency, and counts for nothing.
    let Ok(currency) = currency(refund) else { return Ok(Vec::new()) };
    let refund = refund_of(refund, currency)?;
    tell(facts, context, &id, at, |facts| facts.refunds(std::slice::from_ref(&refund))).await
}

async fn tell(
    facts: &Facts,
    context: &Context<'_>,
    id: &str,
    at: i64,
    add: impl Fn(&mut Order),
) -> Result<Vec<Transaction>, Failed> {
    let event = &context.event.id;
    let add = |facts: &mut Order| {
        add(facts);
        if facts.events.len() < EVENTS_MAX {
            facts.events.insert(event.clone());
        }
    };
    let known = facts.tell(context.workspace, Source::Shopify, id, at, add).await?;
    Ok(transaction(context, id, &known)?.into_iter().collect())
}

/// The transaction of an order, once some of it was paid.
fn transaction(context: &Context<'_>, id: &str, known: &Known<Order>) -> Result<Option<Transaction>, Failed> {
    let Some(told) = known.facts.told.as_ref().filter(|told| told.paid > 0) else { return Ok(None) };
    let refunded: i64 = known.facts.refunds.values().sum();
    let fields = json!({
        "id": format!("shopify_{id}"),
        "kind": "other",
        "customer": told.customer.as_deref().unwrap_or("guest"),
        "amount": told.paid,
        "refunded": refunded.min(told.paid),
        "currency": told.currency,
        "status": "succeeded",
        "occurred_at": DateTime::from_timestamp(told.created, 0).map(rfc3339),
        "updated_at": rfc3339(known.updated_at()),
    });
    let read = Transaction::parse("", fields, context.now);
    read.map(Some).map_err(|errors| super::refused("the transaction", &errors))
}

impl Order {
    fn refunds(&mut self, refunds: &[(String, i64)]) {
        for (id, amount) in refunds {
            // What is pending becomes more when it succeeds.
            let held = self.refunds.entry(id.clone()).or_default();
            *held = (*held).max(*amount);
        }
    }
}

/// Minor units that were captured, in the shop's currency.
fn paid(order: &Value, currency: Currency) -> Result<i64, Failed> {
    let total = || {
        let total = shop_money(&order["total_price_set"]).unwrap_or(&order["total_price"]);
        minor(total, currency).ok_or_else(|| Failed::Permanent("`total_price` must be an amount".to_owned()))
    };
    match order["financial_status"].as_str() {
        Some("paid" | "partially_refunded" | "refunded") => total(),
        Some("partially_paid") => {
            let open = minor(&order["total_outstanding"], currency).unwrap_or_default();
            Ok((total()? - open).max(0))
        }
        _ => Ok(0),
    }
}

/// The id of a refund, and the minor units that went back.
fn refund_of(refund: &Value, currency: Currency) -> Result<(String, i64), Failed> {
    let refund_id = id_of(&refund["id"])?;
    let list = |field: &str| refund[field].as_array().map_or(&[][..], Vec::as_slice);
    let moved: Vec<_> = list("transactions")
        .iter()
        .filter(|one| one["kind"] == json!("refund") && one["status"] == json!("success"))
        .collect();
    let foreign = |one: &&Value| one["currency"].as_str().is_some_and(|code| code != currency.code());
    let amount = if moved.iter().any(foreign) {
        // The customer's currency is not the shop's: the lines have both.
        let line = |line: &Value| {
            let parts = ["subtotal_set", "total_tax_set"].iter();
            parts.filter_map(|part| minor(shop_money(&line[*part])?, currency)).sum::<i64>()
        };
        let adjusted = |one: &Value| -> i64 {
            let parts = ["amount_set", "tax_amount_set"].iter();
            parts.filter_map(|part| minor(shop_money(&one[*part])?, currency)).sum()
        };
        let lines: i64 = list("refund_line_items").iter().map(line).sum();
        // What is given back beside lines, such as shipping, is written as less than nothing.
        let adjustments: i64 = list("order_adjustments").iter().map(adjusted).sum();
        (lines - adjustments).max(0)
    } else {
        moved.iter().filter_map(|one| minor(&one["amount"], currency)).sum()
    };
    Ok((refund_id, amount))
}

/// The currency of the shop, in which all its amounts are that have no other beside them.
fn currency(object: &Value) -> Result<Currency, Failed> {
    let set = &object["total_price_set"]["shop_money"]["currency_code"];
    let lines = object["refund_line_items"].as_array().and_then(|lines| lines.first());
    let line = lines.map_or(&Value::Null, |line| &line["subtotal_set"]["shop_money"]["currency_code"]);
    let moved = object["transactions"].as_array().and_then(|moved| moved.first());
    let moved = moved.map_or(&Value::Null, |moved| &moved["currency"]);
    let code = [set, line, &object["currency"], moved].into_iter().find_map(Value::as_str);
    let known = code.and_then(|code| code.parse().ok());
    known.ok_or_else(|| Failed::Permanent("`currency` must be a known currency".to_owned()))
}

fn shop_money(set: &Value) -> Option<&Value> {
    Some(&set["shop_money"]["amount"]).filter(|amount| !amount.is_null())
}

/// A decimal of major units as minor ones. What is beyond the currency's decimals is rounded.
fn minor(amount: &Value, currency: Currency) -> Option<i64> {
    let scale = BigInt::from(10).pow(u32::try_from(currency.exponent()).ok()?);
    Some(rounded(&(decimal(amount)? * BigRational::from(scale))))
}

/// An id: Shopify's are numbers.
fn id_of(value: &Value) -> Result<String, Failed> {
    let text = value.as_u64().map(|id| id.to_string()).or_else(|| value.as_str().map(ToOwned::to_owned));
    let text = text.filter(|text| is_id(text) && text.len() <= 64);
    text.ok_or_else(|| Failed::Permanent("`id` must be an id of Shopify's".to_owned()))
}

fn time(value: &Value) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(value.as_str()?).ok()?.timestamp())
}

/// Erases what events tell of the orders that Shopify names; what they cost stays.
async fn redact(
    facts: &Facts,
    events: &Webhooks,
    context: &Context<'_>,
    request: &Value,
) -> Result<(), Failed> {
    for order in request["orders_to_redact"].as_array().into_iter().flatten() {
        let Ok(order) = id_of(order) else { continue };
        let known: Known<Order> = facts.read(context.workspace, Source::Shopify, &order).await?;
        for event in &known.facts.events {
            events.erase(context.workspace, event).await?;
        }
    }
    Ok(())
}

/// What the log tells: ids only, as the requests themselves are about people.
fn note(kind: &str, event: &Value) -> Option<Note> {
    let count = |field: &str| event[field].as_array().map_or(0, Vec::len);
    let (action, detail) = match kind {
        "app/uninstalled" => ("shopify.app_uninstalled", json!({})),
        "customers/data_request" => (
            "shopify.customer_data_requested",
            json!({"customer": event["customer"]["id"], "orders": event["orders_requested"]}),
        ),
        "customers/redact" => (
            "shopify.customer_redacted",
            json!({"customer": event["customer"]["id"], "orders": count("orders_to_redact")}),
        ),
        "shop/redact" => ("shopify.shop_redacted", json!({})),
        _ => return None,
    };
    let shop = ["shop_domain", "myshopify_domain"].iter().find_map(|field| event[*field].as_str());
    let target = shop.filter(|shop| is_id(shop)).unwrap_or("shopify").to_owned();
    Some(Note { action, target, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_in_every_currency() {
        for (case, text, code, units) in [
            ("two decimals", json!("254.98"), "USD", 25_498),
            ("a number", json!(19.99), "EUR", 1_999),
            ("none", json!("1500"), "JPY", 1_500),
            ("none, spelt with two", json!("1500.00"), "JPY", 1_500),
            ("three", json!("1.234"), "KWD", 1_234),
            ("as Stripe counts them", json!("10.00"), "ISK", 1_000),
            ("more than there are", json!("0.005"), "USD", 1),
        ] {
            assert_eq!(minor(&text, code.parse().unwrap()), Some(units), "{case}");
        }
    }

    #[test]
    fn what_was_paid_follows_from_the_status() {
        for (status, units) in [
            ("paid", 10_000),
            ("partially_refunded", 10_000),
            ("refunded", 10_000),
            ("partially_paid", 6_000),
            ("pending", 0),
            ("authorized", 0),
            ("voided", 0),
        ] {
            let order = json!({"financial_status": status, "total_price": "100.00", "total_outstanding": "40.00", "total_price_set": {"shop_money": {"amount": "100.00", "currency_code": "USD"}, "presentment_money": {"amount": "92.00", "currency_code": "EUR"}}});
            assert_eq!(paid(&order, "USD".parse().unwrap()).unwrap(), units, "{status}");
        }
    }

    #[test]
    fn refunds_count_what_went_back_in_the_shops_currency() {
        let refund = |refund| refund_of(&refund, "USD".parse().unwrap()).unwrap().1;
        assert_eq!(
            refund(json!({"id": 1, "transactions": [
                {"kind": "refund", "status": "success", "amount": "41.94", "currency": "USD"},
                {"kind": "refund", "status": "failure", "amount": "1.00", "currency": "USD"},
                {"kind": "void", "status": "success", "amount": "9.00", "currency": "USD"},
            ]})),
            4_194
        );
        let money = |amount| json!({"shop_money": {"amount": amount, "currency_code": "USD"}});
        assert_eq!(
            refund(json!({"id": 2,
                "transactions": [{"kind": "refund", "status": "success", "amount": "9.20", "currency": "EUR"}],
                "refund_line_items": [{"subtotal_set": money("8.00"), "total_tax_set": money("2.00")}],
                "order_adjustments": [{"amount_set": money("-5.00"), "tax_amount_set": money("-1.00")}],
            })),
            1_600
        );
    }
}
