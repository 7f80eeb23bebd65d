//! What GitHub sent to an app's webhook, which it keeps for 3 to 30 days.

use chrono::{DateTime, Utc};
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use secrecy::SecretString;
use serde_json::Value;

use super::{API, GITHUB, PAGE, assertion, call};
use crate::{
    fields,
    providers::{Answer, Cause, Client, Refusal, Service, answer::unexpected},
};

/// The same where a path names a delivery.
static DELIVERY: Service = Service {
    cause: |answer| match answer.status.as_u16() {
        404 | 410 | 422 => Some(Cause::Format),
        _ => super::cause(answer),
    },
    ..GITHUB
};

/// An app, by itself and not in an installation.
pub struct App<'a> {
    /// The app's number, or its client id.
    pub id: &'a str,
    /// What it signs with.
    pub private_key: &'a SecretString,
}

/// A page of deliveries, newest first.
pub struct Page {
    /// The deliveries; `None` stands for a row that is none.
    pub deliveries: Vec<Option<Delivery>>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// An attempt at delivering an event.
pub struct Delivery {
    /// Of this attempt.
    pub id: u64,
    /// Of the event: every attempt at delivering it has the same.
    pub guid: String,
    /// Such as `pull_request`.
    pub event: String,
    /// When the attempt was made.
    pub delivered_at: DateTime<Utc>,
}

/// What was sent with an attempt.
pub struct Sent {
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub payload: Value,
}

impl App<'_> {
    /// A page of what was sent, from the newest on or from where another one ended.
    pub async fn deliveries(
        &self,
        client: &Client,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Page, Refusal> {
        let listed = client.get(&GITHUB, API, "/app/hook/deliveries").query("per_page", &PAGE.to_string());
        let listed = cursor.into_iter().fold(listed, |listed, cursor| listed.query("cursor", cursor));
        let answer = call(listed, &assertion(self.id, self.private_key, now)?).send().await?;
        let deliveries = answer.list(&GITHUB, "")?.iter().map(Delivery::read).collect();
        Ok(Page { deliveries, next: next(&answer) })
    }

    /// What was sent with an attempt. [`Cause::Format`] if GitHub no longer has it.
    pub async fn sent(
        &self,
        client: &Client,
        delivery: &Delivery,
        now: DateTime<Utc>,
    ) -> Result<Sent, Refusal> {
        let path = format!("/app/hook/deliveries/{}", delivery.id);
        let asked = call(client.get(&DELIVERY, API, &path), &assertion(self.id, self.private_key, now)?);
        let mut answer = asked.large().send().await?;
        if answer.body["guid"] != delivery.guid.as_str() {
            return Err(unexpected(&DELIVERY, "the delivery that was asked for"));
        }
        let payload = answer.body.pointer_mut("/request/payload").map(Value::take);
        let payload =
            payload.filter(Value::is_object).ok_or_else(|| unexpected(&DELIVERY, "what it had sent"))?;
        let headers = answer.body["request"]["headers"].as_object().into_iter().flatten();
        let headers = headers.filter_map(|(name, value)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::from_str(value.as_str()?).ok()?))
        });
        Ok(Sent { headers: headers.collect(), payload })
    }
}

impl Delivery {
    fn read(row: &Value) -> Option<Self> {
        let text = |name: &str| row[name].as_str().filter(|text| fields::is_id(text)).map(str::to_owned);
        Some(Self {
            id: row["id"].as_u64()?,
            guid: text("guid")?,
            event: text("event")?,
            delivered_at: fields::timestamp(&row["delivered_at"]).ok()?,
        })
    }
}

/// The cursor in the URL of the next page. The URL itself is not followed: it would be the
/// server's choice where the token goes.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?.split(',').find(|link| link.contains("rel=\"next\""))?;
    let url: Url = link.split_once('<')?.1.split_once('>')?.0.parse().ok()?;
    let cursor = url.query_pairs().find(|(name, _)| name == "cursor")?.1.into_owned();
    (1..=256).contains(&cursor.len()).then_some(cursor)
}
