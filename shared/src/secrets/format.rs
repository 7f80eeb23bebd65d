//! What each kind of platform secret looks like. Rules are as loose as the provider is: they find
//! what was pasted from the wrong field, cut off or wrapped, not what a provider would refuse.

use aws_lc_rs::rsa::KeyPair;
use base64::prelude::{BASE64_STANDARD, Engine};

/// `sk_live_…`, `rk_test_…`.
pub(super) fn stripe_api_key(value: &str) -> bool {
    let rest =
        ["sk_live_", "sk_test_", "rk_live_", "rk_test_"].iter().find_map(|prefix| value.strip_prefix(prefix));
    rest.is_some_and(|rest| (16..=255).contains(&rest.len()) && alphanumeric(rest))
}

/// `whsec_…`. Stripe signs with the whole text and says nothing of its rest but that it is there.
pub(super) fn stripe_webhook_secret(value: &str) -> bool {
    let rest = value.strip_prefix("whsec_");
    rest.is_some_and(|rest| (24..=255).contains(&rest.len()) && alphanumeric(rest))
}

/// 32 hexadecimal digits; newer ones begin with `shpss_`.
pub(super) fn shopify_client_secret(value: &str) -> bool {
    let digits = value.strip_prefix("shpss_").unwrap_or(value);
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// One that people chose for both sides: nobody guesses 16 random characters.
pub(super) fn shared_secret(value: &str) -> bool {
    (16..=1024).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Gmail shows its app passwords with spaces inside.
pub(super) fn password(value: &str) -> bool {
    (8..=1024).contains(&value.chars().count())
        && !value.chars().any(char::is_control)
        && value.trim().len() == value.len()
}

/// PKCS#1, as GitHub issues it, or PKCS#8, in PEM; line breaks may be written `\n`, as where they
/// passed through an environment variable. At least 2048 bits, which is the library's own limit.
pub(super) fn rsa_private_key(value: &str) -> bool {
    let text = value.trim().replace("\\n", "\n");
    let body = |label: &str| {
        let text = text.strip_prefix(&format!("-----BEGIN {label}-----"))?;
        let text = text.strip_suffix(&format!("-----END {label}-----"))?;
        let base64: String = text.split_ascii_whitespace().collect();
        BASE64_STANDARD.decode(base64).ok()
    };
    match (body("RSA PRIVATE KEY"), body("PRIVATE KEY")) {
        (Some(der), _) => KeyPair::from_der(&der).is_ok(),
        (None, Some(der)) => KeyPair::from_pkcs8(&der).is_ok(),
        (None, None) => false,
    }
}

fn alphanumeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, Pkcs8V1Der},
        rsa::KeySize,
    };

    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        let base64 = BASE64_STANDARD.encode(der);
        let lines: Vec<_> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    #[test]
    fn what_providers_issue_is_accepted_and_what_was_mangled_is_not() {
        let letters = |count| "x".repeat(count);
        let stripe = format!("{}_test_{}", "sk", letters(24));
        let restricted = format!("{}_live_{}", "rk", letters(99));
        let signing = format!("{}_{}", "whsec", letters(32));
        let digits = "0123456789abcdef".repeat(2);
        for (case, rule, value, accepted) in [
            ("Stripe key", stripe_api_key as fn(&str) -> bool, stripe.clone(), true),
            ("restricted Stripe key", stripe_api_key, restricted, true),
            ("publishable Stripe key", stripe_api_key, stripe.replace("sk", "pk"), false),
            ("Stripe key with a line break", stripe_api_key, format!("{stripe}\n"), false),
            ("Stripe key cut off", stripe_api_key, stripe[..12].to_owned(), false),
            ("signing secret for a key", stripe_api_key, signing.clone(), false),
            ("signing secret", stripe_webhook_secret, signing.clone(), true),
            ("signing secret cut off", stripe_webhook_secret, signing[..20].to_owned(), false),
            ("empty signing secret", stripe_webhook_secret, "whsec_".to_owned(), false),
            ("key for a signing secret", stripe_webhook_secret, stripe, false),
            ("Shopify secret", shopify_client_secret, format!("shpss_{digits}"), true),
            ("older Shopify secret", shopify_client_secret, digits.clone(), true),
            ("Shopify token for a secret", shopify_client_secret, format!("shpat_{digits}"), false),
            ("chosen secret", shared_secret, letters(16), true),
            ("chosen secret, too short", shared_secret, letters(15), false),
            ("chosen secret with a space", shared_secret, format!("{} {}", letters(9), letters(9)), false),
            ("password with spaces inside", password, "abcd efgh ijkl mnop".to_owned(), true),
            ("password with a space at its end", password, "abcd efgh ".to_owned(), false),
            ("password in two lines", password, "abcd\nefgh".to_owned(), false),
            ("no password", password, String::new(), false),
        ] {
            assert_eq!(rule(&value), accepted, "{case}");
        }
    }

    #[test]
    fn an_rsa_key_is_accepted_in_both_of_its_forms_and_only_whole() {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        let pkcs8 = pem("PRIVATE KEY", der.as_ref());
        // PKCS#1 is what the last member of PKCS#8, an octet string, holds: 26 bytes in.
        let pkcs1 = pem("RSA PRIVATE KEY", &der.as_ref()[26..]);
        for (case, value, accepted) in [
            ("PKCS#8", pkcs8.clone(), true),
            ("PKCS#1", pkcs1.clone(), true),
            ("in one line", pkcs1.trim().replace('\n', "\\n"), true),
            ("with Windows line ends", pkcs1.replace('\n', "\r\n"), true),
            ("without its end", pkcs1[..pkcs1.len() - 40].to_owned(), false),
            ("with another label", pkcs8.replace("PRIVATE", "PUBLIC"), false),
            (
                "with a line lost",
                pkcs1.lines().take(9).chain(pkcs1.lines().skip(10)).collect::<Vec<_>>().join("\n"),
                false,
            ),
            ("of another kind", pem("PRIVATE KEY", b"not DER"), false),
            ("not PEM", "key".to_owned(), false),
        ] {
            assert_eq!(rsa_private_key(&value), accepted, "{case}");
        }
    }
}
