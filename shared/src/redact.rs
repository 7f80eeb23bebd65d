//! What must not be kept in the clear: told by how it is called, or by how it looks.
//!
//! A safety net under text that people type freely. It knows the secrets that have a form of
//! their own; the types that hold secrets are what keeps the others out.

use serde_json::Value;

/// What stands where something was taken out.
pub const MASK: &str = "[redacted]";

/// How the texts of well-known secrets begin, ours first.
const PREFIXES: &[&str] = &[
    "rr_l",
    "rr_t",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "whsec_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "shpat_",
    "shpca_",
    "shppa_",
    "shpss_",
    "sb_secret_",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "AIza",
    "ya29.",
    "EAA",
    "SG.",
    "eyJ",
    "-----BEGIN",
];
/// Shorter texts are words that happen to begin so.
const SHORTEST_WITH_PREFIX: usize = 12;
/// A random text of letters of both cases and digits that is this long is a secret more often
/// than anything else; our own ids have 24 characters.
const SHORTEST_RANDOM: usize = 32;
/// A Twilio auth token, among others.
const HEX_SECRET: usize = 32;

/// Parts of the names under which people keep secrets, as letters and digits only.
const NAMES: &[&str] = &[
    "secret",
    "password",
    "passwd",
    "passphrase",
    "token",
    "apikey",
    "privatekey",
    "accesskey",
    "servicekey",
    "signingkey",
    "encryptionkey",
    "serviceaccount",
    "authorization",
    "bearer",
    "connectionstring",
];

/// Whether a field of this name is likely to hold a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    matches!(plain.as_str(), "pwd" | "pass" | "auth" | "pin") || NAMES.iter().any(|part| plain.contains(part))
}

/// Whether a text is, or holds, a secret of a form that nothing else has.
#[must_use]
pub fn is_known_secret(text: &str) -> bool {
    text.contains("-----BEGIN") || words(text).any(has_known_form)
}

/// The value without whatever looks like a secret or an e-mail address in its texts.
#[must_use]
pub fn scrub(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(scrub_text(&text)),
        Value::Array(values) => values.into_iter().map(scrub).collect(),
        Value::Object(map) => map.into_iter().map(|(name, value)| (name, scrub(value))).collect(),
        other => other,
    }
}

/// The text without whatever looks like a secret or an e-mail address.
#[must_use]
pub fn scrub_text(text: &str) -> String {
    if text.contains("-----BEGIN") {
        return MASK.to_owned();
    }
    let mut clean = text.to_owned();
    for word in words(text).filter(|word| is_secret(word) || is_email(word)) {
        clean = clean.replace(word, MASK);
    }
    clean
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| letter.is_whitespace() || "\"'`<>()[]{},;:=".contains(letter))
        .map(|word| word.trim_end_matches(['.', '!', '?']))
        .filter(|word| !word.is_empty())
}

fn has_known_form(word: &str) -> bool {
    SHORTEST_WITH_PREFIX <= word.len() && PREFIXES.iter().any(|prefix| word.starts_with(prefix))
}

fn is_secret(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.bytes().any(|byte| kind(&byte));
    let token = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/_-.~".contains(&byte));
    let random = SHORTEST_RANDOM <= word.len()
        && token
        && !word.contains("://")
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase);
    let hex = word.len() == HEX_SECRET && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    has_known_form(word) || random || hex
}

fn is_email(word: &str) -> bool {
    word.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_secrets_are_known_however_they_are_spelt() {
        for name in [
            "password",
            "API_KEY",
            "apiKey",
            "x-api-key",
            "client_secret",
            "accessToken",
            "privateKey",
            "PIN",
            "webhook.secret",
            "service_account",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["property_id", "shop", "key", "keyword", "author", "region", "passive", "credential_id"]
        {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn a_pasted_secret_or_address_does_not_stay_in_a_text() {
        let stripe = format!("sk_{}_{}", "test", "a".repeat(24));
        let ours = format!("rr_l{}", "b".repeat(36));
        let random = "aB3".repeat(12);
        for (case, text, clean) in [
            ("plain", "leaked by a partner".to_owned(), "leaked by a partner".to_owned()),
            ("known prefix", format!("leaked: {stripe}."), format!("leaked: {MASK}.")),
            ("our key", format!("key={ours}"), format!("key={MASK}")),
            ("random", format!("({random})"), format!("({MASK})")),
            ("hexadecimal", "0f".repeat(16), MASK.to_owned()),
            ("address", "ask ada@example.com, please".to_owned(), format!("ask {MASK}, please")),
            ("our id", "int_4kZq81LxTf0aWcPz7mNd".to_owned(), "int_4kZq81LxTf0aWcPz7mNd".to_owned()),
            ("page", "see https://example.com/a".to_owned(), "see https://example.com/a".to_owned()),
            ("handle", "@ada".to_owned(), "@ada".to_owned()),
        ] {
            assert_eq!(scrub(json!({"deep": [text]})), json!({"deep": [clean]}), "{case}");
        }
    }
}
