//! Payments: every charge is a transaction, and so is what an invoice was paid outside of Stripe.
//!
//! What a charge paid for stands in its invoice. Until API version 2025-03-31 each names the other;
//! since then only `invoice_payment.paid`, payments that were expanded into the invoice, or Stripe
//! when asked tell which belong together. What a plan is called stands in the subscription. So
//! there are facts of three things: of a payment (a payment intent, or a charge without one) its
//! charges and its invoice; of an invoice what it is for and its payments; of a subscription the
//! names of its prices and the invoices that wait for one. What is learned of one is passed on to
//! those that it touches; a charge counts at once, as `other` until its invoice is known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Envelope, entity, id_of, list, lookup::Lookup, price, reference, time};
use crate::{
    Error,
    ledger::transactions::Transaction,
    time::rfc3339,
    webhooks::{
        Source,
        handle::{
            Context, Failed,
            facts::{Facts, Known},
        },
    },
};

/// Who pays without being a customer.
const GUEST: &str = "guest";
/// Stands for a payment that Stripe knows nothing of.
const OUTSIDE: &str = "outside";
/// How the ids of payments begin that Stripe only records.
const RECORDED: &str = "prec_";

/// Handles the events of payments.
pub(super) struct Payments<'a> {
    pub(super) facts: &'a Facts,
    pub(super) lookup: &'a Lookup,
    pub(super) context: &'a Context<'a>,
}

/// What is known of a payment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Payment {
    charges: BTreeMap<String, Charge>,
    paid: Option<Paid>,
}

/// How a charge stood. Of two the later one holds; of the same second, the one with more in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Charge {
    at: i64,
    state: State,
    refunded: i64,
    captured: i64,
    amount: i64,
    created: i64,
    currency: String,
    customer: Option<String>,
    tripwire: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Pending,
    Failed,
    Succeeded,
}

/// What a payment paid, as its invoice tells. The later revision of the invoice's facts holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Paid {
    invoice: String,
    revision: u32,
    subscription: bool,
    plan: Option<String>,
    customer: Option<String>,
}

/// What is known of an invoice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Invoice {
    told: Option<Told>,
    /// What its price is called, from its subscription.
    name: Option<String>,
    /// Its payments, and of those outside of Stripe how much they were.
    payments: BTreeMap<String, i64>,
}

/// What an invoice says itself. The later one holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Told {
    at: i64,
    paid: bool,
    amount: i64,
    outside: i64,
    paid_at: i64,
    currency: String,
    customer: Option<String>,
    subscription: bool,
    plan: Option<String>,
}

/// What is known of a subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Names {
    /// What prices are called.
    names: BTreeMap<String, String>,
    /// The prices of invoices whose name was not known when they came.
    waiting: BTreeMap<String, String>,
}

impl Payments<'_> {
    /// A charge, and all transactions that follow from what is known of its payment.
    pub(super) async fn charge(&self, event: &Envelope) -> Result<Vec<Transaction>, Failed> {
        let object = &event.object;
        let id = id_of(object)?;
        let charge = charge(event)?;
        let payment = reference(&object["payment_intent"]).unwrap_or(id);
        let paid = match reference(&object["invoice"]) {
            Some(invoice) => {
                let linked = |facts: &mut Invoice| {
                    facts.payments.entry(payment.to_owned()).or_default();
                };
                paid(invoice, &self.tell(invoice, event.at, linked).await?)
            }
            None => None,
        };
        let add = |facts: &mut Payment| {
            let held = facts.charges.entry(id.to_owned()).or_insert_with(|| charge.clone());
            *held = charge.clone().max(held.clone());
            facts.pays(paid.as_ref());
        };
        let known = self.tell(payment, event.at, add).await?;
        self.transactions(&known)
    }

    /// An invoice, and all transactions that follow from what is known of its payments.
    pub(super) async fn invoice(&self, event: &Envelope) -> Result<Vec<Transaction>, Failed> {
        let object = &event.object;
        let id = id_of(object)?;
        let (told, price, subscription) = told(event);
        let name = match (subscription, &price) {
            (Some(subscription), Some(price)) => self.name(event, id, &subscription, price).await?,
            _ => None,
        };
        let own = reference(&object["payment_intent"]).or_else(|| reference(&object["charge"]));
        let mut payments: Vec<_> = own.map(|payment| (payment.to_owned(), 0)).into_iter().collect();
        payments.extend(list(&object["payments"]).iter().filter_map(payment));
        let add = |payments: &[(String, i64)], facts: &mut Invoice| {
            facts.told = facts.told.take().max(Some(told.clone()));
            facts.name = name.clone().or_else(|| facts.name.take());
            facts.pays(payments);
        };
        let mut known = self.tell(id, event.at, |facts| add(&payments, facts)).await?;
        if told.paid && told.amount > 0 && told.outside == 0 && known.facts.payments.is_empty() {
            let mut payments = self.looked_up(id).await?;
            if payments.is_empty() {
                payments.push((OUTSIDE.to_owned(), told.amount));
            }
            known = self.tell(id, event.at, |facts| add(&payments, facts)).await?;
        }
        self.spread(id, &known).await
    }

    /// A payment of an invoice, and all transactions that follow from it.
    pub(super) async fn link(&self, event: &Envelope) -> Result<Vec<Transaction>, Failed> {
        let invoice = reference(&event.object["invoice"]);
        let invoice = invoice.ok_or_else(|| Failed::Permanent("`invoice` must be an id".to_owned()))?;
        let payment: Vec<_> = payment(&event.object).into_iter().collect();
        let known = self.tell(invoice, event.at, |facts: &mut Invoice| facts.pays(&payment)).await?;
        self.spread(invoice, &known).await
    }

    /// What a subscription's prices are called, and the transactions of invoices that waited for
    /// it.
    pub(super) async fn named(&self, event: &Envelope) -> Result<Vec<Transaction>, Failed> {
        let subscription = id_of(&event.object)?;
        let prices = list(&event.object["items"]).iter().map(price::priced);
        let names: Vec<_> =
            prices.filter_map(|price| Some((reference(price)?.to_owned(), price::name(price)?))).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let add = |facts: &mut Names| facts.names.extend(names.iter().cloned());
        let known = self.tell(subscription, event.at, add).await?;
        let Names { names, waiting } = &known.facts;
        let mut transactions = Vec::new();
        let mut done = Vec::new();
        for (invoice, price) in waiting {
            let Some(name) = names.get(price) else { continue };
            let add = |facts: &mut Invoice| facts.name = Some(name.clone());
            let known = self.tell(invoice, event.at, add).await?;
            transactions.extend(self.spread(invoice, &known).await?);
            done.push(invoice);
        }
        if !done.is_empty() {
            let forget = |facts: &mut Names| facts.waiting.retain(|invoice, _| !done.contains(&invoice));
            self.tell(subscription, event.at, forget).await?;
        }
        Ok(transactions)
    }

    /// What an invoice's price is called, if its subscription told so already; else the invoice
    /// waits for it.
    async fn name(
        &self,
        event: &Envelope,
        invoice: &str,
        subscription: &str,
        price: &str,
    ) -> Result<Option<String>, Failed> {
        let add = |facts: &mut Names| {
            if !facts.names.contains_key(price) {
                facts.waiting.insert(invoice.to_owned(), price.to_owned());
            }
        };
        let known = self.tell(subscription, event.at, add).await?;
        Ok(known.facts.names.get(price).cloned())
    }

    /// An invoice's payments, from Stripe.
    async fn looked_up(&self, invoice: &str) -> Result<Vec<(String, i64)>, Failed> {
        match self.lookup.invoice_payments(invoice, self.context.now).await {
            Ok(payments) => Ok(payments.iter().filter_map(payment).collect()),
            // The other way needs no key: then this event is repeated after that one.
            Err(Failed::Transient(Error::NotConfigured { service, .. })) => {
                let missing = vec!["the event invoice_payment.paid, or STRIPE_API_KEY"];
                Err(Failed::Transient(Error::NotConfigured { service, missing }))
            }
            Err(failed) => Err(failed),
        }
    }

    /// Passes what is known of an invoice on to its payments.
    async fn spread(&self, id: &str, known: &Known<Invoice>) -> Result<Vec<Transaction>, Failed> {
        let Some(paid) = paid(id, known) else { return Ok(Vec::new()) };
        let mut transactions = Vec::new();
        for payment in known.facts.payments.keys().filter(|payment| !is_outside(payment)) {
            let add = |facts: &mut Payment| facts.pays(Some(&paid));
            let known = self.tell(payment, known.latest, add).await?;
            transactions.extend(self.transactions(&known)?);
        }
        transactions.extend(self.outside(id, known, &paid)?);
        Ok(transactions)
    }

    /// The transactions of a payment.
    fn transactions(&self, known: &Known<Payment>) -> Result<Vec<Transaction>, Failed> {
        let Payment { charges, paid } = &known.facts;
        let subscription = paid.as_ref().filter(|paid| paid.subscription);
        let customer = paid.as_ref().and_then(|paid| paid.customer.as_deref());
        let settled = charges.iter().filter(|(_, charge)| charge.settled());
        settled
            .map(|(id, charge)| {
                let failed = charge.state == State::Failed;
                let kind = match subscription {
                    Some(_) => "subscription",
                    None if charge.tripwire => "tripwire",
                    None => "other",
                };
                let fields = json!({
                    "id": id,
                    "kind": kind,
                    "plan": subscription.and_then(|paid| paid.plan.as_deref()),
                    "customer": charge.customer.as_deref().or(customer).unwrap_or(GUEST),
                    "amount": if failed { charge.amount } else { charge.captured },
                    // What was authorised and not captured is given back too, but never came.
                    "refunded": if failed { 0 } else { charge.refunded.min(charge.captured) },
                    "currency": charge.currency,
                    "status": if failed { "failed" } else { "succeeded" },
                    "occurred_at": time(&charge.created.into()),
                    "updated_at": rfc3339(known.updated_at()),
                });
                entity(self.context, fields)
            })
            .collect()
    }

    /// The transaction of what an invoice was paid outside of Stripe.
    fn outside(&self, id: &str, known: &Known<Invoice>, paid: &Paid) -> Result<Option<Transaction>, Failed> {
        let Some(told) = &known.facts.told else { return Ok(None) };
        let outside = known.facts.payments.iter().filter(|(payment, _)| is_outside(payment));
        let listed: i64 = outside.map(|(_, amount)| *amount).sum();
        let amount = if told.outside > 0 { told.outside } else { listed };
        if !told.paid || amount == 0 {
            return Ok(None);
        }
        let fields = json!({
            "id": id,
            "kind": if paid.subscription { "subscription" } else { "other" },
            "plan": paid.plan.as_deref().filter(|_| paid.subscription),
            "customer": paid.customer.as_deref().unwrap_or(GUEST),
            "amount": amount,
            "currency": told.currency,
            "status": "succeeded",
            "occurred_at": time(&told.paid_at.into()),
            "updated_at": rfc3339(known.updated_at()),
        });
        entity(self.context, fields).map(Some)
    }

    async fn tell<T>(&self, of: &str, at: i64, add: impl Fn(&mut T)) -> Result<Known<T>, Failed>
    where
        T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
    {
        Ok(self.facts.tell(self.context.workspace, Source::Stripe, of, at, add).await?)
    }
}

impl Payment {
    fn pays(&mut self, paid: Option<&Paid>) {
        self.paid = self.paid.take().max(paid.cloned());
    }
}

impl Invoice {
    fn pays(&mut self, payments: &[(String, i64)]) {
        for (payment, amount) in payments {
            let held = self.payments.entry(payment.clone()).or_default();
            *held = (*held).max(*amount);
        }
    }
}

impl Charge {
    /// Whether it is known how it ended. What is only authorised has not ended.
    fn settled(&self) -> bool {
        match self.state {
            State::Pending => false,
            State::Failed => true,
            State::Succeeded => self.captured > 0,
        }
    }
}

fn charge(event: &Envelope) -> Result<Charge, Failed> {
    let object = &event.object;
    let whole = |field: &str| {
        let number = object[field].as_i64().filter(|number| *number >= 0);
        number.ok_or_else(|| Failed::Permanent(format!("`{field}` of the charge must be a whole number")))
    };
    let amount = whole("amount")?;
    let state = match object["status"].as_str() {
        Some("succeeded") => State::Succeeded,
        Some("failed") => State::Failed,
        _ => State::Pending,
    };
    let captured = match object["amount_captured"].as_i64() {
        Some(captured) => captured,
        None if object["captured"] == json!(false) => 0,
        None => amount,
    };
    Ok(Charge {
        at: event.at,
        state,
        refunded: object["amount_refunded"].as_i64().unwrap_or_default(),
        captured,
        amount,
        created: whole("created")?,
        currency: object["currency"].as_str().unwrap_or_default().to_owned(),
        customer: reference(&object["customer"]).map(ToOwned::to_owned),
        tripwire: object["metadata"]["kind"] == json!("tripwire"),
    })
}

/// What an invoice says; and where the name of its plan stands elsewhere, its price and its
/// subscription.
fn told(event: &Envelope) -> (Told, Option<String>, Option<String>) {
    let object = &event.object;
    let whole = |field: &str| object[field].as_i64().unwrap_or_default().max(0);
    let line = line(object);
    let subscription = [
        &object["subscription"],
        &object["parent"]["subscription_details"]["subscription"],
        &line["subscription"],
        &line["parent"]["subscription_item_details"]["subscription"],
    ];
    let subscription = subscription.into_iter().find_map(reference).map(ToOwned::to_owned);
    let paid = object["status"] == json!("paid") || object["paid"] == json!(true);
    let amount = whole("amount_paid");
    let outside = match object["paid_out_of_band"] == json!(true) {
        true if amount > 0 => amount,
        true => whole("amount_due"),
        false => whole("amount_paid_off_stripe"),
    };
    let price = price_of(line);
    let told = Told {
        at: event.at,
        paid,
        amount,
        outside,
        paid_at: object["status_transitions"]["paid_at"].as_i64().unwrap_or(event.at),
        currency: object["currency"].as_str().unwrap_or_default().to_owned(),
        customer: reference(&object["customer"]).map(ToOwned::to_owned),
        subscription: subscription.is_some(),
        plan: price::plan(&price),
    };
    let nameless = price::name(&price).is_none();
    (told, reference(&price).filter(|_| nameless).map(ToOwned::to_owned), subscription)
}

/// The line that says what an invoice is for: the first of a subscription that is no proration.
fn line(invoice: &Value) -> &Value {
    let lines = list(&invoice["lines"]);
    let proration = |line: &Value| {
        let parent = &line["parent"];
        let details = ["subscription_item_details", "invoice_item_details"];
        line["proration"] == json!(true)
            || details.iter().any(|details| parent[*details]["proration"] == json!(true))
    };
    let recurs = |line: &Value| {
        line["type"] == json!("subscription") || line["parent"]["type"] == json!("subscription_item_details")
    };
    let found = lines.iter().find(|line| recurs(line) && !proration(line));
    let found = found.or_else(|| lines.iter().find(|line| !proration(line)));
    found.or(lines.first()).unwrap_or(&Value::Null)
}

/// The price of a line, as far as it says.
fn price_of(line: &Value) -> Value {
    let details = &line["pricing"]["price_details"];
    match (&line["price"], &line["plan"]) {
        (price, _) if price.is_object() => price.clone(),
        (_, plan) if plan.is_object() => plan.clone(),
        _ if details["price"].is_object() => details["price"].clone(),
        _ => json!({"id": details["price"], "product": details["product"]}),
    }
}

/// What a payment of an invoice is, and how much if it is outside of Stripe.
fn payment(link: &Value) -> Option<(String, i64)> {
    let payment = &link["payment"];
    let own = ["payment_intent", "charge"].iter().find_map(|field| reference(&payment[*field]));
    if let Some(own) = own {
        return Some((own.to_owned(), 0));
    }
    let recorded = reference(&payment["payment_record"])?;
    let amount = link["amount_paid"].as_i64().or_else(|| link["amount_requested"].as_i64());
    Some((recorded.to_owned(), amount.unwrap_or_default().max(0)))
}

fn is_outside(payment: &str) -> bool {
    payment == OUTSIDE || payment.starts_with(RECORDED)
}

/// What an invoice's payments paid, once it has said so.
fn paid(invoice: &str, known: &Known<Invoice>) -> Option<Paid> {
    let told = known.facts.told.as_ref()?;
    Some(Paid {
        invoice: invoice.to_owned(),
        revision: known.revision,
        subscription: told.subscription,
        plan: known.facts.name.clone().or_else(|| told.plan.clone()),
        customer: told.customer.clone(),
    })
}
