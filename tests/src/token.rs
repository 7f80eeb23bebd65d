//! Bearer tokens, as the development issuer signs them and as it never would.

use std::{fs, sync::Arc};

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::Utc;
use serde_json::{Value, json};

use crate::{Server, variable};

/// Who the tokens are from.
pub const ISSUER: &str = "https://issuer.tidegate.localhost";
/// Who the tokens are for.
pub const AUDIENCE: &str = "tidegate-local";

/// The development issuer.
#[derive(Clone)]
pub struct Issuer {
    key: Arc<RsaKeyPair>,
    key_id: String,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy)]
pub enum Signature {
    /// By the issuer, RS256.
    Issuer,
    /// By a key of one's own, under the issuer's key id.
    Stranger,
    /// Not at all: `alg: none`.
    Nothing,
    /// HS256 with the issuer's public key as the secret, as PEM.
    PublicKeyAsSecret,
}

impl Issuer {
    /// The issuer that the environment names.
    pub async fn named(server: &Server) -> Self {
        let pem = fs::read_to_string(variable("TIDEGATE_ISSUER_KEY")).expect("the issuer's key can be read");
        Self::of(server, &pem, &variable("TIDEGATE_JWKS_URL")).await
    }

    /// The issuer of this private key, PKCS#8 PEM, that publishes at this URL.
    pub async fn of(server: &Server, pem: &str, jwks_url: &str) -> Self {
        let published = server.client.get(jwks_url).send().await.expect("the issuer publishes its keys");
        let published: Value = published.json().await.expect("a key set is JSON");
        let key_id = published["keys"][0]["kid"].as_str().expect("a key has an id").to_owned();
        let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(text).expect("PEM is base64"));
        Self { key: Arc::new(key.expect("an RSA key")), key_id }
    }

    /// An honest token, good for an hour.
    #[must_use]
    pub fn token(&self, workspace: &str, role: &str) -> String {
        self.sign(&claims(workspace, role), Signature::Issuer)
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value, signature: Signature) -> String {
        let algorithm = match signature {
            Signature::Issuer | Signature::Stranger => "RS256",
            Signature::Nothing => "none",
            Signature::PublicKeyAsSecret => "HS256",
        };
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": self.key_id});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = match signature {
            Signature::Issuer => rsa(&self.key, &message),
            Signature::Stranger => {
                let own = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048);
                rsa(&own.expect("a key can be made"), &message)
            }
            Signature::Nothing => Vec::new(),
            Signature::PublicKeyAsSecret => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.public_pem().as_bytes());
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn public_pem(&self) -> String {
        let der = self.key.public_key().as_der().expect("a public key can be written");
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }
}

/// Honest claims, good for an hour.
#[must_use]
pub fn claims(workspace: &str, role: &str) -> Value {
    let now = Utc::now().timestamp();
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "tester",
        "org": workspace,
        "role": role,
        "iat": now,
        "exp": now + 3600,
        // Tells tokens of the same second apart, as authorizers remember answers by token.
        "jti": crate::random(),
    })
}

fn rsa(key: &RsaKeyPair, message: &str) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
        .expect("an RSA key signs");
    signature
}
