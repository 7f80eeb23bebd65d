//! Discounts of a subscription, in all the places and shapes that they were given over the years.

use serde_json::{Value, json};

use super::{list, price, reference, time};

/// Whether all discounts stand in the event, and not only their ids.
pub(super) fn complete(subscription: &Value) -> bool {
    let items = list(&subscription["items"]).iter();
    items.chain([subscription]).flat_map(of).all(|discount| coupon(discount).is_some())
}

/// All discounts that the ledger deducts. `full` is where those are whole of which the event has
/// only the ids.
pub(super) fn read(subscription: &Value, full: &Value, currency: &str) -> Vec<Value> {
    let whole = |discount: &Value| -> Option<Value> {
        if coupon(discount).is_some() {
            return Some(discount.clone());
        }
        let id = reference(discount)?;
        let items = list(&full["items"]).iter();
        items.chain([full]).flat_map(of).find(|one| reference(one) == Some(id)).cloned()
    };
    let items = list(&subscription["items"]);
    let of_all = of(subscription).into_iter().filter_map(whole).filter_map(|one| deducted(&one, currency));
    let of_items = items.iter().flat_map(|item| {
        let alone = items.len() == 1;
        of(item)
            .into_iter()
            .filter_map(whole)
            .filter_map(move |one| deducted(&one, currency))
            .map(move |one| if alone { one } else { share(one, item) })
    });
    of_all.chain(of_items).collect()
}

/// Discounts of a subscription or an item, whole or as ids.
fn of(holder: &Value) -> Vec<&Value> {
    let listed = list(&holder["discounts"]).iter();
    let one = [&holder["discount"]].into_iter().filter(|one| one.is_object());
    // One that stands in both places is one.
    let mut all: Vec<&Value> = one.collect();
    for discount in listed {
        let known = all.iter().any(|one| reference(one).is_some() && reference(one) == reference(discount));
        if !known {
            all.push(discount);
        }
    }
    all
}

/// The coupon of a discount, if it is whole.
fn coupon(discount: &Value) -> Option<&Value> {
    [&discount["coupon"], &discount["source"]["coupon"]].into_iter().find(|coupon| coupon.is_object())
}

/// A discount as the ledger takes it; none where its coupon is of another currency.
fn deducted(discount: &Value, currency: &str) -> Option<Value> {
    let coupon = coupon(discount)?;
    let own = coupon["currency"].as_str().is_none_or(|own| own.eq_ignore_ascii_case(currency));
    let amount = if own {
        &coupon["amount_off"]
    } else {
        &coupon["currency_options"][currency.to_ascii_lowercase()]["amount_off"]
    };
    let percent = percent(&coupon["percent_off"]);
    (percent.is_some() || amount.is_i64()).then(|| {
        json!({
            "percent_off": percent,
            "amount_off": if percent.is_some() { &Value::Null } else { amount },
            "duration": coupon["duration"],
            "ends_at": time(&discount["end"]),
        })
    })
}

/// A percentage with the four decimals that the ledger keeps.
fn percent(value: &Value) -> Option<Value> {
    let percent = value.as_f64().filter(|percent| *percent > 0.0)?;
    Some(json!((percent * 10_000.0).round() / 10_000.0))
}

/// A percentage of one item among several as an amount: the ledger deducts from all of them.
fn share(mut discount: Value, item: &Value) -> Value {
    if let Some(percent) = price::decimal(&discount["percent_off"]) {
        let hundred = num_bigint::BigInt::from(100);
        discount["amount_off"] = json!(price::rounded(&(price::amount(item) * percent / hundred)));
        discount["percent_off"] = Value::Null;
    }
    discount
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discounts_of_every_shape_are_deducted() {
        let quarter = json!({"id": "c", "percent_off": 25, "amount_off": null, "duration": "forever"});
        let fixed =
            json!({"id": "f", "percent_off": null, "amount_off": 500, "currency": "usd", "duration": "once"});
        let off = |percent: Value, amount: Value, duration: &str| json!({"percent_off": percent, "amount_off": amount, "duration": duration, "ends_at": null});
        let item =
            |discounts: Value| json!({"quantity": 1, "price": {"unit_amount": 1000}, "discounts": discounts});
        let null = Value::Null;
        for (case, subscription, expected) in [
            ("none", json!({"discount": null}), vec![]),
            (
                "one, of 2020",
                json!({"discount": {"id": "di_1", "coupon": quarter}}),
                vec![off(json!(25.0), null.clone(), "forever")],
            ),
            (
                "in both places",
                json!({"discount": {"id": "di_1", "coupon": quarter}, "discounts": [{"id": "di_1", "coupon": quarter}]}),
                vec![off(json!(25.0), null.clone(), "forever")],
            ),
            (
                "several, expanded",
                json!({"discounts": [{"id": "di_1", "source": {"coupon": quarter}}, {"id": "di_2", "source": {"coupon": fixed}}]}),
                vec![off(json!(25.0), null.clone(), "forever"), off(null.clone(), json!(500), "once")],
            ),
            (
                "of the only item",
                json!({"items": {"data": [item(json!([{"id": "di_1", "source": {"coupon": quarter}}]))]}}),
                vec![off(json!(25.0), null.clone(), "forever")],
            ),
            (
                "of one of two items",
                json!({"items": {"data": [item(json!([{"id": "di_1", "coupon": quarter}])), item(json!([]))]}}),
                vec![off(null.clone(), json!(250), "forever")],
            ),
            (
                "of another currency",
                json!({"discount": {"id": "di_1", "coupon": {"amount_off": 500, "currency": "eur", "duration": "once"}}}),
                vec![],
            ),
        ] {
            assert!(complete(&subscription), "{case}");
            assert_eq!(read(&subscription, &Value::Null, "usd"), expected, "{case}");
        }
    }

    #[test]
    fn ids_alone_are_looked_up() {
        let subscription = json!({"discounts": ["di_1", "di_gone"]});
        assert!(!complete(&subscription));
        let full = json!({"discounts": [{"id": "di_1", "end": 1_700_000_000, "source": {"coupon": {"percent_off": 33.333_333, "duration": "repeating"}}}]});
        let read = read(&subscription, &full, "usd");
        assert_eq!(
            read,
            [
                json!({"percent_off": 33.3333, "amount_off": null, "duration": "repeating", "ends_at": "2023-11-14T22:13:20Z"})
            ]
        );
    }
}
