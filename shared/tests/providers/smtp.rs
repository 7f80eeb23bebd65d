//! Handing in mail: to whom a password is said, and what a server that misbehaves amounts to.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use shared::{
    providers::{Cause, Credential, Proof, Provider, Refusal},
    time,
};
use tokio::task::JoinSet;

use crate::{
    client,
    smtp_fake::{Certificate, Character, Fault, PASSWORD, Server, Tls, USERNAME, authority},
};

/// What a verification may take: its own ten seconds, and what a busy machine adds.
const TIME_MAX: Duration = Duration::from_secs(12);
/// A line that announces another one.
const LINE: &str =
    concat!("220-", "0123456789012345678901234567890123456789012345678901234567890123456789", "\r\n");
/// Beyond what is read: what sockets hold.
const SENT_MAX_BYTES: usize = 16 << 20;

fn value() -> Value {
    json!({
        "host": "smtp.acme.example", "port": 587, "username": USERNAME, "password": PASSWORD,
        "from": "Acme <billing@acme.example>",
    })
}

async fn verify(value: Value, server: &Server, tls: Tls) -> Result<Proof, Refusal> {
    let url = match tls {
        Tls::Implicit => format!("smtps://localhost:{}", server.port),
        Tls::Starttls => format!("smtp://localhost:{}?tls=required", server.port),
        Tls::Never => format!("smtp://localhost:{}", server.port),
    };
    let credential = Credential::parse(Provider::Smtp, "credential", value).ok().unwrap();
    credential.verify(&client("smtp", &url).trusting(authority()), time::now()).await
}

#[tokio::test]
async fn a_user_is_proven_without_sending_anything() {
    let offers: &[_] = &["AUTH LOGIN"];
    for (case, character) in [
        ("STARTTLS", Character::GOOD),
        ("TLS from the first byte", Character { tls: Tls::Implicit, ..Character::GOOD }),
        ("in the clear, on this machine", Character { tls: Tls::Never, ..Character::GOOD }),
        ("the older sign-in only", Character { offers, ..Character::GOOD }),
        ("no farewell", Character { fault: Some(("QUIT", Fault::Close)), ..Character::GOOD }),
    ] {
        let server = Server::start(character).await;
        let proof = verify(value(), &server, character.tls).await;
        let proof = proof.unwrap_or_else(|refusal| panic!("{case}: {refusal:?}"));
        let answer = json!({"host": "smtp.acme.example", "from": "billing@acme.example"});
        assert_eq!(Value::Object(proof.answer), answer, "{case}");
        assert_eq!(proof.scopes, ["MAIL FROM:<billing@acme.example>"], "{case}");
        let heard = server.heard();
        assert!(
            !heard.iter().any(|line| line.contains("RCPT") || line.contains("DATA")),
            "{case}: {heard:?}"
        );
        assert!(heard.last().unwrap().ends_with("QUIT"), "{case}: {heard:?}");
        let signed_in = heard.iter().find(|line| line.contains("AUTH")).unwrap();
        assert_eq!(signed_in.starts_with("sealed"), character.tls != Tls::Never, "{case}: {heard:?}");
    }
}

#[tokio::test]
async fn a_password_is_said_to_the_right_server_by_an_encrypted_connection_only() {
    let good = Character::GOOD;
    let implicit = Character { tls: Tls::Implicit, ..good };
    let never = Character { tls: Tls::Never, ..good };
    let of = |certificate, character| Character { certificate, ..character };
    let told = |word, text| Character { fault: Some((word, Fault::Say(text))), ..good };
    // What one who sits in between would have the client take for the server's own words.
    let injected = "220 go on\r\n250-mail.example\r\n250 AUTH PLAIN\r\n235 welcome\r\n250 ok\r\n250 ok\r\n";
    for (case, character, tls, says) in [
        ("no STARTTLS offered", never, Tls::Starttls, "no STARTTLS"),
        ("STARTTLS refused", told("STARTTLS", "454 4.7.0 not now\r\n"), Tls::Starttls, "not now"),
        ("replies slipped in", told("STARTTLS", injected), Tls::Starttls, "TLS"),
        ("another name", of(Certificate::OtherName, good), Tls::Starttls, "another name"),
        ("another name at once", of(Certificate::OtherName, implicit), Tls::Implicit, "another name"),
        ("expired", of(Certificate::Expired, good), Tls::Starttls, "expired"),
        ("expired at once", of(Certificate::Expired, implicit), Tls::Implicit, "expired"),
        ("unknown authority", of(Certificate::OfAStranger, good), Tls::Starttls, "authority"),
        ("unknown authority at once", of(Certificate::OfAStranger, implicit), Tls::Implicit, "authority"),
        ("in the clear where TLS begins at once", never, Tls::Implicit, "another kind of connection"),
    ] {
        let server = Server::start(character).await;
        let refusal = verify(value(), &server, tls).await.expect_err(case);
        let limited = refusal.message.contains("4.7.0");
        let cause = if limited { Cause::RateLimited } else { Cause::Provider };
        assert_eq!(refusal.cause, cause, "{case}: {refusal:?}");
        assert!(refusal.message.contains(says), "{case}: {refusal:?}");
        let heard = server.heard();
        assert!(!heard.iter().any(|line| line.contains("AUTH")), "{case}: {heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_is_told_by_its_cause_in_bounded_time_and_memory() {
    use Fault::{Close, Endless, Hang, Repeat, RepeatPassword, Say};
    let says = |text| Say(text);
    let mut cases = JoinSet::new();
    for (case, at, fault, cause, message) in [
        ("wrong password", "AUTH", says("535 5.7.8 not accepted\r\n"), Cause::Auth, "5.7.8 not accepted"),
        ("too weak a sign-in", "AUTH", says("534 5.7.9 app password\r\n"), Cause::Auth, "app password"),
        ("repeats all it got", "AUTH", Repeat, Cause::Auth, "refuses the user name"),
        ("repeats the password", "AUTH", RepeatPassword, Cause::Auth, "refuses the user name"),
        ("too many sign-ins", "AUTH", says("454 4.7.0 too many\r\n"), Cause::RateLimited, "too many"),
        ("a fault of its own", "AUTH", says("451 4.3.0 try later\r\n"), Cause::Provider, "try later"),
        ("questions without end", "AUTH", says("334 VXNlcm5hbWU6\r\n"), Cause::Provider, ""),
        ("not from there", "MAIL", says("553 5.7.1 not owned\r\n"), Cause::Scope, "from the address"),
        ("full", "", says("421 4.3.2 too busy\r\n"), Cause::Provider, "too busy"),
        ("turns us away", "", says("554 5.7.1 no\r\n"), Cause::Provider, "5.7.1"),
        ("not SMTP", "", says("HTTP/1.1 400 Bad Request\r\n\r\n"), Cause::Provider, "SMTP server"),
        ("not text", "", says("220 \u{fffd}\r\n2\r\n"), Cause::Provider, ""),
        ("an answer of many lines", "EHLO", says("250-a\r\n999 b\r\n"), Cause::Provider, "SMTP server"),
        ("silent", "", Hang, Cause::Network, "did not answer"),
        ("silent when greeted", "EHLO", Hang, Cause::Network, "did not answer"),
        ("silent at the handshake", "TLS", Hang, Cause::Network, "did not answer"),
        ("silent at sign-in", "AUTH", Hang, Cause::Network, "did not answer"),
        ("silent at the end", "RSET", Hang, Cause::Network, "did not answer"),
        ("leaves", "", Close, Cause::Provider, ""),
        ("leaves at sign-in", "AUTH", Close, Cause::Network, "broke off"),
        ("a line without end", "", Endless("220"), Cause::Provider, ""),
        ("lines without end", "", Endless(LINE), Cause::Provider, ""),
        ("a line without end at sign-in", "AUTH", Endless("2"), Cause::Provider, ""),
    ] {
        cases.spawn(async move {
            let server = Server::start(Character { fault: Some((at, fault)), ..Character::GOOD }).await;
            let begin = Instant::now();
            let refusal = verify(value(), &server, Tls::Starttls).await.expect_err(case);
            assert_eq!(refusal.cause, cause, "{case}: {refusal:?}");
            assert!(refusal.message.contains(message), "{case}: {refusal:?}");
            assert!(begin.elapsed() < TIME_MAX, "{case}: {:?}", begin.elapsed());
            assert!(server.sent() < SENT_MAX_BYTES, "{case}: {} bytes", server.sent());
            let shown = format!("{refusal:?}");
            let plain = STANDARD.encode(format!("\0{USERNAME}\0{PASSWORD}"));
            for secret in [PASSWORD, &STANDARD.encode(PASSWORD), &plain[plain.len() / 2..]] {
                assert!(!shown.contains(secret), "{case}: {shown}");
            }
        });
    }
    while let Some(done) = cases.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_as_the_server_tells_it() {
    let server = Server::start(Character::GOOD).await;
    let mut value = value();
    value["password"] = json!("wrong, and long enough");
    let refusal = verify(value, &server, Tls::Starttls).await.unwrap_err();
    assert_eq!(refusal.cause, Cause::Auth, "{refusal:?}");
    assert!(refusal.message.contains("(535): 5.7.8 Username and password not accepted"), "{refusal:?}");
}

#[tokio::test]
async fn a_server_must_offer_a_sign_in_that_we_speak() {
    for offers in [&[][..], &["AUTH CRAM-MD5"][..]] {
        let server = Server::start(Character { offers, ..Character::GOOD }).await;
        let refusal = verify(value(), &server, Tls::Starttls).await.unwrap_err();
        assert_eq!(refusal.cause, Cause::Provider, "{refusal:?}");
        assert!(refusal.message.contains("no sign-in"), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_our_own_authority_is_trusted_only_where_it_is_named() {
    let server = Server::start(Character::GOOD).await;
    let url = format!("smtp://localhost:{}?tls=required", server.port);
    let credential = Credential::parse(Provider::Smtp, "credential", value()).ok().unwrap();
    let refusal = credential.verify(&client("smtp", &url), time::now()).await.unwrap_err();
    assert_eq!(refusal.cause, Cause::Provider, "{refusal:?}");
    assert!(refusal.message.contains("authority"), "{refusal:?}");
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_a_fault_of_the_network() {
    let mut value = value();
    value["host"] = json!("smtp.nowhere.invalid");
    let credential = Credential::parse(Provider::Smtp, "credential", value).ok().unwrap();
    let refusal = credential.verify(&client("stripe", "http://127.0.0.1:9"), time::now()).await.unwrap_err();
    assert_eq!(refusal.cause, Cause::Network, "{refusal:?}");
    assert!(refusal.message.contains("cannot be resolved"), "{refusal:?}");
}
