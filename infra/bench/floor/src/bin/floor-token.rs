//! The floor of a function that verifies a bearer token: the issuer's keys are read once, with the
//! first event, and the token is verified by the library alone.

use std::{env, sync::OnceLock};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

static KEYS: OnceLock<JwkSet> = OnceLock::new();

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), floor::Error> {
    let (url, audience) = (&env::var("OIDC_JWKS_URL")?, &env::var("OIDC_AUDIENCES")?);
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    let (client, validation) = (&reqwest::Client::new(), &validation);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let keys = match KEYS.get() {
            Some(keys) => keys,
            None => KEYS.get_or_init({
                let keys = client.get(url).send().await?.error_for_status()?.json().await?;
                || keys
            }),
        };
        let token = event.payload["headers"]["authorization"].as_str().unwrap_or_default();
        let token = token.strip_prefix("Bearer ").ok_or("no bearer token")?;
        let kid = decode_header(token)?.kid.ok_or("no key id")?;
        let key = DecodingKey::from_jwk(keys.find(&kid).ok_or("unknown key")?)?;
        decode::<Value>(token, &key, validation)?;
        Ok::<_, floor::Error>(floor::answer())
    }))
    .await
}
