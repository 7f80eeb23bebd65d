//! What people ask for.

use serde_json::Value;

use super::{Configuration, Content, Environment, Integration, Kind, Loaded};
use crate::{
    Error, FieldError,
    fields::{self, Fields, boolean, integer, one_of, text, word},
    providers::Provider,
};

/// Characters of a name.
const NAME_MAX: usize = 100;
/// Characters of a note.
const NOTE_MAX: usize = 500;

/// An integration to be made.
#[derive(Debug)]
pub struct Order {
    pub(super) kind: Kind,
    /// The provider it is with.
    pub provider: String,
    /// What it is set to.
    pub content: Content,
    pub(super) note: Option<String>,
    /// Whether it is made only if it passes a test.
    pub require_test: bool,
}

impl Order {
    /// Reads the body of a request; one answer names every bad field.
    pub fn parse(mut fields: Fields) -> Result<Self, Error> {
        let kind = fields.required("type", |value| one_of(Kind::NAMES)(value).map(Some));
        let provider = fields.required("provider", word);
        let served_by = kind.and_then(Kind::provider);
        if let Some((kind, one)) =
            kind.zip(served_by).filter(|(_, one)| !provider.is_empty() && *one != provider)
        {
            let message = format!("must be {one} for the type {}, or the type must be custom", kind.name());
            fields.refuse("provider", message);
        }
        let name = fields.required("name", text(1, NAME_MAX));
        let environment = fields.optional("environment", one_of(Environment::NAMES)).unwrap_or_default();
        let credential_id = fields.optional("credential_id", fields::id);
        let active = fields.optional("active", boolean).unwrap_or(true);
        let note = fields.optional("note", text(1, NOTE_MAX));
        let require_test = fields.optional("require_test", boolean).unwrap_or(false);
        let given = fields.optional("configuration", |value| Ok(value.clone()));
        let mut errors = fields.finish().err().unwrap_or_default();
        let kind = kind.unwrap_or(Kind::Custom);
        let given = given.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let configuration = checked(kind, &provider, given, &mut errors);
        if errors.is_empty() {
            let content = Content { name, environment, active, credential_id, configuration };
            Ok(Self { kind, provider, content, note, require_test })
        } else {
            Err(Error::Invalid(errors))
        }
    }
}

fn checked(kind: Kind, provider: &str, given: Value, errors: &mut Vec<FieldError>) -> Configuration {
    Configuration::parse(kind, provider, given).unwrap_or_else(|faults| {
        errors.extend(faults);
        Configuration::default()
    })
}

/// What of an integration is to be set otherwise; what is left out stays.
#[derive(Debug, Default)]
struct Patch {
    name: Option<String>,
    environment: Option<Environment>,
    active: Option<bool>,
    /// Empty: none any more.
    credential_id: Option<String>,
    configuration: Option<Value>,
}

impl Patch {
    fn connection(fields: &mut Fields) -> Self {
        let credential_id = |value: &Value| match value.as_str() {
            Some("") => Ok(String::new()),
            _ => fields::id(value),
        };
        Self {
            environment: fields.optional("environment", one_of(Environment::NAMES)),
            credential_id: fields.optional("credential_id", credential_id),
            configuration: fields.optional("configuration", |value| Ok(value.clone())),
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        self.name.is_none()
            && self.environment.is_none()
            && self.active.is_none()
            && self.credential_id.is_none()
            && self.configuration.is_none()
    }

    /// `errors` are told together with what is wrong with the configuration, which only the
    /// integration's provider shows.
    fn apply(self, stored: &Loaded, mut errors: Vec<FieldError>) -> Result<Content, Error> {
        let Loaded { integration: Integration { kind, provider, .. }, content } = stored;
        let configuration = match self.configuration {
            Some(given) => checked(*kind, provider, given, &mut errors),
            None => content.configuration.clone(),
        };
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        Ok(Content {
            name: self.name.unwrap_or_else(|| content.name.clone()),
            environment: self.environment.unwrap_or(content.environment),
            active: self.active.unwrap_or(content.active),
            credential_id: match self.credential_id {
                Some(id) => Some(id).filter(|id| !id.is_empty()),
                None => content.credential_id.clone(),
            },
            configuration,
        })
    }
}

/// A change of an integration, made from the version that its author saw.
#[derive(Debug)]
pub struct Change {
    patch: Patch,
    seen: u64,
    pub(super) note: Option<String>,
    /// Whether it is made only if it passes a test.
    pub require_test: bool,
    errors: Vec<FieldError>,
}

impl Change {
    /// Reads the body of a request. What is wrong with it is told by [`Change::apply`].
    #[must_use]
    pub fn read(mut fields: Fields) -> Self {
        let seen = fields.required("version", integer(1, u64::from(u32::MAX)));
        let mut patch = Patch::connection(&mut fields);
        patch.name = fields.optional("name", text(1, NAME_MAX));
        patch.active = fields.optional("active", boolean);
        let note = fields.optional("note", text(1, NOTE_MAX));
        let require_test = fields.optional("require_test", boolean).unwrap_or(false);
        let mut errors = fields.finish().err().unwrap_or_default();
        if errors.is_empty() && patch.is_empty() {
            let what = "name, environment, active, credential_id or configuration";
            errors.push(FieldError::new("configuration", format!("at least one of {what} must be given")));
        }
        Self { patch, seen, note, require_test, errors }
    }

    /// What the integration is to be set to. Refuses a change of another version than the newest
    /// one, unless that says already what is asked for, as after an answer that was lost.
    pub fn apply(self, stored: &Loaded) -> Result<Revision, Error> {
        let content = self.patch.apply(stored, self.errors)?;
        if content != stored.content && self.seen != stored.integration.version {
            return Err(stored.clone().superseded());
        }
        Ok(Revision { content, note: self.note, restored_from: None, require_test: self.require_test })
    }
}

/// What a new version is to say.
#[derive(Debug)]
pub struct Revision {
    /// What the integration is set to.
    pub content: Content,
    pub(super) note: Option<String>,
    pub(super) restored_from: Option<u64>,
    /// Whether it is stored only if it passes a test.
    pub require_test: bool,
}

impl Revision {
    /// Whether it says what the integration is set to already.
    #[must_use]
    pub fn changes(&self, stored: &Loaded) -> bool {
        self.content != stored.content
    }
}

/// A way back to an old version.
#[derive(Debug)]
pub struct Rollback {
    /// The version to go back to.
    pub version: u64,
    seen: Option<u64>,
    note: Option<String>,
    require_test: bool,
}

impl Rollback {
    /// Reads the body of a request; one answer names every bad field.
    pub fn parse(mut fields: Fields) -> Result<Self, Error> {
        let rollback = Self {
            version: fields.required("version", integer(1, u64::from(u32::MAX))),
            seen: fields.optional("current", integer(1, u64::from(u32::MAX))),
            note: fields.optional("note", text(1, NOTE_MAX)),
            require_test: fields.optional("require_test", boolean).unwrap_or(false),
        };
        fields.finish().map_err(Error::Invalid)?;
        Ok(rollback)
    }

    /// What the integration is to be set to: what the old version connects to, under the name
    /// that it has now, and active only if it is now.
    pub fn apply(self, stored: &Loaded, old: &Content) -> Result<Revision, Error> {
        if self.seen.is_some_and(|seen| seen != stored.integration.version) {
            return Err(stored.clone().superseded());
        }
        Ok(Revision {
            content: stored.content.restoring(old),
            note: self.note,
            restored_from: Some(self.version),
            require_test: self.require_test,
        })
    }
}

/// What an integration could be set to, to be tested only.
#[derive(Debug)]
pub struct Candidate {
    patch: Patch,
    errors: Vec<FieldError>,
}

impl Candidate {
    /// Reads the body of a request. What is wrong with it is told by [`Candidate::apply`].
    #[must_use]
    pub fn read(mut fields: Fields) -> Self {
        let patch = Patch::connection(&mut fields);
        Self { patch, errors: fields.finish().err().unwrap_or_default() }
    }

    /// What is to be tested; without a change, what the integration is set to.
    pub fn apply(self, stored: &Loaded) -> Result<Content, Error> {
        self.patch.apply(stored, self.errors)
    }
}

/// The provider, if it is one of ours.
pub(super) fn known_provider(word: &str) -> Option<Provider> {
    Provider::WORDS.iter().find(|(name, _)| *name == word).map(|(_, provider)| *provider)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(error: Error) -> Vec<String> {
        let Error::Invalid(errors) = error else { panic!("{error:?}") };
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn one_answer_names_every_bad_field_of_an_order() {
        let body = json!({
            "type": "billing", "provider": "paypal", "name": "", "environment": "prod", "active": 1,
            "credential_id": "a#b", "configuration": {"api_key": "x"}, "note": "", "require_test": "yes",
            "enabled": true,
        });
        let expected = [
            "provider",
            "name",
            "environment",
            "credential_id",
            "active",
            "note",
            "require_test",
            "enabled",
            "configuration.api_key",
        ];
        assert_eq!(named(Order::parse(Fields::of("", body).unwrap()).unwrap_err()), expected);
        let empty = Order::parse(Fields::default()).unwrap_err();
        assert_eq!(named(empty), ["type", "provider", "name"]);
    }

    #[test]
    fn a_kind_is_served_by_its_provider_and_custom_by_anyone() {
        for (kind, provider, accepted) in [
            ("payment_gateway", "stripe", true),
            ("analytics", "ga4", true),
            ("analytics", "stripe", false),
            ("custom", "stripe", true),
            ("custom", "acme-erp", true),
            ("custom", "Acme ERP", false),
        ] {
            let body = json!({"type": kind, "provider": provider, "name": "x"});
            let order = Order::parse(Fields::of("", body).unwrap());
            assert_eq!(order.is_ok(), accepted, "{kind} {provider}");
        }
    }
}
