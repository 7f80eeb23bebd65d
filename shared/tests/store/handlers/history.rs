//! What happens to customers of a company, as Stripe tells of it, and what is then true.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::stripe_event;

/// The shape of an endpoint's payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// 2020-08-27: charges and invoices name each other.
    Old,
    /// 2026-10-28: only payments of invoices do.
    New,
}

/// When the first of it happens.
const BEGIN: i64 = 1_770_000_000;

#[derive(Default)]
pub struct History {
    pub events: Vec<(String, Vec<u8>)>,
    /// What each entity must be at the end.
    pub truth: BTreeMap<String, Value>,
}

fn time(at: i64) -> String {
    chrono::DateTime::from_timestamp(at, 0).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

impl History {
    fn tell(&mut self, kind: &str, at: i64, object: &Value) {
        self.events.push(stripe_event(kind, at, object));
    }

    /// A customer who subscribes, pays at the second attempt, gets some of it back, takes a greater
    /// plan and leaves.
    pub fn subscriber(&mut self, name: &str, shape: Shape) {
        let begin = BEGIN + i64::from(u8::try_from(name.len()).unwrap());
        let (sub, customer) = (format!("sub_{name}"), format!("cus_{name}"));
        let subscription = |status: &str, plan: &str, amount: i64, ended: Option<i64>| {
            let price = json!({"id": format!("price_{plan}"), "lookup_key": plan, "product": "prod_1", "currency": "eur", "unit_amount": amount, "unit_amount_decimal": amount.to_string(), "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}});
            let coupon = json!({"id": "ten", "percent_off": 10, "duration": "forever"});
            let mut object = json!({
                "id": sub, "object": "subscription", "customer": customer, "status": status, "start_date": begin,
                "items": {"data": [{"id": "si_1", "quantity": 2, "price": price}], "has_more": false},
                "trial_end": null, "cancel_at": null, "canceled_at": ended, "ended_at": ended,
            });
            match shape {
                Shape::Old => object["discount"] = json!({"id": "di_1", "coupon": coupon, "end": null}),
                Shape::New => {
                    object["currency"] = json!("eur");
                    object["discounts"] =
                        json!([{"id": "di_1", "source": {"type": "coupon", "coupon": coupon}, "end": null}]);
                }
            }
            object
        };
        self.tell("customer.subscription.created", begin, &subscription("incomplete", "basic", 1_000, None));
        self.tell("customer.subscription.updated", begin, &subscription("active", "basic", 1_000, None));
        self.payment(name, shape, begin);
        self.tell("customer.subscription.updated", begin + 300, &subscription("active", "pro", 3_000, None));
        self.tell(
            "customer.subscription.updated",
            begin + 400,
            &subscription("past_due", "pro", 3_000, None),
        );
        let end = begin + 400;
        self.tell("customer.subscription.deleted", end, &subscription("canceled", "pro", 3_000, Some(end)));
        self.truth.insert(
            sub,
            json!({
                "id": format!("sub_{name}"), "customer": customer, "plan": "pro", "status": "canceled", "currency": "EUR",
                "items": [{"unit_amount": 3_000, "quantity": 2, "interval": "month", "interval_count": 1, "usage_type": "licensed"}],
                "discounts": [{"off_ppm": 100_000, "duration": "forever"}],
                "started_at": time(begin), "canceled_at": time(end),
            }),
        );
    }

    /// The payment of a subscription's invoice: refused once, paid, refunded twice in one second.
    fn payment(&mut self, name: &str, shape: Shape, begin: i64) {
        let (invoice, intent) = (format!("in_{name}"), format!("pi_{name}"));
        let charge = |id: &str, status: &str, refunded: i64| {
            let captured = if status == "succeeded" { 1_800 } else { 0 };
            let created = if id == "a" { begin + 1 } else { begin + 100 };
            let mut charge = json!({
                "id": format!("ch_{name}_{id}"), "object": "charge", "status": status, "amount": 1_800,
                "amount_captured": captured, "amount_refunded": refunded, "currency": "eur", "created": created,
                "customer": format!("cus_{name}"), "payment_intent": intent, "captured": true, "metadata": {},
            });
            if shape == Shape::Old {
                charge["invoice"] = json!(invoice);
            }
            charge
        };
        let bill = |status: &str| {
            let mut bill = json!({
                "id": invoice, "object": "invoice", "status": status, "currency": "eur", "customer": format!("cus_{name}"),
                "amount_due": 1_800, "amount_paid": if status == "paid" { 1_800 } else { 0 },
                "status_transitions": {"paid_at": if status == "paid" { Some(begin + 100) } else { None }},
            });
            match shape {
                Shape::Old => {
                    bill["subscription"] = json!(format!("sub_{name}"));
                    bill["payment_intent"] = json!(intent);
                    bill["charge"] = json!(format!("ch_{name}_b"));
                    let proration = json!({"type": "subscription", "proration": true, "price": {"id": "price_other", "nickname": "other"}});
                    bill["lines"] = json!({"data": [proration, {"type": "subscription", "proration": false, "price": {"id": "price_basic", "lookup_key": "basic"}}]});
                }
                Shape::New => {
                    bill["parent"] = json!({"type": "subscription_details", "subscription_details": {"subscription": format!("sub_{name}")}});
                    bill["lines"] = json!({"data": [{
                        "parent": {"type": "subscription_item_details", "subscription_item_details": {"proration": false, "subscription": format!("sub_{name}")}},
                        "pricing": {"type": "price_details", "price_details": {"price": "price_basic", "product": "prod_1"}},
                    }]});
                }
            }
            bill
        };
        self.tell("charge.failed", begin + 1, &charge("a", "failed", 0));
        self.tell("invoice.payment_failed", begin + 1, &bill("open"));
        self.tell("charge.succeeded", begin + 100, &charge("b", "succeeded", 0));
        self.tell("invoice.paid", begin + 100, &bill("paid"));
        self.tell("invoice.payment_succeeded", begin + 100, &bill("paid"));
        if shape == Shape::New {
            let link = json!({"id": format!("inpay_{name}"), "object": "invoice_payment", "invoice": invoice, "amount_paid": 1_800, "status": "paid", "payment": {"type": "payment_intent", "payment_intent": intent}});
            self.tell("invoice_payment.paid", begin + 100, &link);
        }
        self.tell("charge.refunded", begin + 200, &charge("b", "succeeded", 300));
        self.tell("charge.refunded", begin + 200, &charge("b", "succeeded", 500));
        for (id, at, status, refunded) in
            [("a", begin + 1, "failed", 0), ("b", begin + 100, "succeeded", 500)]
        {
            let id = format!("ch_{name}_{id}");
            let truth = json!({
                "id": id, "kind": "subscription", "plan": "basic", "customer": format!("cus_{name}"),
                "amount": 1_800, "refunded": refunded, "currency": "EUR", "status": status, "occurred_at": time(at),
            });
            self.truth.insert(id, truth);
        }
    }

    /// Payments without a subscription, and some outside of Stripe.
    pub fn others(&mut self) {
        let charge = |id: &str, currency: &str, kind: Option<&str>| json!({"id": id, "object": "charge", "status": "succeeded", "amount": 5_000, "amount_captured": 5_000, "amount_refunded": 0, "currency": currency, "created": BEGIN, "customer": null, "payment_intent": null, "metadata": {"kind": kind}});
        self.tell("charge.succeeded", BEGIN, &charge("ch_offer", "jpy", Some("tripwire")));
        self.tell("charge.succeeded", BEGIN, &charge("ch_once", "kwd", None));
        for (id, kind, currency) in [("ch_offer", "tripwire", "JPY"), ("ch_once", "other", "KWD")] {
            let truth = json!({"id": id, "kind": kind, "customer": "guest", "amount": 5_000, "refunded": 0, "currency": currency, "status": "succeeded", "occurred_at": time(BEGIN)});
            self.truth.insert(id.to_owned(), truth);
        }
        let authorized = json!({"id": "ch_hold", "object": "charge", "status": "succeeded", "amount": 900, "amount_captured": 0, "amount_refunded": 0, "captured": false, "currency": "usd", "created": BEGIN, "customer": null, "payment_intent": "pi_hold", "metadata": {}});
        self.tell("charge.succeeded", BEGIN, &authorized);
        let bill = |id: &str| json!({"id": id, "object": "invoice", "status": "paid", "currency": "usd", "customer": "cus_bank", "amount_due": 70_000, "amount_paid": 70_000, "status_transitions": {"paid_at": BEGIN + 9}, "lines": {"data": []}});
        let mut cash = bill("in_cash");
        cash["paid_out_of_band"] = json!(true);
        self.tell("invoice.paid", BEGIN + 9, &cash);
        self.tell("invoice.paid", BEGIN + 9, &bill("in_wire"));
        let link = json!({"id": "inpay_wire", "object": "invoice_payment", "invoice": "in_wire", "amount_paid": 70_000, "status": "paid", "payment": {"type": "payment_record", "payment_record": "prec_1"}});
        self.tell("invoice_payment.paid", BEGIN + 9, &link);
        let mut free = bill("in_free");
        free["amount_paid"] = json!(0);
        self.tell("invoice.paid", BEGIN, &free);
        for id in ["in_cash", "in_wire"] {
            let truth = json!({"id": id, "kind": "other", "customer": "cus_bank", "amount": 70_000, "refunded": 0, "currency": "USD", "status": "succeeded", "occurred_at": time(BEGIN + 9)});
            self.truth.insert(id.to_owned(), truth);
        }
    }
}
