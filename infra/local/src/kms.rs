//! KMS: AES-256-GCM under keys derived from the state directory's master key.
//!
//! A ciphertext names its key, and is bound to it and to the encryption context: decrypting with
//! another context fails, as it does on AWS.

use std::collections::BTreeMap;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{aws::ServiceError, intrinsics::arn, random, template::Template};

const NONCE_LENGTH: usize = 12;
/// First byte of a ciphertext, so that its form can change.
const FORM: u8 = 1;
/// What KMS encrypts directly.
const MAX_PLAINTEXT: usize = 4096;

/// The template's keys.
pub struct Kms {
    master: [u8; 32],
    keys: Vec<String>,
    aliases: BTreeMap<String, String>,
}

type Context = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    key_id: Option<String>,
    #[serde(default)]
    encryption_context: Context,
    plaintext: Option<String>,
    ciphertext_blob: Option<String>,
    key_spec: Option<String>,
    number_of_bytes: Option<usize>,
    encryption_algorithm: Option<String>,
    #[serde(default)]
    grant_tokens: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ReEncrypt {
    ciphertext_blob: Option<String>,
    #[serde(default)]
    source_encryption_context: Context,
    source_key_id: Option<String>,
    #[serde(default)]
    destination_encryption_context: Context,
    destination_key_id: Option<String>,
}

impl Kms {
    /// The keys of the template, under the master key.
    pub fn new(master: [u8; 32], template: &Template) -> Self {
        Self { master, keys: template.keys.clone(), aliases: template.key_aliases.clone() }
    }

    /// Answers one request of KMS's protocol.
    pub fn answer(&self, operation: &str, request: Value) -> Result<Value, ServiceError> {
        if operation == "ReEncrypt" {
            return self.re_encrypt(&serde_json::from_value(request).map_err(ServiceError::malformed)?);
        }
        let request: Request = serde_json::from_value(request).map_err(ServiceError::malformed)?;
        let symmetric = request.encryption_algorithm.as_deref().unwrap_or("SYMMETRIC_DEFAULT");
        if symmetric != "SYMMETRIC_DEFAULT" || !request.grant_tokens.is_empty() {
            return Err(invalid("only SYMMETRIC_DEFAULT without grants is known to the embedded runner"));
        }
        match operation {
            "Encrypt" => {
                let key = self.key(request.key_id.as_deref())?;
                let plaintext = decode(request.plaintext.as_deref())?;
                if plaintext.is_empty() || plaintext.len() > MAX_PLAINTEXT {
                    return Err(invalid("Plaintext must have 1 to 4096 bytes"));
                }
                let blob = self.seal(key, &request.encryption_context, &plaintext)?;
                Ok(json!({
                    "KeyId": key_arn(key),
                    "CiphertextBlob": BASE64_STANDARD.encode(blob),
                    "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                }))
            }
            "Decrypt" => {
                let blob = decode(request.ciphertext_blob.as_deref())?;
                let (key, plaintext) =
                    self.open_as(request.key_id.as_deref(), &request.encryption_context, &blob)?;
                Ok(json!({
                    "KeyId": key_arn(key),
                    "Plaintext": BASE64_STANDARD.encode(plaintext),
                    "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                }))
            }
            "GenerateDataKey" => {
                let key = self.key(request.key_id.as_deref())?;
                let length = match (request.key_spec.as_deref(), request.number_of_bytes) {
                    (Some("AES_256"), None) => 32,
                    (Some("AES_128"), None) => 16,
                    (None, Some(length @ 1..=1024)) => length,
                    _ => return Err(invalid("one of KeySpec and NumberOfBytes must be given")),
                };
                let mut plaintext = random::bytes::<1024>().to_vec();
                plaintext.truncate(length);
                let blob = self.seal(key, &request.encryption_context, &plaintext)?;
                Ok(json!({
                    "KeyId": key_arn(key),
                    "Plaintext": BASE64_STANDARD.encode(plaintext),
                    "CiphertextBlob": BASE64_STANDARD.encode(blob),
                }))
            }
            "DescribeKey" => {
                let key = self.key(request.key_id.as_deref())?;
                Ok(json!({"KeyMetadata": {
                    "KeyId": key,
                    "Arn": key_arn(key),
                    "AWSAccountId": crate::intrinsics::ACCOUNT,
                    "Enabled": true,
                    "KeyState": "Enabled",
                    "KeyUsage": "ENCRYPT_DECRYPT",
                    "KeyManager": "CUSTOMER",
                    "KeySpec": "SYMMETRIC_DEFAULT",
                    "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
                    "Origin": "AWS_KMS",
                    "MultiRegion": false,
                }}))
            }
            _ => Err(ServiceError::unknown("KMS", operation)),
        }
    }

    fn re_encrypt(&self, request: &ReEncrypt) -> Result<Value, ServiceError> {
        let destination = self.key(request.destination_key_id.as_deref())?;
        let blob = decode(request.ciphertext_blob.as_deref())?;
        let (source, plaintext) =
            self.open_as(request.source_key_id.as_deref(), &request.source_encryption_context, &blob)?;
        let blob = self.seal(destination, &request.destination_encryption_context, &plaintext)?;
        Ok(json!({
            "CiphertextBlob": BASE64_STANDARD.encode(blob),
            "SourceKeyId": key_arn(source),
            "KeyId": key_arn(destination),
            "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }))
    }

    /// As [`Self::open`], if the key is the one that is expected, when one is, and still there.
    fn open_as(
        &self,
        expected: Option<&str>,
        context: &Context,
        blob: &[u8],
    ) -> Result<(&str, Vec<u8>), ServiceError> {
        let (key, plaintext) = self.open(context, blob)?;
        let key = self.key(Some(&key))?;
        if expected.is_some() && self.key(expected)? != key {
            return Err(ServiceError::new("IncorrectKeyException", "the ciphertext is of another key"));
        }
        Ok((key, plaintext))
    }

    /// Encrypts under the key of this name, bound to the context.
    pub fn seal(&self, key: &str, context: &Context, plaintext: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let nonce = random::bytes::<NONCE_LENGTH>();
        let mut blob =
            vec![FORM, u8::try_from(key.len()).map_err(|_| invalid("the key's name is too long"))?];
        blob.extend(key.as_bytes());
        blob.extend(nonce);
        let mut sealed = plaintext.to_vec();
        self.cipher(key)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                bound_to(key, context),
                &mut sealed,
            )
            .map_err(|_| ServiceError::internal())?;
        blob.extend(sealed);
        Ok(blob)
    }

    /// The name of the key and the plaintext, if the context is the one it was encrypted with.
    pub fn open(&self, context: &Context, blob: &[u8]) -> Result<(String, Vec<u8>), ServiceError> {
        let invalid = || ServiceError::new("InvalidCiphertextException", "");
        let (&[form, length], rest) = blob.split_first_chunk::<2>().ok_or_else(invalid)?;
        let (key, rest) =
            rest.split_at_checked(length.into()).filter(|_| form == FORM).ok_or_else(invalid)?;
        let key = std::str::from_utf8(key).map_err(|_| invalid())?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or_else(invalid)?;
        let mut sealed = sealed.to_vec();
        let plaintext = self
            .cipher(key)?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), bound_to(key, context), &mut sealed)
            .map_err(|_| invalid())?;
        Ok((key.to_owned(), plaintext.to_vec()))
    }

    /// Each key of the template has its own, derived from the master key and its name.
    fn cipher(&self, key: &str) -> Result<LessSafeKey, ServiceError> {
        let mut derived = [0; 32];
        Salt::new(HKDF_SHA256, b"tidegate kms")
            .extract(&self.master)
            .expand(&[key.as_bytes()], Length(derived.len()))
            .and_then(|okm| okm.fill(&mut derived))
            .and_then(|()| UnboundKey::new(&AES_256_GCM, &derived))
            .map(LessSafeKey::new)
            .map_err(|_| ServiceError::internal())
    }

    /// The name of a key that is given by id, ARN or alias.
    fn key(&self, id: Option<&str>) -> Result<&str, ServiceError> {
        let id = id.ok_or_else(|| invalid("KeyId is missing"))?;
        let name = match id.strip_prefix(arn("kms", "").as_str()) {
            Some(path) => path.strip_prefix("key/").unwrap_or(path),
            None => id,
        };
        let name = self.aliases.get(name).map_or(name, String::as_str);
        let known = self.keys.iter().find(|key| *key == name);
        known
            .map(String::as_str)
            .ok_or_else(|| ServiceError::new("NotFoundException", &format!("Key '{id}' does not exist")))
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn key_arn(key: &str) -> String {
    arn("kms", &format!("key/{key}"))
}

/// The context's order does not matter; a map has only one spelling here.
fn bound_to(key: &str, context: &Context) -> Aad<String> {
    Aad::from(json!([key, context]).to_string())
}

fn decode(base64: Option<&str>) -> Result<Vec<u8>, ServiceError> {
    let base64 = base64.ok_or_else(|| invalid("the blob is missing"))?;
    BASE64_STANDARD.decode(base64).map_err(ServiceError::malformed)
}

fn invalid(message: &str) -> ServiceError {
    ServiceError::new("ValidationException", message)
}
