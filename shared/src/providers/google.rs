//! Google Sheets, by a service account: proven by listing the spreadsheets shared with it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    Adapter, Client, Proof, Refusal,
    answer::{clean, unexpected},
    field::Field,
    service_account::{GOOGLE, ServiceAccount, Token},
};
use crate::fields::Fields;

const DRIVE: &str = "https://www.googleapis.com";
const FILES: &str = "/drive/v3/files";
/// Sees names and no content.
const SCOPE: &str = "https://www.googleapis.com/auth/drive.metadata.readonly";
const SPREADSHEETS: &str = "mimeType = 'application/vnd.google-apps.spreadsheet' and trashed = false";
const PAGE: &str = "200";
/// A thousand spreadsheets prove enough, and more would not fit into the time.
const PAGES_MAX: usize = 5;
const NAME_MAX_CHARS: usize = 256;

/// A credential for Google Sheets.
pub struct Google {
    service_account: ServiceAccount,
}

impl Adapter for Google {
    fn read(fields: &mut Fields) -> Option<Self> {
        let service_account = fields.required("service_account", ServiceAccount::read)?;
        Some(Self { service_account })
    }

    fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        vec![("service_account", Field::Group(self.service_account.fields()))]
    }

    async fn verify(&self, client: &Client, now: DateTime<Utc>) -> Result<Proof, Refusal> {
        let token = self.service_account.token(client, &[SCOPE], now).await?;
        let sheets = sheets(client, &token).await?;
        let sheets: Vec<_> =
            sheets.into_iter().map(|Sheet { id, name }| json!({"id": id, "name": name})).collect();
        let answer = [("sheets".to_owned(), Value::from(sheets))].into_iter().collect();
        Ok(Proof { answer, scopes: vec![SCOPE.to_owned()] })
    }
}

/// A spreadsheet that was shared with the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// Google's id of it.
    pub id: String,
    /// Its title.
    pub name: String,
}

/// The spreadsheets that a token may see, the first thousand of them. None at all is no fault:
/// nothing was shared yet.
pub async fn sheets(client: &Client, token: &Token) -> Result<Vec<Sheet>, Refusal> {
    let mut sheets = Vec::new();
    let mut next: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut call = client
            .get(&GOOGLE, DRIVE, FILES)
            .query("q", SPREADSHEETS)
            .query("fields", "nextPageToken,files(id,name)")
            .query("pageSize", PAGE)
            .query("supportsAllDrives", "true")
            .query("includeItemsFromAllDrives", "true")
            .bearer(&token.text);
        if let Some(page) = &next {
            call = call.query("pageToken", page);
        }
        let answer = call.send().await?;
        for file in answer.list(&GOOGLE, "/files")? {
            let text = |name: &str| file[name].as_str().map(|text| clean(text, NAME_MAX_CHARS));
            let (Some(id), Some(name)) = (text("id"), text("name")) else {
                return Err(unexpected(&GOOGLE, "a file's id and name"));
            };
            sheets.push(Sheet { id, name });
        }
        next = answer.body["nextPageToken"].as_str().map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    Ok(sheets)
}
