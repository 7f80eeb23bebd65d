//! Who is calling: the workspace that owns everything, and the person the authorizer established.
//!
//! `authorize-user` turns a bearer token into a [`Person`] ([`token`]); the gateway carries it to
//! the function as the authorizer's context, where [`Person::of`] reads it back. Without one there
//! is no [`Workspace`] to pass to a store, so authorization cannot be forgotten.

pub mod token;

use std::{collections::HashMap, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use lambda_http::{Request, RequestExt};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Error,
    fields::is_id,
    lambda::{Env, EnvError},
    time,
};

/// The tenant that owns everything. Cannot contain `#`, so it cannot forge a key of the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Workspace(String);

impl FromStr for Workspace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_id(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a workspace is 1 to 128 visible ASCII characters without `#`")
        }
    }
}

impl Workspace {
    /// The workspace of those who operate the deployment, whose its own affairs are: the one that
    /// `OPERATORS_WORKSPACE` names, or else the only one, `WORKSPACE`.
    pub fn home(env: &Env) -> Result<Option<Self>, EnvError> {
        let only = env.optional("WORKSPACE")?;
        Ok(env.optional("OPERATORS_WORKSPACE")?.or(only))
    }
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a person may do in their workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads and changes everything.
    Admin,
    /// Reads.
    Member,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }
}

/// A person, as their bearer token told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Whose things the person sees.
    pub workspace: Workspace,
    /// The issuer's id of the person.
    pub subject: String,
    /// What the person may do.
    pub role: Role,
    /// When the token ends. Checked on every call, as the gateway may reuse the authorizer's
    /// answer for longer.
    pub expires_at: DateTime<Utc>,
}

/// An authorizer's answer in API Gateway's simple format.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    is_authorized: bool,
    context: HashMap<&'static str, String>,
}

impl Decision {
    /// Lets the call through, with what the function needs to know of its caller. Text only,
    /// because gateways differ in what they do to other types.
    #[must_use]
    pub fn allow<const N: usize>(context: [(&'static str, String); N]) -> Self {
        Self { is_authorized: true, context: context.into() }
    }

    /// Refuses the call; the gateway answers 403.
    #[must_use]
    pub fn deny() -> Self {
        Self { is_authorized: false, context: HashMap::new() }
    }
}

/// What the authorizer said of the caller, read in the function.
pub(crate) struct Claims<'a>(Option<&'a HashMap<String, Value>>);

impl<'a> Claims<'a> {
    pub(crate) fn of(request: &'a Request) -> Self {
        let context = request.request_context_ref();
        Self(context.and_then(|context| context.authorizer()).map(|authorizer| &authorizer.fields))
    }

    /// A claim, or the refusal that is due when no authorizer stood before this route.
    pub(crate) fn get<T: FromStr>(&self, name: &str) -> Result<T, Error> {
        self.0
            .and_then(|fields| fields.get(name))
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok())
            .ok_or(Error::Unauthenticated("no caller is established"))
    }
}

/// Refuses what has expired. `what` is the public message.
pub(crate) fn unexpired(
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
    what: &'static str,
) -> Result<(), Error> {
    if now < expires_at { Ok(()) } else { Err(Error::Unauthenticated(what)) }
}

impl Person {
    /// The person behind a request that `authorize-user` let through.
    pub fn of(request: &Request) -> Result<Self, Error> {
        let claims = Claims::of(request);
        let person = Self {
            workspace: claims.get("workspace")?,
            subject: claims.get("subject")?,
            role: match claims.get::<String>("role")?.as_str() {
                "admin" => Role::Admin,
                _ => Role::Member,
            },
            expires_at: seconds(claims.get("expires_at")?),
        };
        unexpired(person.expires_at, time::now(), "the bearer token has expired")?;
        Ok(person)
    }

    /// The person, if they are an admin.
    pub fn admin(request: &Request) -> Result<Self, Error> {
        let person = Self::of(request)?;
        match person.role {
            Role::Admin => Ok(person),
            Role::Member => Err(Error::Forbidden("this needs the role admin".to_owned())),
        }
    }

    /// What the authorizer hands on; [`Person::of`] reads it back.
    #[must_use]
    pub fn allow(&self) -> Decision {
        Decision::allow([
            ("workspace", self.workspace.to_string()),
            ("subject", self.subject.clone()),
            ("role", self.role.name().to_owned()),
            ("expires_at", self.expires_at.timestamp().to_string()),
        ])
    }
}

/// A time that a claim gives in seconds since 1970; one that cannot be is long past.
pub(crate) fn seconds(timestamp: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(timestamp, 0).unwrap_or_default()
}
