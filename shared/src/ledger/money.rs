//! Money: currencies, and amounts that stay exact from the minor unit to the answer's text.
//!
//! Amounts are whole numbers of minor units. How many of them make a major unit is Stripe's own
//! rule and not ISO 4217's, because amounts arrive as Stripe writes them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer, de, ser};
use serde_json::{Value, value::RawValue};

/// Currencies that Stripe writes without decimals.
/// Source: <https://docs.stripe.com/currencies#zero-decimal>. MGA has two decimals in ISO 4217.
const ZERO_DECIMAL: &[&str] = &[
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF",
];

/// Currencies with three decimals: those of Stripe
/// (<https://docs.stripe.com/currencies#three-decimal>), and after the gap the two that Stripe
/// does not take and ISO 4217 gives three.
#[rustfmt::skip]
const THREE_DECIMAL: &[&str] = &["BHD", "JOD", "KWD", "OMR", "TND",    "IQD", "LYD"];

/// Circulating currencies of ISO 4217, and the last ones withdrawn, which a history still has.
/// ISK and UGX have no decimals in ISO 4217; Stripe writes both with two, so they are plain here
/// (<https://docs.stripe.com/currencies#special-cases>).
#[rustfmt::skip]
const KNOWN: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD",
    "BIF", "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLP", "CNY",
    "COP", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP",
    "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HRK", "HTG", "HUF", "IDR", "ILS",
    "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD",
    "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU",
    "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN",
    "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK",
    "SGD", "SHP", "SLE", "SLL", "SOS", "SRD", "SSP", "STD", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT",
    "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "VED", "VES", "VND", "VUV",
    "WST", "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG", "ZWL",
];

/// A currency that we know: its ISO 4217 code, in upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(&'static str);

impl Currency {
    /// How many decimals separate the minor unit from the major one, as Stripe counts them.
    #[must_use]
    pub fn exponent(self) -> usize {
        match self.0 {
            code if ZERO_DECIMAL.contains(&code) => 0,
            code if THREE_DECIMAL.contains(&code) => 3,
            _ => 2,
        }
    }

    /// The code, such as `USD`.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0
    }

    /// A field of an item or a query: a code in any case.
    pub fn field(value: &Value) -> Result<Self, String> {
        let code = value.as_str().and_then(|text| text.parse().ok());
        code.ok_or_else(|| "must be a known ISO 4217 code of a currency, such as USD".to_owned())
    }
}

/// US dollars, which deployments report in unless they choose otherwise.
impl Default for Currency {
    fn default() -> Self {
        Self("USD")
    }
}

/// The text is not the code of a currency that we know.
#[derive(Debug, thiserror::Error)]
#[error("not a known currency")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        let code = text.to_ascii_uppercase();
        let at = KNOWN.binary_search(&code.as_str()).map_err(|_| UnknownCurrency)?;
        Ok(Self(KNOWN[at]))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// An exact decimal. In JSON it is a number with all its digits, without exponent and without
/// zeros at the end: `15750`, `0.1`, `-12.345`. A reader that takes numbers for doubles loses
/// digits after the fifteenth; the text has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decimal {
    units: i128,
    decimals: usize,
}

impl Decimal {
    /// A whole number.
    #[must_use]
    pub fn whole(number: i128) -> Self {
        Self { units: number, decimals: 0 }
    }

    /// The same below zero.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { units: -self.units, ..self }
    }
}

/// Millionths of a minor unit as major units, exact.
#[must_use]
pub fn major_of_micro(micro: i128, currency: Currency) -> Decimal {
    Decimal { units: micro, decimals: currency.exponent() + 6 }
}

/// Minor units as the major units that answers show.
#[must_use]
pub fn major(minor: i128, currency: Currency) -> Decimal {
    Decimal { units: minor, decimals: currency.exponent() }
}

/// `part` ÷ `whole` to six decimals, half to even; of nothing there is none.
#[must_use]
pub fn ratio(part: i128, whole: i128) -> Option<Decimal> {
    const DECIMALS: usize = 6;
    (whole != 0).then(|| Decimal {
        units: divide(part * power(DECIMALS), whole.abs()) * whole.signum(),
        decimals: DECIMALS,
    })
}

/// `numerator` ÷ `denominator`, which is positive; exact halves go to the even neighbour, so
/// that sums of many lean neither way.
#[must_use]
pub fn divide(numerator: i128, denominator: i128) -> i128 {
    let (quotient, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Equal => quotient + quotient.rem_euclid(2),
        std::cmp::Ordering::Greater => quotient + 1,
    }
}

fn power(decimals: usize) -> i128 {
    (0..decimals).fold(1, |power, _| power * 10)
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { units, decimals } = *self;
        let sign = if units < 0 { "-" } else { "" };
        let digits = format!("{:0width$}", units.unsigned_abs(), width = decimals + 1);
        let (whole, part) = digits.split_at(digits.len() - decimals);
        match part.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole}"),
            part => write!(f, "{sign}{whole}.{part}"),
        }
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn amounts_are_told_in_major_units_as_stripe_counts_them() {
        for (case, minor, code, told) in [
            ("whole", 1_575_000, "USD", "15750"),
            ("cents", 1_999, "USD", "19.99"),
            ("no zero at the end", 1_990, "EUR", "19.9"),
            ("below one", 10, "EUR", "0.1"),
            ("least", 1, "EUR", "0.01"),
            ("nothing", 0, "USD", "0"),
            ("negative", -5, "USD", "-0.05"),
            ("negative whole", -1_500, "USD", "-15"),
            ("no decimals", 500, "JPY", "500"),
            ("zeros of a currency without decimals stay", 1_000, "KRW", "1000"),
            ("three decimals", 12_345, "KWD", "12.345"),
            ("three decimals, padded", 5, "BHD", "0.005"),
            ("no decimals in ISO, two at Stripe", 500, "ISK", "5"),
            ("the same", 500, "UGX", "5"),
            ("two decimals in ISO, none at Stripe", 500, "MGA", "500"),
            ("beyond a double", (1 << 53) + 1, "USD", "90071992547409.93"),
            ("a sum of such", ((1_i128 << 53) + 1) * 1_000_000_007, "JPY", "9007199317791387783186951"),
            ("all digits", -(1_i128 << 100), "KWD", "-1267650600228229401496703205.376"),
        ] {
            let told_as = major(minor, currency(code)).to_string();
            assert_eq!(told_as, told, "{case}");
            assert_eq!(serde_json::to_string(&major(minor, currency(code))).unwrap(), told, "{case}");
        }
    }

    #[test]
    fn only_known_currencies_are_taken_in_any_case() {
        assert!(KNOWN.is_sorted(), "they are searched");
        for code in ZERO_DECIMAL.iter().chain(THREE_DECIMAL) {
            assert!(KNOWN.contains(code), "{code}");
        }
        for (case, text, code) in [
            ("upper", "USD", Some("USD")),
            ("lower", "eur", Some("EUR")),
            ("mixed", "jPy", Some("JPY")),
            ("unknown", "XYZ", None),
            ("gold", "XAU", None),
            ("a fund", "CLF", None),
            ("short", "US", None),
            ("padded", " USD", None),
            ("empty", "", None),
            ("upper case of another length", "ßßß", None),
        ] {
            assert_eq!(text.parse().ok().map(Currency::code), code, "{case}");
        }
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (numerator, denominator, quotient) in [
            (5, 2, 2),
            (7, 2, 4),
            (-5, 2, -2),
            (-7, 2, -4),
            (1, 3, 0),
            (2, 3, 1),
            (-1, 3, 0),
            (-2, 3, -1),
            (6, 3, 2),
        ] {
            assert_eq!(divide(numerator, denominator), quotient, "{numerator}/{denominator}");
        }
    }

    #[test]
    fn a_ratio_has_six_decimals_and_of_nothing_there_is_none() {
        for (part, whole, told) in [
            (1, 3, Some("0.333333")),
            (1, 2, Some("0.5")),
            (0, 7, Some("0")),
            (3, 3, Some("1")),
            (1, 0, None),
        ] {
            assert_eq!(ratio(part, whole).map(|ratio| ratio.to_string()).as_deref(), told, "{part}/{whole}");
        }
    }

    proptest! {
        #[test]
        fn what_is_told_reads_back_as_what_was_meant(minor in any::<i64>(), at in 0..KNOWN.len()) {
            let currency = Currency(KNOWN[at]);
            let told = major(i128::from(minor), currency).to_string();
            let (whole, part) = told.split_once('.').unwrap_or((&told, ""));
            prop_assert!(!part.ends_with('0') && part.len() <= currency.exponent());
            let read: i128 = format!("{whole}{part:0<width$}", width = currency.exponent()).parse().unwrap();
            prop_assert_eq!(read, i128::from(minor));
        }
    }
}
