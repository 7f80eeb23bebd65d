//! Reading JSON objects field by field, so that one answer names every field that is wrong.
//!
//! A derived deserializer stops at the first fault. Here each field is taken by name with a
//! rule; what fails is noted and replaced by a default that never leaves, because
//! [`Fields::finish`] refuses when anything was noted or any field was left over.

use chrono::{DateTime, Datelike, Duration, NaiveDate, Utc};
use serde_json::{Map, Value};

use crate::FieldError;

/// A JSON object being read.
#[derive(Debug, Default)]
pub struct Fields {
    /// Prefix of every field's name in errors, such as `items[3].`.
    path: String,
    map: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl From<Map<String, Value>> for Fields {
    fn from(map: Map<String, Value>) -> Self {
        Self { map, ..Self::default() }
    }
}

impl Fields {
    /// Reads `value`, which stands at `path`, as an object.
    pub fn of(path: &str, value: Value) -> Result<Self, Vec<FieldError>> {
        match value {
            Value::Object(map) => {
                let path = if path.is_empty() { String::new() } else { format!("{path}.") };
                Ok(Self { path, map, errors: Vec::new() })
            }
            _ => Err(vec![FieldError::new(path, "must be a JSON object")]),
        }
    }

    /// Takes a field that must be there; `null` counts as absent.
    pub fn required<T: Default>(&mut self, name: &str, rule: impl Fn(&Value) -> Result<T, String>) -> T {
        if let Some(value) = self.optional(name, rule) {
            return value;
        }
        if self.is_good(name) {
            self.refuse(name, "is required");
        }
        T::default()
    }

    /// Takes a field that may be absent or `null`.
    pub fn optional<T>(&mut self, name: &str, rule: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let value = self.map.remove(name).filter(|value| !value.is_null())?;
        match rule(&value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.refuse(name, message);
                None
            }
        }
    }

    /// Takes a list of `min` to `max` objects, each with a reader of its own that is told where
    /// the object stands. Absent is empty.
    pub fn list<T>(
        &mut self,
        name: &str,
        min: usize,
        max: usize,
        read: impl Fn(&str, Value) -> Result<T, Vec<FieldError>>,
    ) -> Vec<T> {
        let values = match self.map.remove(name) {
            Some(Value::Array(values)) => Some(values),
            None | Some(Value::Null) => Some(Vec::new()),
            Some(_) => None,
        };
        let Some(values) = values.filter(|values| (min..=max).contains(&values.len())) else {
            self.refuse(name, format!("must be a list of {min} to {max} objects"));
            return Vec::new();
        };
        let mut list = Vec::new();
        for (at, value) in values.into_iter().enumerate() {
            match read(&format!("{}{name}[{at}]", self.path), value) {
                Ok(one) => list.push(one),
                Err(errors) => self.errors.extend(errors),
            }
        }
        list
    }

    /// Takes all that was not taken yet, as it came.
    pub fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.map)
    }

    /// Whether nothing was noted of this field so far.
    #[must_use]
    pub fn is_good(&self, name: &str) -> bool {
        let field = format!("{}{name}", self.path);
        !self.errors.iter().any(|error| error.field == field)
    }

    /// Notes a fault that only several fields together show.
    pub fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(format!("{}{name}", self.path), message));
    }

    /// Succeeds when every field was taken and none was refused.
    pub fn finish(mut self) -> Result<(), Vec<FieldError>> {
        for name in self.map.keys() {
            self.errors.push(FieldError::new(format!("{}{name}", self.path), "is not a known field"));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}

/// Text of `min` to `max` characters, without control characters.
pub fn text(min: usize, max: usize) -> impl Fn(&Value) -> Result<String, String> {
    move |value| {
        value
            .as_str()
            .filter(|text| (min..=max).contains(&text.chars().count()))
            .filter(|text| !text.chars().any(char::is_control))
            .filter(|text| min == 0 || !text.trim().is_empty())
            .map(str::to_owned)
            .ok_or_else(|| format!("must be text of {min} to {max} characters without control characters"))
    }
}

/// An id that another system gave: 1 to 128 visible ASCII characters other than `#`, which
/// separates the parts of our keys.
pub fn id(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .filter(|id| is_id(id))
        .map(str::to_owned)
        .ok_or_else(|| "must be 1 to 128 visible ASCII characters without `#`".to_owned())
}

/// Whether `text` can be an [`id`].
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// A word such as a role or a status: 1 to 32 of `a-z`, `0-9`, `_` and `-`.
pub fn word(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .filter(|word| (1..=32).contains(&word.len()))
        .filter(|word| word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')))
        .map(str::to_owned)
        .ok_or_else(|| "must be 1 to 32 of the characters a-z, 0-9, _ and -".to_owned())
}

/// A name that counters go by, such as a plan's: 1 to 64 of letters, digits, `_`, `.` and `-`.
pub fn label(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .filter(|label| (1..=64).contains(&label.len()))
        .filter(|label| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)))
        .map(str::to_owned)
        .ok_or_else(|| "must be 1 to 64 of the characters A-Z, a-z, 0-9, _, . and -".to_owned())
}

/// An amount of money in minor units: a whole number up to 2^53, which every JSON reader keeps
/// exact.
pub fn minor_units(value: &Value) -> Result<i64, String> {
    integer(0, 1 << 53)(value).map(u64::cast_signed)
}

/// A whole number from `min` to `max`. JSON has one kind of number: `24.0` is as whole as `24`.
pub fn integer(min: u64, max: u64) -> impl Fn(&Value) -> Result<u64, String> {
    let whole = |value: &Value| value.as_number()?.to_string().trim_end_matches(".0").parse().ok();
    move |value| {
        whole(value)
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| format!("must be a whole number from {min} to {max}"))
    }
}

/// `true` or `false`.
pub fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// A number as query strings have it: digits.
pub fn digits(rule: impl Fn(&Value) -> Result<u64, String>) -> impl Fn(&Value) -> Result<u64, String> {
    move |value| {
        let number = value.as_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        rule(&number.and_then(|text| text.parse::<u64>().ok()).map_or(Value::Null, Value::from))
    }
}

/// A point in time as RFC 3339, kept to the microsecond.
pub fn timestamp(value: &Value) -> Result<DateTime<Utc>, String> {
    value
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .map(|time| time.to_utc())
        .filter(|time: &DateTime<Utc>| (1970..=9999).contains(&time.year()))
        .and_then(|time| DateTime::from_timestamp_micros(time.timestamp_micros()))
        .ok_or_else(|| "must be a time in RFC 3339, such as 2026-01-31T12:00:00Z".to_owned())
}

/// A point in time that is over. A day ahead passes, because clocks and time zones are often
/// wrong by hours.
pub fn past(now: DateTime<Utc>) -> impl Fn(&Value) -> Result<DateTime<Utc>, String> {
    let latest = now + Duration::days(1);
    move |value| match timestamp(value)? {
        time if time <= latest => Ok(time),
        _ => Err("must not lie in the future".to_owned()),
    }
}

/// A calendar day, `YYYY-MM-DD`.
pub fn date(value: &Value) -> Result<NaiveDate, String> {
    value
        .as_str()
        .filter(|text| text.len() == 10)
        .and_then(|text| text.parse().ok())
        .filter(|date: &NaiveDate| (1970..=9999).contains(&date.year()))
        .ok_or_else(|| "must be a date, such as 2026-01-31".to_owned())
}

/// One of a closed set of words.
pub fn one_of<T: Copy + 'static>(
    choices: &'static [(&'static str, T)],
) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        choices.iter().find(|(name, _)| value.as_str() == Some(name)).map(|(_, choice)| *choice).ok_or_else(
            || {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                format!("must be one of {}", names.join(", "))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_answer_names_every_wrong_field() {
        let value = json!({"name": 7, "days": -1, "extra": true, "role": null});
        let mut fields = Fields::of("items[2]", value).unwrap();
        let _: String = fields.required("name", text(1, 100));
        let _: Option<u64> = fields.optional("days", integer(1, 365));
        let _: String = fields.required("role", word);
        let errors = fields.finish().unwrap_err();
        let named: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(named, ["items[2].name", "items[2].days", "items[2].role", "items[2].extra"]);
    }

    #[test]
    fn whole_numbers_are_told_by_value_and_not_by_spelling() {
        for (text, number) in [
            ("24", Some(24)),
            ("24.0", Some(24)),
            ("2.4e1", Some(24)),
            ("24.5", None),
            ("-24", None),
            ("-24.0", None),
            ("101", None),
            ("1e300", None),
            ("\"24\"", None),
            ("true", None),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(integer(1, 100)(&value).ok(), number, "{text}");
        }
    }

    #[test]
    fn ids_cannot_forge_a_key() {
        for (case, text, accepted) in [
            ("plain", "user_1", true),
            ("longest", &"x".repeat(128), true),
            ("too long", &"x".repeat(129), false),
            ("empty", "", false),
            ("separator", "a#b", false),
            ("space", "a b", false),
            ("line break", "a\nb", false),
            ("not ASCII", "ä", false),
        ] {
            assert_eq!(is_id(text), accepted, "{case}");
        }
    }
}
