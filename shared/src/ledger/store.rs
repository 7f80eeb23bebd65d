//! The ledger's table; [`super::write`] and [`super::read`] say what is done with it.

use aws_config::SdkConfig;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use super::names::Names;
use crate::{
    lambda::{Env, EnvError},
    store::{self, Table},
    time,
};

/// The store of the ledger.
#[derive(Clone)]
pub struct Ledger {
    pub(super) table: Table,
    pub(super) zone: Tz,
    pub(super) names: Names,
}

impl Ledger {
    /// Reads `LEDGER_TABLE` and `TIME_ZONE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let table = Table::load(env, &store::client(sdk), "LEDGER_TABLE")?;
        Ok(Self { table, zone: env.required("TIME_ZONE")?, names: Names::default() })
    }

    /// The calendar day where the workspace is.
    #[must_use]
    pub fn today(&self, now: DateTime<Utc>) -> NaiveDate {
        time::day_in(self.zone, now)
    }
}
