//! Stripe's objects, as far as anybody reads them: the old shape until the company upgrades the
//! API version of its endpoint, and the new one after.

use serde_json::{Value, json};

/// The shape of payloads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// 2020-08-27
    Old,
    /// 2026-10-28.endive
    New,
}

impl Shape {
    fn version(self) -> &'static str {
        match self {
            Self::Old => "2020-08-27",
            Self::New => "2026-10-28.endive",
        }
    }
}

/// What a customer agreed to pay.
#[derive(Clone)]
pub(super) struct Agreement {
    pub(super) id: String,
    pub(super) customer: String,
    pub(super) plan: &'static str,
    pub(super) unit_amount: i64,
    pub(super) quantity: i64,
    pub(super) yearly: bool,
    pub(super) currency: &'static str,
    /// A coupon's percent, off forever.
    pub(super) percent_off: i64,
    pub(super) began: i64,
    pub(super) trial_end: Option<i64>,
}

impl Agreement {
    /// Minor units of a period.
    pub(super) fn price(&self) -> i64 {
        self.unit_amount * self.quantity * (100 - self.percent_off) / 100
    }

    /// Minor units of a month.
    pub(super) fn monthly(&self) -> i64 {
        if self.yearly { self.price() / 12 } else { self.price() }
    }

    fn price_id(&self) -> String {
        let interval = if self.yearly { "year" } else { "month" };
        format!("price_{}_{}_{interval}", self.plan, self.currency)
    }

    /// The subscription as it stands.
    pub(super) fn object(&self, shape: Shape, status: &str, ended: Option<i64>) -> Value {
        let interval = if self.yearly { "year" } else { "month" };
        let price = json!({
            "id": self.price_id(), "object": "price", "active": true, "currency": self.currency,
            "nickname": self.plan, "lookup_key": null, "product": format!("prod_{}", self.plan),
            "unit_amount": self.unit_amount, "unit_amount_decimal": self.unit_amount.to_string(),
            "recurring": {"interval": interval, "interval_count": 1, "usage_type": "licensed"},
        });
        let coupon = json!({
            "id": "welcome", "object": "coupon", "percent_off": self.percent_off, "amount_off": null,
            "duration": "forever",
        });
        let mut object = json!({
            "id": self.id, "object": "subscription", "customer": self.customer, "status": status,
            "currency": self.currency, "created": self.began, "start_date": self.began,
            "trial_end": self.trial_end, "cancel_at": null, "canceled_at": ended, "ended_at": ended,
            "livemode": false, "metadata": {},
            "items": {"object": "list", "has_more": false, "data": [
                {"id": format!("si_{}", self.id), "object": "subscription_item", "quantity": self.quantity, "price": price},
            ]},
        });
        match (shape, self.percent_off > 0) {
            (Shape::Old, true) => {
                object["discount"] = json!({"id": "di_welcome", "coupon": coupon, "end": null});
            }
            (Shape::Old, false) => object["discount"] = Value::Null,
            (Shape::New, true) => {
                object["discounts"] = json!([{"id": "di_welcome", "source": {"type": "coupon", "coupon": coupon}, "end": null}]);
            }
            (Shape::New, false) => object["discounts"] = json!([]),
        }
        object
    }

    /// An invoice for a period, which a payment intent pays.
    pub(super) fn invoice(&self, shape: Shape, payment: &Payment, paid: bool) -> Value {
        let mut object = json!({
            "id": payment.invoice, "object": "invoice", "customer": self.customer, "currency": self.currency,
            "status": if paid { "paid" } else { "open" }, "amount_due": self.price(),
            "amount_paid": if paid { self.price() } else { 0 }, "livemode": false,
            "status_transitions": {"paid_at": paid.then_some(payment.at)},
        });
        match shape {
            Shape::Old => {
                object["subscription"] = json!(self.id);
                object["payment_intent"] = json!(payment.intent);
                object["charge"] = json!(payment.charge);
                object["lines"] = json!({"data": [{
                    "type": "subscription", "proration": false, "subscription": self.id,
                    "price": {"id": self.price_id(), "nickname": self.plan, "lookup_key": null},
                }]});
            }
            Shape::New => {
                object["parent"] = json!({
                    "type": "subscription_details", "subscription_details": {"subscription": self.id},
                });
                object["lines"] = json!({"data": [{
                    "parent": {
                        "type": "subscription_item_details",
                        "subscription_item_details": {"proration": false, "subscription": self.id},
                    },
                    "pricing": {"type": "price_details", "price_details": {
                        "price": self.price_id(), "product": format!("prod_{}", self.plan),
                    }},
                }]});
            }
        }
        object
    }
}

/// An attempt at a payment.
pub(super) struct Payment {
    pub(super) charge: String,
    pub(super) intent: String,
    pub(super) invoice: String,
    pub(super) at: i64,
}

impl Payment {
    /// The charge of an invoice.
    pub(super) fn object(&self, shape: Shape, of: &Agreement, succeeded: bool, refunded: i64) -> Value {
        let mut object = charge(&self.charge, of.price(), of.currency, self.at, succeeded, refunded);
        object["customer"] = json!(of.customer);
        object["payment_intent"] = json!(self.intent);
        if shape == Shape::Old {
            object["invoice"] = json!(self.invoice);
        }
        object
    }

    /// What links the payment to its invoice.
    pub(super) fn link(&self, amount: i64) -> Value {
        json!({
            "id": format!("inpay_{}", self.charge), "object": "invoice_payment", "invoice": self.invoice,
            "amount_paid": amount, "amount_requested": amount, "status": "paid", "created": self.at,
            "payment": {"type": "payment_intent", "payment_intent": self.intent},
        })
    }
}

/// A charge of somebody who is no customer.
pub(super) fn charge(
    id: &str,
    amount: i64,
    currency: &str,
    at: i64,
    succeeded: bool,
    refunded: i64,
) -> Value {
    json!({
        "id": id, "object": "charge", "amount": amount, "amount_captured": if succeeded { amount } else { 0 },
        "amount_refunded": refunded, "captured": succeeded, "created": at, "currency": currency, "customer": null,
        "livemode": false, "metadata": {}, "paid": succeeded, "payment_intent": null, "refunded": refunded == amount,
        "status": if succeeded { "succeeded" } else { "failed" },
    })
}

/// An event about an object.
pub(super) fn event(id: &str, kind: &str, at: i64, shape: Shape, object: &Value) -> String {
    let event = json!({
        "id": id, "object": "event", "api_version": shape.version(), "created": at, "livemode": false,
        "pending_webhooks": 1, "type": kind, "data": {"object": object},
    });
    event.to_string()
}
