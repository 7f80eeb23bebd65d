//! SMTP: any server that takes mail for a user name and a password.
//!
//! What the usual ones want: Gmail `smtp.gmail.com` with an app password; `SendGrid`
//! `smtp.sendgrid.net`, whose user name is the word `apikey`; Amazon SES
//! `email-smtp.<region>.amazonaws.com` with SMTP credentials, which are not access keys; Mailgun
//! `smtp.mailgun.org` or `smtp.eu.mailgun.org`. All of them on port 465 or 587.

mod fault;
mod server;
mod session;
mod stream;

use chrono::{DateTime, Utc};
use lettre::{
    message::Mailbox,
    transport::smtp::commands::{Mail, Rset},
};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use self::{fault::Step, server::Tls, session::Session};
use super::{Adapter, Client, Field, Proof, Refusal};
use crate::fields::{self, Fields};

/// RFC 5321, 4.5.3.1.2.
const HOST_MAX: usize = 253;

/// A user of an SMTP server.
pub struct Smtp {
    host: String,
    port: u16,
    username: String,
    password: SecretString,
    from: Mailbox,
}

impl Adapter for Smtp {
    fn read(fields: &mut Fields) -> Option<Self> {
        let host = fields.required("host", host);
        let port = fields.required("port", port);
        let username = fields.required("username", fields::text(1, 320));
        let password = fields.required("password", password);
        let from = fields.required("from", from);
        if host == "smtp.sendgrid.net" && !username.is_empty() && username != "apikey" {
            fields.refuse("username", "must be the word apikey: SendGrid takes the key as the password");
        }
        Some(Self { host, port, username, password: password?, from: from? })
    }

    fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        vec![
            ("host", Field::plain(self.host.as_str())),
            ("port", Field::plain(self.port)),
            ("username", Field::plain(self.username.as_str())),
            ("password", Field::Hidden(&self.password)),
            ("from", Field::plain(self.from.to_string())),
        ]
    }

    /// Signs in and names the sender, which many servers tie to the user. Nothing is sent.
    async fn verify(&self, client: &Client, _now: DateTime<Utc>) -> Result<Proof, Refusal> {
        let mut session = Session::open(self, client).await?;
        session.say(Step::Sender, Mail::new(Some(self.from.email.clone()), Vec::new())).await?;
        session.say(Step::Sender, Rset).await?;
        session.close().await;
        let answer = Map::from_iter([
            ("host".to_owned(), json!(self.host)),
            ("from".to_owned(), json!(self.from.email.to_string())),
        ]);
        Ok(Proof { answer, scopes: vec![format!("MAIL FROM:<{}>", self.from.email)] })
    }
}

/// A name such as `smtp.gmail.com`. Addresses are refused, however they are written.
fn host(value: &Value) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    value
        .as_str()
        .map(|text| text.trim().to_ascii_lowercase())
        .filter(|host| host.len() <= HOST_MAX && host.contains('.') && host.split('.').all(label))
        .filter(|host| {
            host.rsplit('.').next().is_some_and(|last| !last.starts_with(|c: char| c.is_ascii_digit()))
        })
        .ok_or_else(|| "must be a host name, such as smtp.gmail.com".to_owned())
}

fn port(value: &Value) -> Result<u16, String> {
    let number = fields::integer(1, u64::from(u16::MAX))(value)?;
    u16::try_from(number)
        .ok()
        .filter(|port| Tls::of(*port).is_some())
        .ok_or_else(|| "must be 465 or 2465 (TLS), or 587, 2587, 25 or 2525 (STARTTLS)".to_owned())
}

/// Blanks within are part of it: Gmail shows app passwords in groups of four.
fn password(value: &Value) -> Result<Option<SecretString>, String> {
    fields::text(1, 512)(value).map(|text| Some(SecretString::from(text)))
}

/// `billing@example.com` or `Billing <billing@example.com>`.
fn from(value: &Value) -> Result<Option<Mailbox>, String> {
    fields::text(3, 320)(value)
        .ok()
        .and_then(|text| text.parse::<Mailbox>().ok())
        // Others could be sent only by servers that extend SMTP for them.
        .filter(|from| from.email.to_string().is_ascii())
        .map(Some)
        .ok_or_else(|| "must be an e-mail address, such as Billing <billing@example.com>".to_owned())
}
