//! A Stripe that does not know the account: what is not there is not a fault of the key.

use serde_json::json;
use shared::{
    providers::{Cause, Credential, Provider},
    time,
};

use crate::emulator::Emulator;

#[tokio::test]
async fn an_answer_that_stripe_would_not_give_is_not_blamed_on_the_key() {
    let emulator = Emulator::start("stripe", &json!({})).await;
    let key = json!({"api_key": format!("sk_{}_{}", "test", "0".repeat(24))});
    let credential = Credential::parse(Provider::Stripe, "credential", key).ok().unwrap();
    let refusal = credential.verify(&emulator.client(), time::now()).await.unwrap_err();
    assert_eq!(refusal.cause, Cause::Provider, "{refusal:?}");
    assert!(refusal.message.contains("404"), "{refusal:?}");
}
