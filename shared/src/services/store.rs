//! The rows of settings.

use std::collections::HashSet;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::sleep;

use super::{Order, Service, Settings, View};
use crate::{
    Error,
    activity::Activity,
    credentials::Credentials,
    identity::{Person, Workspace},
    lambda::{Env, EnvError},
    store::{self, Table, Transacted, key, key::Key, n, s, unavailable},
};

/// The settings of services.
#[derive(Clone)]
pub struct Services {
    table: Table,
    activity: Activity,
    credentials: Credentials,
}

impl Services {
    /// Reads `INTEGRATIONS_TABLE` and `ACTIVITY_TABLE`, and what [`Credentials::load`] reads; no
    /// credential is opened.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let client = store::client(sdk);
        Ok(Self {
            table: Table::load(env, &client, "INTEGRATIONS_TABLE")?,
            activity: Activity::load(env, &client)?,
            credentials: Credentials::load(env, sdk)?,
        })
    }

    /// Every service, set or not. Two reads.
    pub async fn list(&self, workspace: &Workspace) -> Result<Vec<View>, Error> {
        // A row has less than 1 kB and there are few, so this is always one page.
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", s(key::services(workspace)))
            .consistent_read(true);
        let found = query.send().await.map_err(unavailable)?.items.unwrap_or_default();
        let set: Vec<Settings> = found.into_iter().map(store::entity).collect::<Result<_, _>>()?;
        let one = |service| {
            let set = set.iter().find(|settings: &&Settings| settings.service == service);
            set.cloned().unwrap_or_else(|| Settings::initial(service))
        };
        self.views(workspace, Service::ALL.map(one).to_vec()).await
    }

    /// A service, set or not. Two reads.
    pub async fn get(&self, workspace: &Workspace, service: Service) -> Result<View, Error> {
        let settings = self.read(workspace, service).await?;
        self.view(workspace, settings).await
    }

    /// What a function that needs the service works with; refuses with what it lacks. Two reads.
    pub async fn require(&self, workspace: &Workspace, service: Service) -> Result<Settings, Error> {
        let View { settings, mut missing, .. } = self.get(workspace, service).await?;
        if !settings.enabled {
            missing.insert(0, "enabled");
        }
        if missing.is_empty() {
            Ok(settings)
        } else {
            Err(Error::NotConfigured { service: service.word(), missing })
        }
    }

    /// Replaces the settings, on condition that they are as the admin saw them. One read for the
    /// credential and one transaction.
    pub async fn set(
        &self,
        person: &Person,
        service: Service,
        order: Order,
        now: DateTime<Utc>,
    ) -> Result<View, Error> {
        let workspace = &person.workspace;
        let seen = order.seen;
        let new = order.apply(service, person, now);
        if new.credential_id.is_some() && !self.has_credential(workspace, &new).await? {
            let message = format!("must be a credential of this workspace for {}", service.word());
            return Err(Error::invalid("credential_id", message));
        }
        let put = self.table.put(Key::service(workspace, service.word()), &new)?;
        let put = match seen {
            0 => put.condition_expression("attribute_not_exists(pk)"),
            seen => put.condition_expression("version = :seen").expression_attribute_values(":seen", n(seen)),
        };
        let detail = json!({
            "enabled": new.enabled,
            "account": new.account,
            "metrics": new.metrics,
            "credential_id": new.credential_id,
            "version": new.version,
        });
        let writes = vec![
            store::put(put)?,
            self.activity.record(person, "service.changed", service.word(), detail, now)?,
        ];
        for pause in store::backoff() {
            match self.table.transact(writes.clone()).await? {
                Transacted::Done => return self.view(workspace, new).await,
                Transacted::Refused => {
                    let stored = self.read(workspace, service).await?;
                    // A repetition of our own write, whose answer was lost.
                    if stored == new {
                        return self.view(workspace, new).await;
                    }
                    let newer = self.view(workspace, stored).await?;
                    let newer = serde_json::to_value(newer).map_err(unavailable)?;
                    return Err(Error::Superseded(Box::new(newer)));
                }
                Transacted::Contended => sleep(pause).await,
            }
        }
        Err(Error::Conflict("the service is being changed by someone else".to_owned()))
    }

    async fn read(&self, workspace: &Workspace, service: Service) -> Result<Settings, Error> {
        let read = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let key = Key::service(workspace, service.word());
        let found = read.set_key(Some(key.item())).send().await.map_err(unavailable)?;
        found.item.map_or_else(|| Ok(Settings::initial(service)), store::entity)
    }

    async fn has_credential(&self, workspace: &Workspace, settings: &Settings) -> Result<bool, Error> {
        let Some(id) = settings.credential_id.as_deref() else { return Ok(false) };
        let found = self.credentials.providers(workspace, &HashSet::from([id])).await?;
        Ok(found.get(id) == Some(&settings.service.provider()))
    }

    async fn view(&self, workspace: &Workspace, settings: Settings) -> Result<View, Error> {
        let credential = self.has_credential(workspace, &settings).await?;
        Ok(View::of(settings, credential))
    }

    async fn views(&self, workspace: &Workspace, all: Vec<Settings>) -> Result<Vec<View>, Error> {
        let ids = all.iter().filter_map(|settings| settings.credential_id.as_deref()).collect();
        let found = self.credentials.providers(workspace, &ids).await?;
        let view = |settings: Settings| {
            let provider = settings.credential_id.as_ref().and_then(|id| found.get(id));
            let credential = provider == Some(&settings.service.provider());
            View::of(settings, credential)
        };
        Ok(all.into_iter().map(view).collect())
    }
}
