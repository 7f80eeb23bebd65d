//! What any provider can do wrong, done by each of them at each of its calls.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::{
    providers::{Cause, Client, Proof, Refusal},
    time,
};
use tokio::task::JoinSet;

use crate::{
    client, credential,
    fake::{Fake, Reply},
    subjects::{self, Subject},
};

/// What a verification may take: its own ten seconds, and what a busy machine adds.
const TIME_MAX: Duration = Duration::from_secs(12);
/// Beyond the one megabyte that is read: what sockets hold.
const SENT_MAX_BYTES: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_credential_is_proven_by_the_fewest_calls() {
    for subject in subjects::all() {
        let good = subject.good;
        let fake = Fake::start(move |_, seen| good(seen)).await;
        let client = client(subject.endpoint, &fake.url);
        let proof = credential(&subject).verify(&client, time::now()).await;
        let proof = proof.unwrap_or_else(|refusal| panic!("{}: {refusal:?}", subject.name));
        let Proof { answer, scopes } = proof;
        assert_eq!(Value::Object(answer), subject.answer, "{}", subject.name);
        assert_eq!(scopes, subject.scopes, "{}", subject.name);
        let seen = fake.seen();
        assert_eq!(seen.len(), subject.calls, "{}", subject.name);
        assert!(
            seen.iter().all(|seen| seen.header("user-agent").starts_with("tidegate/")),
            "{}",
            subject.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_one_provider_does_is_told_by_its_cause() {
    for subject in subjects::all().into_iter().map(Arc::new) {
        let stage = Stage::of(subject.clone()).await;
        for fault in &subject.faults {
            let case = format!("{}: {}", subject.name, fault.case);
            let refusal = stage.refused(&case, fault.call, fault.reply.clone()).await;
            assert_eq!(refusal.cause, fault.cause, "{case}: {refusal:?}");
            assert_eq!(refusal.retry_after, fault.retry_after, "{case}: {refusal:?}");
            assert!(refusal.message.contains(fault.says), "{case}: {refusal:?}");
        }
    }
}

/// Faults that any server can have, with their causes.
fn faults(elsewhere: &str) -> Vec<(&'static str, Reply, Cause)> {
    let html = |status| Reply::Raw(status, "text/html", "<h1>an error page</h1>".to_owned());
    let raw = |body: String| Reply::Raw(200, "application/json", body);
    let soon = |wait: &str| Reply::With(429, vec![("retry-after", wait.to_owned())], json!({}));
    vec![
        ("fails", Reply::Json(500, json!({})), Cause::Provider),
        ("is down", html(502), Cause::Provider),
        ("is overloaded", html(503), Cause::Provider),
        ("lies about its status", Reply::Raw(299, "text/plain", String::new()), Cause::Provider),
        ("does not know the credential", html(401), Cause::Auth),
        ("limits calls", html(429), Cause::RateLimited),
        ("limits calls and says until when", soon("30"), Cause::RateLimited),
        ("limits calls beyond reason", soon("99999999999999"), Cause::RateLimited),
        ("hangs", Reply::Hang, Cause::Network),
        ("drips", Reply::Dripping, Cause::Network),
        ("breaks off", Reply::Truncated, Cause::Network),
        ("never ends", Reply::Endless, Cause::Provider),
        ("answers in HTML", html(200), Cause::Provider),
        ("answers nothing", raw(String::new()), Cause::Provider),
        ("answers half a document", raw(r#"{"id": "#.to_owned()), Cause::Provider),
        ("answers a tower of lists", raw("[".repeat(100_000)), Cause::Provider),
        ("answers null", raw("null".to_owned()), Cause::Provider),
        (
            "answers another shape",
            Reply::Json(200, json!({"name": 7, "data": 7, "files": 7})),
            Cause::Provider,
        ),
        ("sends elsewhere", Reply::Redirect(elsewhere.to_owned()), Cause::Provider),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn any_fault_of_any_call_is_told_by_its_cause_in_bounded_time_and_memory() {
    let elsewhere = Fake::start(|_, _| Reply::Json(200, json!({}))).await;
    let mut waiting = Vec::new();
    for subject in subjects::all().into_iter().map(Arc::new) {
        let stage = Stage::of(subject.clone()).await;
        for at in 0..subject.calls {
            for fault in faults(&elsewhere.url) {
                if fault.2 == Cause::Network {
                    waiting.push((Stage::of(subject.clone()).await, at, fault));
                } else {
                    stage.play(at, fault).await;
                }
            }
        }
    }
    // Those that take their time take it together.
    let mut playing = JoinSet::new();
    for (stage, at, fault) in waiting {
        playing.spawn(async move { stage.play(at, fault).await });
    }
    while let Some(played) = playing.join_next().await {
        played.unwrap();
    }
    assert!(elsewhere.seen().is_empty(), "a redirect was followed");
}

/// A subject before its fake. A client takes long to make, so cases that need not run at the same
/// time share one.
struct Stage {
    subject: Arc<Subject>,
    fake: Fake,
    client: Client,
}

impl Stage {
    async fn of(subject: Arc<Subject>) -> Self {
        let fake = Fake::start(|_, _| Reply::Hang).await;
        let client = client(subject.endpoint, &fake.url);
        Self { subject, fake, client }
    }

    /// What comes of it when this is the reply at one call, and all is well at the others.
    async fn refused(&self, case: &str, at: usize, reply: Reply) -> Refusal {
        let good = self.subject.good;
        self.fake.follow(move |call, seen| if call == at { reply.clone() } else { good(seen) });
        refused(&self.subject, &self.client, case).await
    }

    async fn play(&self, at: usize, (what, reply, due): (&str, Reply, Cause)) {
        let case = format!("{} {what} at call {at}", self.subject.name);
        let begin = Instant::now();
        let refusal = self.refused(&case, at, reply).await;
        assert_eq!(refusal.cause, due, "{case}: {refusal:?}");
        assert!(begin.elapsed() < TIME_MAX, "{case}: {:?}", begin.elapsed());
        assert!(self.fake.sent() < SENT_MAX_BYTES, "{case}: {} bytes", self.fake.sent());
        assert!(self.fake.seen().len() <= at + 1, "{case}: went on");
        let patience = refusal.retry_after.unwrap_or_default();
        assert!(patience <= Duration::from_hours(24), "{case}: {refusal:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_calls_do_not_add_up() {
    let subject = subjects::all().into_iter().max_by_key(|subject| subject.calls).unwrap();
    let good = subject.good;
    let slow = move |reply| Reply::Late(Duration::from_secs(6), Box::new(reply));
    let fake = Fake::start(move |_, seen| slow(good(seen))).await;
    let begin = Instant::now();
    let refusal = refused(&subject, &client(subject.endpoint, &fake.url), subject.name).await;
    assert_eq!(refusal.cause, Cause::Network, "{refusal:?}");
    assert!(begin.elapsed() < TIME_MAX, "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_not_there_is_a_fault_of_the_network() {
    for subject in subjects::all() {
        // A port that was just given back.
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let proven = credential(&subject).verify(&client(subject.endpoint, &url), time::now()).await;
        let refusal = proven.expect_err(subject.name);
        assert_eq!(refusal.cause, Cause::Network, "{}: {refusal:?}", subject.name);
        hides(&subject, &refusal, subject.name);
    }
}

/// A provider may send back what it got. Messages go to people, and to where they paste them.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_repeats_a_secret_even_if_the_provider_does() {
    for subject in subjects::all().into_iter().map(Arc::new) {
        let Stage { fake, client, .. } = Stage::of(subject.clone()).await;
        for at in 0..subject.calls {
            for (case, echo) in echoes(&subject) {
                let case = format!("{} repeats {case} at call {at}", subject.name);
                let (good, complains) = (subject.good, subject.complains);
                fake.follow(move |call, seen| match echo.clone() {
                    _ if call != at => good(seen),
                    Some(secret) => complains(at, &secret),
                    None => complains(at, &seen.everything()),
                });
                let refusal = refused(&subject, &client, &case).await;
                assert!(refusal.message.len() < 1000, "{case}: {refusal:?}");
            }
        }
    }
}

/// What a careless provider could put into an error: all that it was sent, or some of a secret.
fn echoes(subject: &Subject) -> Vec<(String, Option<String>)> {
    let mut echoes = vec![("all that it was sent".to_owned(), None)];
    // What a token bought is not the provider's to repeat before it was sold, so the first only.
    let secret = &subject.secrets[0];
    let padded = format!("{}{secret}", "no good: ".repeat(40));
    let part = &secret[secret.len() / 2..];
    echoes.extend(
        [("a secret", secret), ("a secret at the end", &padded)]
            .map(|(case, text)| (case.to_owned(), Some(text.clone()))),
    );
    echoes.push(("half a secret".to_owned(), Some(format!("key {part}: unknown"))));
    echoes
}

/// The refusal of a verification that cannot succeed.
async fn refused(subject: &Subject, client: &Client, case: &str) -> Refusal {
    let proven = credential(subject).verify(client, time::now()).await;
    let refusal = proven.expect_err(case);
    assert!(!refusal.message.contains("127.0.0.1"), "{case}: {refusal:?}");
    hides(subject, &refusal, case);
    refusal
}

/// No secret, and no half of one, is readable.
fn hides(subject: &Subject, refusal: &Refusal, case: &str) {
    let shown = format!("{refusal:?}");
    for secret in &subject.secrets {
        let (first, second) = secret.split_at(secret.len() / 2);
        assert!(!shown.contains(first) && !shown.contains(second), "{case}: {shown}");
    }
}
