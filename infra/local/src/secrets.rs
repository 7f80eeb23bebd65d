//! Secrets Manager: secrets with a current and a previous version, encrypted at rest.

use std::{collections::BTreeMap, sync::Arc};

use base64::prelude::{BASE64_STANDARD, Engine};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    aws::ServiceError,
    database::{Rows, now_ms},
    intrinsics::arn,
    kms::Kms,
    random,
    template::{Initial, Secret},
};

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
/// What a secret may hold.
const MAX_VALUE: usize = 65_536;
/// The key that secrets are encrypted under; no key of a template can have this name.
const KEY: &str = "aws/secretsmanager";

/// The secrets.
#[derive(Clone)]
pub struct Secrets {
    rows: Rows,
    kms: Arc<Kms>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    secret_id: Option<String>,
    name: Option<String>,
    description: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
    client_request_token: Option<String>,
    version_id: Option<String>,
    version_stage: Option<String>,
    version_stages: Option<Vec<String>>,
    max_results: Option<usize>,
    next_token: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: String,
    values: Vec<String>,
}

struct Version {
    id: String,
    stage: Option<String>,
    sealed: Vec<u8>,
    binary: bool,
    created_ms: i64,
}

impl Secrets {
    /// The secrets in these rows.
    pub fn new(rows: Rows, kms: Arc<Kms>) -> Self {
        Self { rows, kms }
    }

    /// Makes the template's secrets that are not there.
    pub fn create(&self, secrets: &[Secret]) -> Result<(), String> {
        for secret in secrets {
            let value = match &secret.initial {
                Initial::Nothing => None,
                Initial::Text(text) => Some(text.clone()),
                Initial::Random { length, member: None } => Some(random::letters(*length)),
                Initial::Random { length, member: Some((object, name)) } => {
                    let mut object = object.clone();
                    object.insert(name.clone(), random::letters(*length).into());
                    Some(Value::Object(object).to_string())
                }
            };
            let made = self.rows.run_here(|rows| {
                if exists(rows, &secret.name)? {
                    return Ok(());
                }
                insert(rows, &secret.name, None)?;
                match &value {
                    Some(value) => self.put(rows, &secret.name, &random::uuid(), value.as_bytes(), false),
                    None => Ok(()),
                }
            });
            made.map_err(|error: ServiceError| format!("secret {}: {}", secret.name, error.message))?;
        }
        Ok(())
    }

    /// Answers one request of Secrets Manager's protocol.
    pub async fn answer(&self, operation: String, request: Value) -> Result<Value, ServiceError> {
        let request: Request = serde_json::from_value(request).map_err(ServiceError::malformed)?;
        let secrets = self.clone();
        self.rows.run(move |rows| secrets.run(rows, &operation, request)).await
    }

    fn run(&self, rows: &Transaction<'_>, operation: &str, request: Request) -> Result<Value, ServiceError> {
        match operation {
            "CreateSecret" => {
                let name = request.name.as_deref().filter(|name| !name.is_empty());
                let name = name.ok_or_else(|| invalid("Name is missing"))?.to_owned();
                if exists(rows, &name)? {
                    return Err(ServiceError::new("ResourceExistsException", "the secret already exists"));
                }
                insert(rows, &name, request.description.as_deref())?;
                let version = match value(&request)? {
                    Some((value, binary)) => {
                        let version = request.client_request_token.unwrap_or_else(random::uuid);
                        self.put(rows, &name, &version, &value, binary)?;
                        Some(version)
                    }
                    None => None,
                };
                let mut answer = described(&name);
                if let Some(version) = version {
                    answer.insert("VersionId".into(), version.into());
                }
                Ok(answer.into())
            }
            "PutSecretValue" => {
                let name = found(rows, request.secret_id.as_deref())?;
                let stages = request.version_stages.clone().unwrap_or_else(|| vec![CURRENT.to_owned()]);
                if stages != [CURRENT] {
                    return Err(invalid("only the stage AWSCURRENT can be put in the embedded runner"));
                }
                let (value, binary) = value(&request)?.ok_or_else(|| invalid("the value is missing"))?;
                let version = request.client_request_token.unwrap_or_else(random::uuid);
                self.put(rows, &name, &version, &value, binary)?;
                let mut answer = described(&name);
                answer.insert("VersionId".into(), version.into());
                answer.insert("VersionStages".into(), json!([CURRENT]));
                Ok(answer.into())
            }
            "GetSecretValue" => self.get(rows, &request),
            "DescribeSecret" => describe(rows, &found(rows, request.secret_id.as_deref())?),
            "ListSecrets" => list(rows, &request),
            _ => Err(ServiceError::unknown("Secrets Manager", operation)),
        }
    }

    /// Makes this the current version, and the one that was, the previous. Repeating a version
    /// with the same value changes nothing.
    fn put(
        &self,
        rows: &Transaction<'_>,
        name: &str,
        version: &str,
        value: &[u8],
        binary: bool,
    ) -> Result<(), ServiceError> {
        if value.len() > MAX_VALUE {
            return Err(invalid("the value is longer than 65536 bytes"));
        }
        let old = versions(rows, name)?.into_iter().find(|old| old.id == version);
        if let Some(old) = old {
            let (_, same) = self.kms.open(&context(name, version), &old.sealed)?;
            if same == value && old.binary == binary {
                return Ok(());
            }
            let message = "the version already exists with another value";
            return Err(ServiceError::new("ResourceExistsException", message));
        }
        // A version without a stage can no longer be read by stage, and is not kept.
        rows.execute("DELETE FROM secret_versions WHERE name = ? AND stage = ?", [name, PREVIOUS])?;
        rows.execute(
            "UPDATE secret_versions SET stage = ? WHERE name = ? AND stage = ?",
            [PREVIOUS, name, CURRENT],
        )?;
        let sealed = self.kms.seal(KEY, &context(name, version), value)?;
        rows.execute(
            "INSERT INTO secret_versions (name, version, stage, sealed, binary, created_ms)
             VALUES (?, ?, ?, ?, ?, ?)",
            params![name, version, CURRENT, sealed, binary, now_ms()],
        )?;
        Ok(())
    }

    fn get(&self, rows: &Transaction<'_>, request: &Request) -> Result<Value, ServiceError> {
        let name = found(rows, request.secret_id.as_deref())?;
        let stage = request.version_stage.as_deref();
        let wanted = |version: &Version| match (&request.version_id, stage) {
            (Some(id), None) => version.id == *id,
            (Some(id), Some(stage)) => version.id == *id && version.stage.as_deref() == Some(stage),
            (None, stage) => version.stage.as_deref() == Some(stage.unwrap_or(CURRENT)),
        };
        let version = versions(rows, &name)?.into_iter().find(wanted).ok_or_else(|| {
            not_found(
                "Secrets Manager can't find the specified secret value for the staging label or version",
            )
        })?;
        let (_, value) = self.kms.open(&context(&name, &version.id), &version.sealed)?;
        let mut answer = described(&name);
        answer.insert("VersionId".into(), version.id.into());
        answer.insert("VersionStages".into(), json!(version.stage.into_iter().collect::<Vec<_>>()));
        answer.insert("CreatedDate".into(), seconds(version.created_ms));
        match String::from_utf8(value) {
            Ok(text) if !version.binary => answer.insert("SecretString".into(), text.into()),
            Ok(bytes) => answer.insert("SecretBinary".into(), BASE64_STANDARD.encode(bytes).into()),
            Err(error) => {
                answer.insert("SecretBinary".into(), BASE64_STANDARD.encode(error.as_bytes()).into())
            }
        };
        Ok(answer.into())
    }
}

fn value(request: &Request) -> Result<Option<(Vec<u8>, bool)>, ServiceError> {
    match (&request.secret_string, &request.secret_binary) {
        (Some(text), None) => Ok(Some((text.clone().into_bytes(), false))),
        (None, Some(base64)) => {
            Ok(Some((BASE64_STANDARD.decode(base64).map_err(ServiceError::malformed)?, true)))
        }
        (None, None) => Ok(None),
        _ => Err(invalid("SecretString and SecretBinary exclude each other")),
    }
}

fn context(name: &str, version: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("secret".to_owned(), name.to_owned()), ("version".to_owned(), version.to_owned())])
}

fn insert(rows: &Transaction<'_>, name: &str, description: Option<&str>) -> rusqlite::Result<()> {
    let insert = "INSERT INTO secrets (name, description, created_ms) VALUES (?, ?, ?)";
    rows.execute(insert, params![name, description, now_ms()]).map(drop)
}

fn exists(rows: &Transaction<'_>, name: &str) -> rusqlite::Result<bool> {
    rows.query_row("SELECT 1 FROM secrets WHERE name = ?", [name], |_| Ok(()))
        .optional()
        .map(|row| row.is_some())
}

/// The name of a secret that is given by name or ARN, if it is there.
fn found(rows: &Transaction<'_>, id: Option<&str>) -> Result<String, ServiceError> {
    let id = id.ok_or_else(|| invalid("SecretId is missing"))?;
    let name = id.strip_prefix(arn("secretsmanager", "secret:").as_str()).unwrap_or(id);
    if exists(rows, name)? {
        Ok(name.to_owned())
    } else {
        Err(not_found("Secrets Manager can't find the specified secret."))
    }
}

fn versions(rows: &Transaction<'_>, name: &str) -> rusqlite::Result<Vec<Version>> {
    let select = "SELECT version, stage, sealed, binary, created_ms FROM secret_versions WHERE name = ?";
    let read = |row: &Row<'_>| {
        Ok(Version {
            id: row.get(0)?,
            stage: row.get(1)?,
            sealed: row.get(2)?,
            binary: row.get(3)?,
            created_ms: row.get(4)?,
        })
    };
    rows.prepare_cached(select)?.query_map([name], read)?.collect()
}

fn described(name: &str) -> Map<String, Value> {
    let arn = arn("secretsmanager", &format!("secret:{name}"));
    Map::from_iter([("ARN".to_owned(), arn.into()), ("Name".to_owned(), name.into())])
}

fn describe(rows: &Transaction<'_>, name: &str) -> Result<Value, ServiceError> {
    let select = "SELECT description, created_ms FROM secrets WHERE name = ?";
    let (description, created_ms): (Option<String>, i64) =
        rows.query_row(select, [name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let versions = versions(rows, name)?;
    let changed_ms = versions.iter().map(|version| version.created_ms).fold(created_ms, i64::max);
    let stages: BTreeMap<_, Vec<_>> =
        versions.into_iter().map(|version| (version.id, version.stage.into_iter().collect())).collect();
    let mut answer = described(name);
    if let Some(description) = description {
        answer.insert("Description".into(), description.into());
    }
    answer.insert("CreatedDate".into(), seconds(created_ms));
    answer.insert("LastChangedDate".into(), seconds(changed_ms));
    answer.insert("VersionIdsToStages".into(), json!(stages));
    Ok(answer.into())
}

fn list(rows: &Transaction<'_>, request: &Request) -> Result<Value, ServiceError> {
    if request.filters.iter().any(|filter| filter.key != "name") {
        return Err(invalid("secrets can only be filtered by name in the embedded runner"));
    }
    let matches = |name: &String| {
        let one = |filter: &Filter| filter.values.iter().any(|prefix| name.starts_with(prefix.as_str()));
        request.filters.iter().all(one)
    };
    let select = "SELECT name FROM secrets WHERE name > ? ORDER BY name";
    let after = request.next_token.as_deref().unwrap_or_default();
    let names: Vec<String> =
        rows.prepare_cached(select)?.query_map([after], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut names: Vec<_> = names.into_iter().filter(matches).collect();
    let size = request.max_results.unwrap_or(100).clamp(1, 100);
    let more = names.len() > size;
    names.truncate(size);
    let described: Result<Vec<_>, _> = names.iter().map(|name| describe(rows, name)).collect();
    let mut answer = json!({"SecretList": described?});
    if let Some(last) = names.last().filter(|_| more) {
        answer["NextToken"] = last.as_str().into();
    }
    Ok(answer)
}

/// Times are fractions of seconds in this protocol.
#[expect(clippy::cast_precision_loss, reason = "milliseconds fit a double for 285,000 years")]
fn seconds(millis: i64) -> Value {
    (millis as f64 / 1000.0).into()
}

fn invalid(message: &str) -> ServiceError {
    ServiceError::new("InvalidParameterException", message)
}

fn not_found(message: &str) -> ServiceError {
    ServiceError::new("ResourceNotFoundException", message)
}
