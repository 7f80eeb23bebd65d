//! Prices: what an item costs, and what a plan is called.

use num_bigint::BigInt;
use num_rational::BigRational;
use serde_json::{Value, json};

use super::reference;

/// The ledger's bound of a quantity; more units become a greater amount of one.
const QUANTITY_MAX: i64 = 1_000_000;
/// The ledger's bound of a label.
const LABEL_MAX: usize = 64;

/// An item of a subscription as the ledger takes it.
///
/// A price per unit may have fractions of a minor unit; then the item costs its whole quantity,
/// rounded half up once, as Stripe rounds a line of an invoice. A price by tiers whose amount is
/// not in the event counts nothing.
pub(super) fn item(item: &Value) -> Value {
    let price = priced(item);
    let metered = usage_type(price) == "metered";
    let quantity = if metered { 1 } else { item["quantity"].as_i64().unwrap_or(1).max(0) };
    let quantity = packages(price, quantity);
    let amount = unit_amount(price);
    let (unit_amount, quantity) = if amount.is_integer() && quantity <= QUANTITY_MAX {
        (rounded(&amount), quantity)
    } else {
        (rounded(&(amount * BigInt::from(quantity))), 1)
    };
    json!({
        "unit_amount": unit_amount,
        "quantity": quantity,
        "interval": recurring(price, "interval"),
        "interval_count": recurring(price, "interval_count"),
        "usage_type": usage_type(price),
    })
}

/// Minor units that an item costs a period; exact, then rounded half up.
pub(super) fn amount(item: &Value) -> BigRational {
    let price = priced(item);
    let quantity = packages(price, item["quantity"].as_i64().unwrap_or(1).max(0));
    unit_amount(price) * BigInt::from(quantity)
}

/// The price of an item, or what stood in its place before there were prices.
pub(super) fn priced(item: &Value) -> &Value {
    if item["price"].is_object() { &item["price"] } else { &item["plan"] }
}

/// What a plan is called by this price, if somebody gave it a name.
pub(super) fn name(price: &Value) -> Option<String> {
    ["lookup_key", "nickname"].iter().find_map(|field| label(price[*field].as_str()?))
}

/// What a plan is called by this price, in any case by an id.
pub(super) fn plan(price: &Value) -> Option<String> {
    name(price).or_else(|| label(reference(&price["product"])?)).or_else(|| label(reference(price)?))
}

/// Text as a name that counters go by: other characters than those that these take become `-`.
pub(super) fn label(text: &str) -> Option<String> {
    let plain = |char: char| if char.is_ascii_alphanumeric() || "_.-".contains(char) { char } else { '-' };
    let label: String = text.trim().chars().map(plain).take(LABEL_MAX).collect();
    let label = label.trim_matches('-');
    (!label.is_empty()).then(|| label.to_owned())
}

/// An exact number, rounded half up to a whole one.
pub(in crate::webhooks::handle) fn rounded(number: &BigRational) -> i64 {
    let half = BigRational::new(1.into(), 2.into());
    i64::try_from((number + half).floor().to_integer()).unwrap_or(i64::MAX)
}

/// A decimal as Stripe writes it, text or number.
pub(in crate::webhooks::handle) fn decimal(value: &Value) -> Option<BigRational> {
    let text = value.as_str().map(ToOwned::to_owned).or_else(|| Some(value.as_number()?.to_string()))?;
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let digits: BigInt = format!("{whole}{decimals}").parse().ok()?;
    Some(BigRational::new(digits, BigInt::from(10).pow(u32::try_from(decimals.len()).ok()?)))
}

fn unit_amount(price: &Value) -> BigRational {
    // The old names are those of plans.
    let amount = ["unit_amount", "amount", "unit_amount_decimal", "amount_decimal"]
        .iter()
        .find_map(|field| decimal(&price[*field]));
    amount.unwrap_or_default()
}

/// How many packages hold the quantity, where a price is one of packages.
fn packages(price: &Value, quantity: i64) -> i64 {
    let transform = &price["transform_quantity"];
    match (transform["divide_by"].as_i64(), transform["round"].as_str()) {
        (Some(by), Some("up")) if by > 0 => quantity / by + i64::from(quantity % by > 0),
        (Some(by), _) if by > 0 => quantity / by,
        _ => quantity,
    }
}

fn recurring<'a>(price: &'a Value, field: &str) -> &'a Value {
    if price["recurring"].is_object() { &price["recurring"][field] } else { &price[field] }
}

fn usage_type(price: &Value) -> &str {
    recurring(price, "usage_type").as_str().unwrap_or("licensed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_every_shape_cost_what_stripe_asks() {
        for (case, given, amount, quantity) in [
            (
                "price",
                json!({"quantity": 3, "price": {"unit_amount": 1000, "unit_amount_decimal": "1000", "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}}}),
                1000,
                3,
            ),
            (
                "plan of 2020",
                json!({"quantity": 2, "plan": {"amount": 500, "interval": "month", "interval_count": 1, "usage_type": "licensed"}}),
                500,
                2,
            ),
            (
                "no quantity",
                json!({"price": {"unit_amount": 700, "recurring": {"interval": "month"}}}),
                700,
                1,
            ),
            (
                "half a cent each",
                json!({"quantity": 1001, "price": {"unit_amount": null, "unit_amount_decimal": "0.5", "recurring": {"interval": "month"}}}),
                501,
                1,
            ),
            (
                "twelve decimals",
                json!({"quantity": 1, "price": {"unit_amount": null, "unit_amount_decimal": "2499.999999999999", "recurring": {"interval": "year"}}}),
                2500,
                1,
            ),
            (
                "packages, rounded up",
                json!({"quantity": 101, "price": {"unit_amount": 100, "transform_quantity": {"divide_by": 10, "round": "up"}, "recurring": {"interval": "month"}}}),
                100,
                11,
            ),
            (
                "packages, rounded down",
                json!({"quantity": 109, "price": {"unit_amount": 100, "transform_quantity": {"divide_by": 10, "round": "down"}, "recurring": {"interval": "month"}}}),
                100,
                10,
            ),
            (
                "very many",
                json!({"quantity": 2_000_000, "price": {"unit_amount": 3, "recurring": {"interval": "month"}}}),
                6_000_000,
                1,
            ),
            (
                "tiers that the event does not have",
                json!({"quantity": 5, "price": {"unit_amount": null, "unit_amount_decimal": null, "billing_scheme": "tiered", "recurring": {"interval": "month"}}}),
                0,
                5,
            ),
            (
                "metered",
                json!({"price": {"unit_amount": 5, "recurring": {"interval": "month", "usage_type": "metered"}}}),
                5,
                1,
            ),
        ] {
            let item = item(&given);
            assert_eq!(
                (&item["unit_amount"], &item["quantity"]),
                (&json!(amount), &json!(quantity)),
                "{case}: {item}"
            );
        }
    }

    #[test]
    fn plans_are_called_by_the_best_name_there_is() {
        for (case, price, name) in [
            (
                "lookup key",
                json!({"id": "price_1", "lookup_key": "pro_monthly", "nickname": "Pro", "product": "prod_1"}),
                "pro_monthly",
            ),
            (
                "nickname",
                json!({"id": "price_1", "lookup_key": null, "nickname": "Pro plan (EU)", "product": "prod_1"}),
                "Pro-plan--EU",
            ),
            ("product", json!({"id": "price_1", "nickname": " ", "product": "prod_1"}), "prod_1"),
            ("product, expanded", json!({"id": "price_1", "product": {"id": "prod_1"}}), "prod_1"),
            ("price", json!({"id": "price_1"}), "price_1"),
        ] {
            assert_eq!(plan(&price).as_deref(), Some(name), "{case}");
        }
    }
}
