//! The calls of the public API that an import makes.

use std::{collections::HashMap, time::Duration};

use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde_json::{Value, json};
use shared::providers::Provider;

use crate::runner::StartError;

/// What a page of the list holds at most.
const PAGE: &str = "100";

pub(super) struct Api {
    client: Client,
    url: String,
    token: String,
    /// The names of the credentials that are there, by provider.
    names: HashMap<Provider, Vec<String>>,
}

impl Api {
    pub(super) fn new(url: &str, token: &str) -> Result<Self, StartError> {
        // A redirect would carry secrets to where nobody meant them to go.
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(Duration::from_secs(35));
        let client = client.build().map_err(|error| error.to_string())?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { client, url, token: token.trim().to_owned(), names: HashMap::new() })
    }

    /// Whether the workspace has a credential of this provider and name.
    pub(super) async fn has(&mut self, provider: Provider, name: &str) -> Result<bool, StartError> {
        if let Some(names) = self.names.get(&provider) {
            return Ok(names.iter().any(|known| known == name));
        }
        let mut known = Vec::new();
        let mut cursor = None;
        loop {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("provider", provider.word()).append_pair("limit", PAGE);
            query.extend_pairs(cursor.take().map(|cursor: String| ("cursor", cursor)));
            let list = format!("{}/api/credentials/list?{}", self.url, query.finish());
            let (status, page) = self.send(self.client.get(list)).await?;
            if status != StatusCode::OK {
                return Err(format!("the credentials cannot be listed: {}", told(status, &page)).into());
            }
            let credentials = page["credentials"].as_array().cloned().unwrap_or_default();
            known.extend(credentials.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)));
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        let found = known.iter().any(|known| known == name);
        self.names.insert(provider, known);
        Ok(found)
    }

    /// Remembers that there is, or would be, a credential.
    pub(super) fn note(&mut self, provider: Provider, name: &str) {
        self.names.entry(provider).or_default().push(name.to_owned());
    }

    /// Saves a credential; answers its id, or why the server did not take it.
    pub(super) async fn save(
        &self,
        provider: Provider,
        name: &str,
        credential: Value,
    ) -> Result<Result<String, String>, StartError> {
        let save = self.client.post(format!("{}/api/credentials/save", self.url));
        let body = json!({"provider": provider.word(), "name": name, "credential": credential});
        let (status, answer) = self.send(save.json(&body)).await?;
        Ok(match answer["id"].as_str() {
            Some(id) if status == StatusCode::CREATED => Ok(id.to_owned()),
            _ => Err(told(status, &answer)),
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Value), StartError> {
        let unreachable =
            |error: reqwest::Error| format!("{} does not answer: {}", self.url, error.without_url());
        let response: Response = request.bearer_auth(&self.token).send().await.map_err(unreachable)?;
        let status = response.status();
        // What is not JSON did not come from the API, and its status says enough.
        Ok((status, response.json().await.unwrap_or_default()))
    }
}

/// What a refusal says: the API's own words, with the fields it names.
fn told(status: StatusCode, answer: &Value) -> String {
    let fields = answer["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|error| Some(format!("{} {}", error["field"].as_str()?, error["message"].as_str()?)));
    let detail = [&answer["detail"], &answer["message"]].into_iter().find_map(Value::as_str);
    let said: Vec<_> = detail.map(str::to_owned).into_iter().chain(fields).collect();
    format!("{status}: {}", said.join(", "))
}
