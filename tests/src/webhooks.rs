//! Services that deliver events: endpoints of a workspace, and signatures made here and not by
//! what is tested.

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use chrono::Utc;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{Answer, Call, SEALED, Server, Workspace, random};

/// How long an event may wait for the worker: the emulator's takes ten at a time from a queue that
/// all tests share.
const PATIENCE: Duration = Duration::from_mins(4);

/// An endpoint, and the service that knows its secret.
#[derive(Clone)]
pub struct Endpoint {
    server: Server,
    /// Its id.
    pub id: String,
    url: String,
    scheme: &'static str,
    secret: String,
}

impl Workspace {
    /// A new endpoint of a scheme: `stripe` or `github`.
    pub async fn endpoint(&self, scheme: &'static str) -> Endpoint {
        let secret = format!("{scheme}-{SEALED}-{}", random());
        let order = json!({"name": scheme, "scheme": scheme, "secrets": [secret]});
        let made = self.admin("POST", "/api/webhooks/endpoints").json(&order).send().await.json(201);
        let text = |name: &str| made[name].as_str().expect("a made endpoint").to_owned();
        Endpoint { server: self.server.clone(), id: text("id"), url: text("url"), scheme, secret }
    }

    /// An event, with its body and attempts.
    pub async fn event(&self, id: &str) -> Answer {
        self.member("GET", &format!("/api/webhooks/events/{id}")).send().await
    }

    /// The event once it is as `until` says.
    pub async fn event_when(&self, id: &str, until: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let event = self.event(id).await.json(200);
            if until(&event) {
                return event;
            }
            assert!(begin.elapsed() < PATIENCE, "{event}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Endpoint {
    /// A signed delivery; `kind` and `id` are where the service does not put them into the body.
    pub fn deliver(&self, kind: &str, id: &str, body: &[u8]) -> Call {
        // Gateways hand on as bytes only what is said to be no text.
        let is_text = std::str::from_utf8(body).is_ok();
        let content_type = if is_text { "application/json" } else { "application/octet-stream" };
        let call = self.server.request("POST", &self.url).bytes(body.to_vec(), content_type);
        let sign = |text: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
            let tag = hmac::sign(&key, text);
            tag.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
        };
        match self.scheme {
            "stripe" => {
                let now = Utc::now().timestamp();
                let signature = sign(&[format!("{now}.").as_bytes(), body].concat());
                call.header("stripe-signature", &format!("t={now},v1={signature}"))
            }
            _ => call
                .header("x-github-event", kind)
                .header("x-github-delivery", id)
                .header("x-hub-signature-256", &format!("sha256={}", sign(body))),
        }
    }

    /// A signed delivery of a Stripe event.
    pub fn event(&self, event: &Value) -> Call {
        self.deliver("", "", event.to_string().as_bytes())
    }
}

/// A Stripe event about `object`, `at` seconds since 1970.
#[must_use]
pub fn stripe_event(id: &str, kind: &str, at: i64, object: &Value) -> Value {
    json!({
        "id": id, "object": "event", "type": kind, "created": at, "livemode": false,
        "data": {"object": object},
    })
}

/// A charge of 50 dollars by a customer, of which `refunded` cents were given back.
#[must_use]
pub fn charge(id: &str, status: &str, created: i64, refunded: i64) -> Value {
    let paid = status == "succeeded";
    json!({
        "id": id, "object": "charge", "amount": 5_000, "amount_captured": if paid { 5_000 } else { 0 },
        "amount_refunded": refunded, "captured": paid, "paid": paid, "status": status, "currency": "usd",
        "customer": "cus_1", "created": created, "invoice": null, "payment_intent": format!("pi_{id}"),
        "metadata": {},
    })
}
