//! Google Drive's list, its filter and its pages.

use secrecy::SecretString;
use serde_json::{Value, json};
use shared::{
    providers::{
        google::{Sheet, sheets},
        service_account::Token,
    },
    time,
};

use crate::emulator::Emulator;

const ACCOUNT: &str = "sheets@example.com";
const TEXT: &str = "drive-token";

fn seed(files: &[Value]) -> Value {
    json!({
        "tokens": {TEXT: {"login": ACCOUNT, "scopes": []}},
        "google": {"users": [{"email": ACCOUNT, "name": "Sheets"}], "drive_items": files},
    })
}

fn file(id: &str, name: &str, kind: &str) -> Value {
    let kind = format!("application/vnd.google-apps.{kind}");
    json!({"id": id, "user_email": ACCOUNT, "name": name, "mime_type": kind, "parent_ids": ["root"]})
}

async fn listed(files: &[Value]) -> Vec<Sheet> {
    let emulator = Emulator::start("google", &seed(files)).await;
    let token = Token { text: SecretString::from(TEXT), expires_at: time::now() };
    sheets(&emulator.client(), &token).await.unwrap()
}

#[tokio::test]
async fn spreadsheets_are_listed_and_nothing_else() {
    let files =
        [file("s1", "KPI", "spreadsheet"), file("d1", "Notes", "document"), file("f1", "Folder", "folder")];
    let sheets = listed(&files).await;
    assert_eq!(sheets, [Sheet { id: "s1".to_owned(), name: "KPI".to_owned() }]);
}

#[tokio::test]
async fn an_account_with_which_nothing_was_shared_is_no_fault() {
    assert_eq!(listed(&[file("d1", "Notes", "document")]).await, []);
}

#[tokio::test]
async fn every_page_is_read_up_to_a_thousand() {
    for (count, read) in [(450, 450), (1_100, 1_000)] {
        let files: Vec<_> = (0..count).map(|at| file(&format!("s{at}"), "KPI", "spreadsheet")).collect();
        let mut ids: Vec<_> = listed(&files).await.into_iter().map(|sheet| sheet.id).collect();
        assert_eq!(ids.len(), read, "{count} files");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), read, "{count} files, some twice");
    }
}
