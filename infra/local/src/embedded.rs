//! The AWS endpoint alone, in memory, for tests of functions and of what they store.

use std::{collections::BTreeMap, net::Ipv4Addr};

use aws_config::SdkConfig;
use serde_json::Value;
use shared::lambda::Env;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    aws::{self, Services},
    dev_issuer, listener,
    runner::StartError,
    state::AccessKey,
    template::{self, Template},
};

/// The template's tables, queues, keys and secrets, for as long as this value lives.
pub struct Embedded {
    sdk: SdkConfig,
    template: Template,
    /// Ends the endpoint when it is dropped.
    _stop: watch::Sender<bool>,
}

impl Embedded {
    /// Starts with empty storage in memory. Nobody serves the development issuer's keys.
    pub async fn memory() -> Result<Self, StartError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let template =
            Template::read(template::SYSTEM, &BTreeMap::new(), &dev_issuer::parameters(&url), &url)?;
        let services = Services::open(None, &template, &url)?;
        let key = AccessKey::random();
        let sdk = aws::sdk_config(&url, &key);
        let router = aws::router(services, key);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(listener::serve(listener, router, stopped));
        Ok(Self { sdk, template, _stop: stop })
    }

    /// For clients of the endpoint.
    #[must_use]
    pub fn sdk(&self) -> SdkConfig {
        self.sdk.clone()
    }

    /// The environment of the function that runs this binary; empty for any other name.
    #[must_use]
    pub fn env(&self, binary: &str) -> Env {
        Env::of(self.variables(binary))
    }

    /// … as the template spells it.
    #[must_use]
    pub fn variables(&self, binary: &str) -> BTreeMap<String, String> {
        let function = self.template.functions.values().find(|function| function.binary == binary);
        function.map(|function| function.environment.clone()).unwrap_or_default()
    }

    /// A `CreateTable` request for each of the template's tables.
    pub fn tables(&self) -> impl Iterator<Item = &Value> {
        self.template.tables.iter().map(|table| &table.create)
    }
}
