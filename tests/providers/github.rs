//! A GitHub that checks the app's token with the app's key, and knows its installations.

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use shared::{
    providers::{Cause, Credential, Provider},
    time,
};

use crate::emulator::Emulator;

fn key() -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let text = STANDARD.encode(pair.as_der().unwrap().as_ref());
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let kind = "PRIVATE KEY";
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

fn seed(key: &str) -> Value {
    let installation = |id: u32, account: &str| json!({"installation_id": id, "account": account});
    json!({"github": {
        "users": [{"login": "ada"}, {"login": "bob"}],
        "apps": [{
            "app_id": 7, "slug": "acme-bot", "name": "Acme Bot", "private_key": key,
            "permissions": {"contents": "read", "issues": "write"},
            "installations": [installation(42, "ada"), installation(43, "bob")],
        }],
    }})
}

#[tokio::test]
async fn an_app_is_known_by_its_key_and_its_installation() {
    let (ours, other) = (key(), key());
    let emulator = Emulator::start("github", &seed(&ours)).await;
    let client = emulator.client();
    let verify = |app: u32, installation: u32, key: &str| {
        let value = json!({"app_id": app, "installation_id": installation, "private_key": key});
        let credential = Credential::parse(Provider::Github, "credential", value).ok().unwrap();
        let client = &client;
        async move { credential.verify(client, time::now()).await }
    };
    let proof = verify(7, 42, &ours).await.unwrap();
    assert_eq!(Value::Object(proof.answer), json!({"appName": "Acme Bot", "installations": 2}));
    assert_eq!(proof.scopes, ["contents:read", "issues:write"]);
    for (case, app, installation, key, cause) in [
        ("another key", 7, 42, &other, Cause::Auth),
        ("no such app", 8, 42, &ours, Cause::Auth),
        ("no such installation", 7, 44, &ours, Cause::Scope),
    ] {
        let refusal = verify(app, installation, key).await.expect_err(case);
        assert_eq!(refusal.cause, cause, "{case}: {refusal:?}");
    }
}
