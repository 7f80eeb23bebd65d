//! The company: who its customers are, what they do from day to day, and what that comes to.
//!
//! All of it follows from the seed. The truth is kept beside the events, by who pays what, and not
//! computed from them.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::{
    number,
    stripe::{self, Agreement, Payment, Shape},
};

const DAY: i64 = 86_400;
const MONTH: i64 = 30 * DAY;
const YEAR: i64 = 365 * DAY;
/// Customers at the beginning, and those who come in a month.
const FIRST_CUSTOMERS: u32 = 6;
const CUSTOMERS_A_MONTH: u32 = 8;
/// Name, a month's price and a month's price of those who pay by the year, in minor units.
const PLANS: [(&str, i64, i64); 3] =
    [("starter", 2_900, 2_320), ("growth", 7_900, 6_320), ("scale", 19_900, 15_920)];
/// What new customers may have off, in percent; it leaves whole minor units of every price.
const WELCOME: i64 = 25;
const AFFILIATES: [&str; 6] = ["ada", "grace", "linus", "margaret", "dennis", "barbara"];
const REPOSITORIES: [&str; 3] = ["demo/app", "demo/api", "demo/site"];

/// Which service tells.
#[derive(Clone, Copy)]
pub(super) enum Via {
    Stripe,
    /// With the name of the event.
    Github(&'static str),
    /// With the topic.
    Shopify(&'static str),
    Devops,
}

/// An event as it is sent.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) via: Via,
    pub(super) id: String,
    pub(super) body: String,
    /// When it happened; deliveries are in this order, but for some.
    at: i64,
}

/// What must be true in the end, in minor units.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Truth {
    /// Revenue by currency and kind, and recurring revenue by currency.
    revenue: BTreeMap<(String, &'static str), i64>,
    active: i64,
    users: i64,
    commissions: BTreeMap<String, i64>,
}

/// All that happened.
pub(super) struct Company {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) users: Vec<Value>,
    pub(super) commissions: Vec<Value>,
    pub(super) truth: Truth,
}

impl Company {
    /// The company of this seed, in these months before `until`; what it sold is told as of `now`.
    pub(super) fn of(seed: u64, months: u32, until: i64, now: i64) -> Self {
        let begin = until - i64::from(months) * MONTH;
        let tag = format!("demo{seed}d{}", until / DAY);
        let mut life = Life {
            random: Random(seed ^ 0x51DE_6A7E),
            tag,
            begin,
            until,
            now,
            count: 0,
            made: Self {
                deliveries: Vec::new(),
                users: Vec::new(),
                commissions: Vec::new(),
                truth: Truth::default(),
            },
        };
        for number in 0..FIRST_CUSTOMERS + months * CUSTOMERS_A_MONTH {
            life.customer(number);
        }
        for month in 0..i64::from(months) {
            life.sales(begin + month * MONTH);
            life.repositories(begin + month * MONTH);
            life.operations(begin + month * MONTH);
        }
        life.made.deliveries.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
        life.disturb();
        life.made
    }
}

/// The company while it lives.
struct Life {
    random: Random,
    /// In all ids.
    tag: String,
    begin: i64,
    until: i64,
    now: i64,
    /// Of events so far.
    count: u64,
    made: Company,
}

impl Life {
    /// Somebody who subscribes.
    fn customer(&mut self, number: u32) {
        let days = u64::try_from((self.until - self.begin) / DAY).unwrap_or_default();
        let began = self.begin + self.random.below(days) * DAY + self.random.below(80_000);
        let place = usize::try_from(self.random.below(3)).unwrap_or_default();
        let yearly = self.random.percent(20);
        let trial = self.random.percent(40).then_some(began + 14 * DAY);
        let mut agreement = Agreement {
            id: format!("sub_{}x{number}", self.tag),
            customer: format!("cus_{}x{number}", self.tag),
            plan: PLANS[place].0,
            unit_amount: price(place, yearly),
            quantity: 1 + self.random.below(5),
            yearly,
            currency: if self.random.percent(30) { "eur" } else { "usd" },
            percent_off: if self.random.percent(15) { WELCOME } else { 0 },
            began,
            trial_end: trial,
        };
        let affiliate = self.random.percent(25).then(|| *self.random.pick(&AFFILIATES));
        self.subscription(
            "created",
            began,
            &agreement,
            if trial.is_some() { "trialing" } else { "incomplete" },
            None,
        );
        let status = self.live(&mut agreement, place, affiliate);
        // A trial whose end has come since is counted as paid for, until Stripe says how it ended.
        let over = status == "trialing" && agreement.trial_end.is_some_and(|end| end <= self.now);
        if over || matches!(status, "active" | "past_due") {
            self.made.truth.active += 1;
            self.made.truth.add(agreement.currency, "monthly_recurring_revenue", agreement.monthly());
        }
        for user in 0..=self.random.below(3) {
            let id = format!("user_{}x{number}u{user}", self.tag);
            self.made.truth.users += 1;
            self.made.users.push(json!({
                "id": id, "username": format!("{}{number}_{user}", self.tag), "signed_up_at": time(began),
                "role": if user == 0 { "owner" } else { "member" }, "updated_at": time(self.until),
                "status": if status == "canceled" { "inactive" } else { "active" },
            }));
        }
    }

    /// From the first payment to the end, or until now; how the subscription stands then.
    fn live(
        &mut self,
        agreement: &mut Agreement,
        mut place: usize,
        affiliate: Option<&'static str>,
    ) -> &'static str {
        let mut at = agreement.trial_end.unwrap_or(agreement.began);
        if at >= self.until {
            return "trialing";
        }
        if agreement.trial_end.is_some() && self.random.percent(20) {
            self.subscription("deleted", at, agreement, "canceled", Some(at));
            return "canceled";
        }
        self.subscription("updated", at, agreement, "active", None);
        let mut period = 0;
        while at < self.until {
            let payment = Payment {
                charge: format!("ch_{}p{period}", agreement.id),
                intent: format!("pi_{}p{period}", agreement.id),
                invoice: format!("in_{}p{period}", agreement.id),
                at,
            };
            if self.random.percent(7) {
                match self.retry(agreement, payment) {
                    (Some(paid), _) => self.paid(agreement, &paid, affiliate),
                    (None, status) => return status,
                }
            } else {
                self.paid(agreement, &payment, affiliate);
            }
            let next = at + if agreement.yearly { YEAR } else { MONTH };
            if self.random.percent(4) && next - 60 < self.until {
                self.subscription("deleted", next - 60, agreement, "canceled", Some(next - 60));
                return "canceled";
            }
            let upgrade = at + 10 * DAY;
            if place + 1 < PLANS.len() && self.random.percent(5) && upgrade < self.until {
                place += 1;
                agreement.plan = PLANS[place].0;
                agreement.unit_amount = price(place, agreement.yearly);
                self.subscription("updated", upgrade, agreement, "active", None);
            }
            at = next;
            period += 1;
        }
        "active"
    }

    /// A payment that is refused first: the one that then succeeds, or how it ends without.
    fn retry(&mut self, agreement: &Agreement, refused: Payment) -> (Option<Payment>, &'static str) {
        let at = refused.at;
        let shape = self.shape(at);
        self.stripe("charge.failed", at, &refused.object(shape, agreement, false, 0));
        self.stripe("invoice.payment_failed", at, &agreement.invoice(shape, &refused, false));
        self.subscription("updated", at + 1, agreement, "past_due", None);
        let (again, given_up) = (at + 3 * DAY, at + 10 * DAY);
        if self.random.percent(80) {
            if again >= self.until {
                return (None, "past_due");
            }
            self.subscription("updated", again, agreement, "active", None);
            let paid = Payment { charge: format!("{}b", refused.charge), at: again, ..refused };
            return (Some(paid), "active");
        }
        if given_up >= self.until {
            return (None, "past_due");
        }
        self.subscription("deleted", given_up, agreement, "canceled", Some(given_up));
        (None, "canceled")
    }

    /// A payment that succeeds, and what follows from it.
    fn paid(&mut self, agreement: &Agreement, payment: &Payment, affiliate: Option<&'static str>) {
        let (at, amount) = (payment.at, agreement.price());
        let shape = self.shape(at);
        self.stripe("charge.succeeded", at, &payment.object(shape, agreement, true, 0));
        if shape == Shape::New {
            self.stripe("invoice_payment.paid", at, &payment.link(amount));
        }
        let invoice = agreement.invoice(shape, payment, true);
        self.stripe("invoice.paid", at, &invoice);
        self.stripe("invoice.payment_succeeded", at, &invoice);
        let mut net = amount;
        let back = at + 2 * DAY;
        if self.random.percent(4) && back + 1 < self.until {
            let half = amount / 2;
            let shape = self.shape(back);
            self.stripe("charge.refunded", back, &payment.object(shape, agreement, true, half));
            net -= half;
            if self.random.percent(40) {
                self.stripe("charge.refunded", back, &payment.object(shape, agreement, true, amount));
                net = 0;
            }
        }
        self.sold(agreement.currency, "subscription_revenue", net);
        if let Some(affiliate) = affiliate {
            let gold = agreement.plan == "scale";
            let earned = amount * if gold { 20 } else { 10 } / 100;
            *self.made.truth.commissions.entry(agreement.currency.to_uppercase()).or_default() += earned;
            self.made.commissions.push(json!({
                "id": format!("com_{}", payment.charge), "username": affiliate, "amount": earned,
                "tier": if gold { "gold" } else { "silver" }, "currency": agreement.currency,
                "transaction": payment.charge, "occurred_at": time(at), "updated_at": time(at),
            }));
        }
    }

    /// What is sold once, in a month: offers, services, and what the shop sells.
    fn sales(&mut self, month: i64) {
        for sale in 0..6 {
            let at = month + self.random.below(29) * DAY + self.random.below(80_000);
            let id = format!("ch_{}s{}n{sale}", self.tag, month / DAY);
            let offer = sale < 4;
            let amount = if offer { 2_700 } else { 50_000 };
            let mut charge = stripe::charge(&id, amount, "usd", at, true, 0);
            if offer {
                charge["metadata"] = json!({"kind": "tripwire"});
            }
            self.stripe("charge.succeeded", at, &charge);
            self.sold("usd", if offer { "tripwire_revenue" } else { "other_revenue" }, amount);
        }
        for order in 0..8 {
            let at = month + self.random.below(26) * DAY + self.random.below(80_000);
            let id = (u64::try_from(month / DAY).unwrap_or_default() * 100 + order) * 1_000_000
                + u64::from(crc32fast::hash(self.tag.as_bytes())) % 1_000_000;
            let amount = 1_500 + self.random.below(12_000);
            self.order("orders/create", id, at, "pending", amount);
            self.order("orders/paid", id, at + 60, "paid", amount);
            let mut net = amount;
            if self.random.percent(10) {
                let part = amount / 3;
                let refund = json!({
                    "id": id + 1_000, "order_id": id, "created_at": time(at + DAY),
                    "transactions": [{"kind": "refund", "status": "success", "amount": major(part), "currency": "USD"}],
                });
                self.tell(Via::Shopify("refunds/create"), at + DAY, refund.to_string());
                net -= part;
            }
            self.sold("usd", "other_revenue", net);
        }
    }

    fn order(&mut self, topic: &'static str, id: u64, at: i64, status: &str, amount: i64) {
        let total = json!({"amount": major(amount), "currency_code": "USD"});
        let order = json!({
            "id": id, "test": false, "financial_status": status, "currency": "USD", "total_price": major(amount),
            "total_price_set": {"shop_money": total, "presentment_money": total}, "refunds": [],
            "created_at": time(at), "processed_at": time(at), "updated_at": time(at), "customer": {"id": id / 7},
        });
        self.tell(Via::Shopify(topic), at, order.to_string());
    }

    /// What developers do in a month.
    fn repositories(&mut self, month: i64) {
        for step in 0..30 {
            let at = month + self.random.below(29) * DAY + self.random.below(80_000);
            let repository = json!({"full_name": self.random.pick(&REPOSITORIES)});
            let number = (month - self.begin) / DAY * 10 + step;
            let (kind, body) = match step % 10 {
                0..=4 => {
                    ("push", json!({"ref": "refs/heads/main", "commits": [{}, {}], "repository": repository}))
                }
                5 => (
                    "pull_request",
                    json!({"action": "opened", "pull_request": {"number": number, "merged": false}, "repository": repository}),
                ),
                6 => (
                    "pull_request",
                    json!({"action": "closed", "pull_request": {"number": number - 1, "merged": true}, "repository": repository}),
                ),
                7 => (
                    "issues",
                    json!({"action": "opened", "issue": {"number": number}, "repository": repository}),
                ),
                8 => (
                    "issues",
                    json!({"action": "closed", "issue": {"number": number - 1}, "repository": repository}),
                ),
                _ => (
                    "release",
                    json!({"action": "published", "release": {"tag_name": format!("v1.{number}")}, "repository": repository}),
                ),
            };
            self.tell(Via::Github(kind), at, body.to_string());
        }
    }

    /// What operations tell in a month.
    fn operations(&mut self, month: i64) {
        for day in 0..30 {
            let at = month + day * DAY + self.random.below(80_000);
            let (response, errors) = (80 + self.random.below(90), self.random.below(40));
            self.report("health", at, &json!({"uptime": 99.9, "response_ms": response, "error_rate": major(errors).parse::<f64>().unwrap_or_default(), "timestamp": time(at)}));
            if day % 4 == 0 {
                let seconds = 40 + self.random.below(120);
                let version = format!("1.{}.{}", (month - self.begin) / MONTH, day / 4);
                let status = if self.random.percent(90) { "success" } else { "failed" };
                self.report("deployment", at + 600, &json!({"environment": "production", "version": version, "status": status, "deployTime": seconds, "timestamp": time(at + 600)}));
            }
            if self.random.percent(10) {
                let p99 = 1_000 + self.random.below(4_000);
                let severity = *self.random.pick(&["info", "warning", "error", "critical"]);
                self.report("alert", at + 900, &json!({"severity": severity, "message": "answers were slow", "details": {"p99_ms": p99}, "timestamp": time(at + 900)}));
            }
        }
    }

    fn report(&mut self, kind: &str, at: i64, data: &Value) {
        let body = json!({"type": kind, "id": format!("{}o{}", self.tag, self.count), "data": data});
        self.tell(Via::Devops, at, body.to_string());
    }

    fn subscription(&mut self, what: &str, at: i64, agreement: &Agreement, status: &str, ended: Option<i64>) {
        let object = agreement.object(self.shape(at), status, ended);
        self.stripe(&format!("customer.subscription.{what}"), at, &object);
    }

    fn stripe(&mut self, kind: &str, at: i64, object: &Value) {
        let id = format!("evt_{}n{}", self.tag, self.count);
        self.tell(Via::Stripe, at, stripe::event(&id, kind, at, self.shape(at), object));
    }

    fn tell(&mut self, via: Via, at: i64, body: String) {
        let id = format!("{}n{:06}", self.tag, self.count);
        self.count += 1;
        self.made.deliveries.push(Delivery { via, id, body, at });
    }

    fn sold(&mut self, currency: &str, kind: &'static str, net: i64) {
        self.made.truth.add(currency, kind, net);
        self.made.truth.add(currency, "total_revenue", net);
    }

    /// The endpoint's API version was upgraded half-way.
    fn shape(&self, at: i64) -> Shape {
        if at < i64::midpoint(self.begin, self.until) { Shape::Old } else { Shape::New }
    }

    /// What networks do: some of it comes twice, some of it late.
    fn disturb(&mut self) {
        let deliveries = &mut self.made.deliveries;
        for at in 0..deliveries.len().saturating_sub(10) {
            let ahead = at + 1 + usize::try_from(self.random.below(9)).unwrap_or_default();
            if self.random.percent(12) {
                deliveries.swap(at, ahead);
            }
            if self.random.percent(4) {
                let again = deliveries[at].clone();
                deliveries.insert(ahead, again);
            }
        }
    }
}

impl Truth {
    fn add(&mut self, currency: &str, kind: &'static str, amount: i64) {
        *self.revenue.entry((currency.to_uppercase(), kind)).or_default() += amount;
    }

    /// What the server tells, in the same terms.
    pub(super) fn served([revenue, users, commissions]: &[Value; 3]) -> Self {
        let mut served = Self {
            active: whole(&revenue["active_subscriptions"]),
            users: whole(&users["total_users"]),
            ..Self::default()
        };
        let kinds = [
            "total_revenue",
            "subscription_revenue",
            "tripwire_revenue",
            "other_revenue",
            "monthly_recurring_revenue",
        ];
        for (currency, of_currency) in revenue["by_currency"].as_object().into_iter().flatten() {
            for kind in kinds {
                served.add(currency, kind, minor(&of_currency[kind]));
            }
        }
        served.revenue.retain(|_, amount| *amount != 0);
        for (currency, amount) in commissions["by_currency"].as_object().into_iter().flatten() {
            served.commissions.insert(currency.clone(), minor(amount));
        }
        served
    }

    /// Each figure by its name, as people read it.
    pub(super) fn figures(&self) -> BTreeMap<String, String> {
        let revenue = self.revenue.iter();
        let revenue =
            revenue.map(|((currency, kind), amount)| (format!("{currency} {kind}"), major(*amount)));
        let commissions = self.commissions.iter();
        let commissions =
            commissions.map(|(currency, amount)| (format!("{currency} total_commissions"), major(*amount)));
        let counts = [("active_subscriptions", self.active), ("total_users", self.users)];
        let counts = counts.map(|(name, count)| (name.to_owned(), count.to_string()));
        revenue.chain(commissions).chain(counts).collect()
    }
}

fn price(place: usize, yearly: bool) -> i64 {
    let (_, month, month_of_year) = PLANS[place];
    if yearly { 12 * month_of_year } else { month }
}

fn time(at: i64) -> String {
    DateTime::from_timestamp(at, 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Minor units of a currency with two decimals, as text.
fn major(amount: i64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

/// A number of the API's as minor units of a currency with two decimals.
#[expect(clippy::cast_possible_truncation, reason = "a demo earns less than 2^53 minor units")]
fn minor(value: &Value) -> i64 {
    (number(value) * 100.0).round() as i64
}

fn whole(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): the same numbers everywhere, which a company that is
/// made up again needs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `end`.
    fn below(&mut self, end: u64) -> i64 {
        i64::try_from(self.next() % end.max(1)).unwrap_or_default()
    }

    fn percent(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: i64 = 1_795_219_200;

    #[test]
    fn the_same_seed_makes_the_same_company() {
        let sent = |seed| {
            let company = Company::of(seed, 3, UNTIL, UNTIL);
            let sent = company.deliveries.into_iter().map(|delivery| (delivery.id, delivery.body));
            (sent.collect::<Vec<_>>(), company.truth)
        };
        assert_eq!(sent(7), sent(7));
        assert_ne!(sent(7).1, sent(8).1);
    }

    #[test]
    fn a_year_has_everything_that_happens_to_companies() {
        let company = Company::of(1, 12, UNTIL, UNTIL);
        let all: String = company.deliveries.iter().map(|delivery| delivery.body.as_str()).collect();
        for told in [
            "customer.subscription.deleted",
            "charge.failed",
            "charge.refunded",
            "invoice_payment.paid",
            "\"trialing\"",
            "\"past_due\"",
            "\"year\"",
            "\"eur\"",
            "welcome",
            "tripwire",
            "2020-08-27",
            "2026-10-28.endive",
        ] {
            assert!(all.contains(told), "{told}");
        }
        let ids: std::collections::BTreeSet<_> =
            company.deliveries.iter().map(|delivery| &delivery.id).collect();
        assert!(ids.len() < company.deliveries.len(), "none comes twice");
        let late = company.deliveries.windows(2).filter(|pair| pair[0].at > pair[1].at).count();
        assert!(late > 50, "none comes late");
        assert!(company.deliveries.iter().all(|delivery| delivery.at < UNTIL), "something is yet to happen");
        assert!(company.truth.active > 20, "{:?}", company.truth);
    }
}
