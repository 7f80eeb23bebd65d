//! Random text and ids, in base62, and bytes in hexadecimal.

use chrono::{DateTime, Utc};

/// In the order of their bytes, so that numbers written with it sort as numbers.
pub(crate) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `<kind>_` and 20 characters: the first 8 are the time in milliseconds, so ids sort by
/// creation, the others 71 random bits.
#[must_use]
pub fn generate(kind: &str, now: DateTime<Utc>) -> String {
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
    format!("{kind}_{}{}", number(millis, 8), random(12))
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Uniform random characters: 5.95 bits each.
///
/// # Panics
/// When the operating system has no randomness to give; there is no safe way to go on.
pub(crate) fn random(length: usize) -> String {
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        #[expect(clippy::expect_used, reason = "without randomness nothing may be issued")]
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        // 248 = 4 * 62: rejecting the rest keeps every character equally likely.
        let uniform =
            bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(BASE62[usize::from(byte % 62)]));
        text.extend(uniform.take(length - text.len()));
    }
    text
}

/// A uniform random number below `end`, which is a power of two.
pub(crate) fn random_below(end: u8) -> u8 {
    debug_assert!(end.is_power_of_two());
    let mut byte = [0];
    // Shards only spread load: without randomness the first one serves.
    let _ = getrandom::fill(&mut byte);
    byte[0] % end
}

/// A number in base62, padded with zeros to `width`.
pub(crate) fn number(mut number: u64, width: usize) -> String {
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[usize::try_from(number % 62).unwrap_or_default()];
        number /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_creation() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let ids: Vec<_> = [1, 61, 62, 1_700_000_000, 4_000_000_000].map(|s| generate("key", at(s))).into();
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids.iter().all(|id| id.len() == 24), "{ids:?}");
    }

    #[test]
    fn random_text_has_the_length_and_the_letters_asked_for() {
        let text = random(1000);
        assert_eq!(text.len(), 1000);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(text, random(1000));
    }
}
