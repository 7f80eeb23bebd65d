//! The text of an API key, in two types: the plain one, shown once, and its hash, stored.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Environment;
use crate::id;

const RANDOM: usize = 30;
const CHECKSUM: usize = 6;
/// `rr_`, the environment's letter, 178 random bits, CRC-32 of all that in base62.
const LENGTH: usize = 3 + 1 + RANDOM + CHECKSUM;

/// The plain text of a key. Cannot be printed or serialized; [`Secret::reveal`] says where it is
/// shown on purpose.
pub struct Secret(SecretString);

/// What is stored of a key's text. The text has too much randomness to be guessed, so a plain
/// SHA-256 protects it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretHash(String);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

impl SecretHash {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Secret {
    /// A new secret.
    #[must_use]
    pub fn generate(environment: Environment) -> Self {
        let body = format!("rr_{}{}", environment.letter(), id::random(RANDOM));
        let checksum = checksum(&body);
        Self(SecretString::from(body + &checksum))
    }

    /// Reads what a caller sent, if it can be a key at all: form and checksum are right. A typo
    /// or junk passes once in four thousand million times, and then merely costs a read.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let known = |letter| matches!(letter, b'l' | b't');
        let bytes = text.as_bytes();
        let formed = bytes.len() == LENGTH
            && text.starts_with("rr_")
            && known(bytes[3])
            && bytes[4..].iter().all(u8::is_ascii_alphanumeric);
        if !formed {
            return None;
        }
        let (body, sum) = text.split_at(LENGTH - CHECKSUM);
        // Nothing secret is compared: the checksum follows from what the caller sent.
        (checksum(body) == sum).then(|| Self(SecretString::from(text)))
    }

    /// What may be stored.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        let digest = Sha256::digest(self.0.expose_secret());
        SecretHash(URL_SAFE_NO_PAD.encode(digest))
    }

    /// The text itself, for the one answer that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// The first characters, by which people tell keys apart.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.expose_secret()[..8]
    }

    /// The last four characters; they belong to the checksum and give away little.
    #[must_use]
    pub fn last4(&self) -> &str {
        &self.0.expose_secret()[LENGTH - 4..]
    }
}

fn checksum(body: &str) -> String {
    id::number(crc32fast::hash(body.as_bytes()).into(), CHECKSUM)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_secret_reads_back() {
        for (environment, start) in [(Environment::Live, "rr_l"), (Environment::Test, "rr_t")] {
            let secret = Secret::generate(environment);
            assert!(secret.reveal().starts_with(start));
            let again = Secret::parse(secret.reveal()).expect("its own text is well formed");
            assert_eq!(again.hash(), secret.hash());
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let text = Secret::generate(Environment::Live).reveal().to_owned();
        for (case, text) in [
            ("empty", String::new()),
            ("cut", text[..LENGTH - 1].to_owned()),
            ("longer", format!("{text}a")),
            ("other prefix", text.replace("rr_", "sk_")),
            ("unknown environment", text.replacen("rr_l", "rr_x", 1)),
            ("not ASCII", format!("{}ä", &text[..LENGTH - 2])),
        ] {
            assert!(Secret::parse(&text).is_none(), "{case}");
        }
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_refused(position in 0..LENGTH, other in "[0-9A-Za-z_]") {
            let text = Secret::generate(Environment::Test).reveal().to_owned();
            let mut typo = text.clone();
            typo.replace_range(position..=position, &other);
            prop_assert_eq!(Secret::parse(&typo).is_some(), typo == text);
        }
    }
}
