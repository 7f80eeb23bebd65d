//! The development identity: an OIDC issuer whose key lies in the state directory.
//!
//! It exists so that a newcomer can call the API at once. Only a runner that binds to loopback
//! publishes its keys and trusts its tokens.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Value, json};

use crate::{http, state};

/// The `iss` of development tokens.
pub const ISSUER: &str = "https://issuer.tidegate.localhost";
/// The `aud` of development tokens.
pub const AUDIENCE: &str = "tidegate-local";

/// The workspace of development tokens unless told, whose the deployment's own affairs are too.
pub const WORKSPACE: &str = "acme";

/// The template's parameters for people that this issuer vouches for, where `url` serves its keys.
pub(crate) fn parameters(url: &str) -> BTreeMap<String, String> {
    let jwks = format!("{url}{}", http::JWKS_PATH);
    let workspace = ("OperatorsWorkspace", WORKSPACE);
    [("OidcIssuer", ISSUER), ("OidcJwksUrl", &jwks), ("OidcAudiences", AUDIENCE), workspace]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// Signs development tokens and publishes the key to check them with.
pub struct DevIssuer {
    key: RsaKeyPair,
    id: String,
}

impl DevIssuer {
    /// The issuer whose key is in this file, which is made when it is not there.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        let pem = match fs::read_to_string(path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(unusable)?;
                let pem = pem("PRIVATE KEY", key.as_der().map_err(unusable)?.as_ref());
                state::create_private(path, pem.as_bytes())?;
                // Another process may have been first.
                fs::read_to_string(path)?
            }
            Err(error) => return Err(error),
        };
        let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = BASE64_STANDARD.decode(base64).map_err(unusable)?;
        let key = RsaKeyPair::from_pkcs8(&der).map_err(unusable)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key().as_ref());
        let id = BASE64_URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12]);
        Ok(Self { key, id })
    }

    /// Signs exactly these claims.
    pub fn token(&self, claims: &Value) -> io::Result<String> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.id});
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(unusable)?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    /// A token for a person of a workspace, valid from now on.
    pub fn person(&self, workspace: &str, role: &str, subject: &str, valid: Duration) -> io::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(unusable)?;
        self.token(&json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "org": workspace,
            "role": role,
            "iat": now.as_secs(),
            "exp": now.saturating_add(valid).as_secs(),
        }))
    }

    /// What `/_dev/jwks.json` serves.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let public = self.key.public_key();
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.id,
            "n": encode(public.modulus().big_endian_without_leading_zero()),
            "e": encode(public.exponent().big_endian_without_leading_zero()),
        }]})
    }

    /// The public key, as PEM.
    pub fn public_pem(&self) -> io::Result<String> {
        Ok(pem("PUBLIC KEY", self.key.public_key().as_der().map_err(unusable)?.as_ref()))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

fn unusable(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("the development issuer's key cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_private_stays_and_signs_what_its_jwks_verifies() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dev-issuer.pem");
        let issuer = DevIssuer::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = DevIssuer::load_or_create(&path).unwrap();
        assert_eq!(issuer.jwks(), again.jwks());
        assert!(issuer.public_pem().unwrap().starts_with("-----BEGIN PUBLIC KEY-----\n"));

        let token = issuer.person("acme", "admin", "sam", Duration::from_mins(1)).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let jwk = &again.jwks()["keys"][0];
        let part = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        aws_lc_rs::signature::RsaPublicKeyComponents { n: part("n"), e: part("e") }
            .verify(
                &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
                signed.as_bytes(),
                &BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap(),
            )
            .unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(
            (&claims["org"], &claims["role"], &claims["iss"]),
            (&json!("acme"), &json!("admin"), &json!(ISSUER))
        );
    }
}
