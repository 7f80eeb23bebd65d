//! `GET /api/devops/overview`: how operations are, as a workspace's tools and GitHub tell.

use std::{collections::BTreeMap, sync::Arc};

use aws_config::SdkConfig;
use chrono::{DateTime, TimeDelta, Utc};
use lambda_http::Request;
use serde::Serialize;
use shared::{
    Error,
    http::{self, Answer},
    identity::Person,
    lambda::{Env, EnvError, Function},
    time,
    webhooks::{
        Source, Webhooks,
        operations::{Alert, Deployment, Health, Operations, Told},
    },
};

/// Deployments and alerts that are shown of each.
const SHOWN: i32 = 20;
/// The days of GitHub's events that are counted.
const DAYS: i64 = 30;

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    operations: Operations,
    events: Webhooks,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { operations: Operations::load(env, sdk)?, events: Webhooks::load(env, sdk)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

#[derive(Serialize)]
struct Overview {
    timestamp: DateTime<Utc>,
    health: Option<Told<Health>>,
    deployments: Vec<Told<Deployment>>,
    alerts: Vec<Told<Alert>>,
    github: Repositories,
}

/// What happened in repositories.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Repositories {
    days: i64,
    events: u64,
    by_type: BTreeMap<String, u64>,
    by_action: BTreeMap<String, u64>,
    by_repository: BTreeMap<String, u64>,
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    let person = Person::of(&request)?;
    http::query(&request).finish().map_err(Error::Invalid)?;
    let (workspace, now) = (&person.workspace, time::now());
    let from = now - TimeDelta::days(DAYS);
    let Deps { operations, events } = &*deps;
    let (health, deployments, alerts, figures) = tokio::try_join!(
        operations.health(workspace, now),
        operations.deployments(workspace, SHOWN, now),
        operations.alerts(workspace, SHOWN, now),
        events.counted(workspace, Source::Github, from, now),
    )?;
    let github = repositories(figures);
    Ok(http::ok(&Overview { timestamp: now, health, deployments, alerts, github }))
}

/// GitHub's figures by what they count.
fn repositories(figures: BTreeMap<String, u64>) -> Repositories {
    let mut told = Repositories { days: DAYS, ..Repositories::default() };
    for (name, count) in figures {
        if let Some(kind) = name.strip_prefix("t:") {
            told.events += count;
            told.by_type.insert(kind.to_owned(), count);
        } else if let Some(repository) = name.strip_prefix("repository:") {
            told.by_repository.insert(repository.to_owned(), count);
        } else if name.contains('.') {
            told.by_action.insert(name, count);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_stands_where_it_belongs() {
        let figures = [
            ("t:issues", 3),
            ("t:push", 2),
            ("issues.opened", 3),
            ("repository:octo/a.b", 5),
            ("processed", 5),
            ("total_ms", 40),
        ];
        let told = repositories(figures.map(|(name, count)| (name.to_owned(), count)).into());
        let one = |name: &str, count| BTreeMap::from([(name.to_owned(), count)]);
        assert_eq!(
            told,
            Repositories {
                days: 30,
                events: 5,
                by_type: BTreeMap::from([("issues".to_owned(), 3), ("push".to_owned(), 2)]),
                by_action: one("issues.opened", 3),
                by_repository: one("octo/a.b", 5),
            }
        );
    }
}
