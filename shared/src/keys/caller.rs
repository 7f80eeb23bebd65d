//! The tool behind a request, as `authorize-key` established it.

use chrono::{DateTime, Utc};
use lambda_http::Request;

use super::Permission;
use crate::{
    Error,
    identity::{Claims, Decision, Workspace, seconds},
};

/// What keys can be used for: the routes behind `authorize-key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `GET /api/devops/sync/users`
    SyncUsers,
    /// `GET /api/devops/sync/revenue`
    SyncRevenue,
    /// `GET /api/devops/sync/commissions`
    SyncCommissions,
    /// `PUT /api/ingest/users`
    IngestUsers,
    /// `PUT /api/ingest/subscriptions`
    IngestSubscriptions,
    /// `PUT /api/ingest/transactions`
    IngestTransactions,
    /// `PUT /api/ingest/commissions`
    IngestCommissions,
    /// `POST /api/devops/webhook`
    DevopsWebhook,
}

impl Call {
    /// As usage names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SyncUsers => "sync-users",
            Self::SyncRevenue => "sync-revenue",
            Self::SyncCommissions => "sync-commissions",
            Self::IngestUsers => "ingest-users",
            Self::IngestSubscriptions => "ingest-subscriptions",
            Self::IngestTransactions => "ingest-transactions",
            Self::IngestCommissions => "ingest-commissions",
            Self::DevopsWebhook => "devops-webhook",
        }
    }

    /// What the key must permit.
    #[must_use]
    pub fn permission(self) -> Permission {
        match self {
            Self::SyncUsers | Self::SyncRevenue | Self::SyncCommissions => Permission::ReadMetrics,
            Self::IngestUsers
            | Self::IngestSubscriptions
            | Self::IngestTransactions
            | Self::IngestCommissions => Permission::WriteMetrics,
            Self::DevopsWebhook => Permission::WriteWebhooks,
        }
    }

    /// Whether the limit per sync endpoint holds beside the one of the key.
    pub(super) fn is_sync(self) -> bool {
        matches!(self, Self::SyncUsers | Self::SyncRevenue | Self::SyncCommissions)
    }
}

/// A key that the authorizer found good, with all that admission needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCaller {
    /// Whose things the tool sees.
    pub workspace: Workspace,
    pub(super) key_id: String,
    pub(super) generation: u64,
    pub(super) permissions: Vec<Permission>,
    pub(super) rate_limit: u64,
    pub(super) sync_rate_limit: u64,
    /// When the secret that was sent ends; the gateway may reuse the authorizer's answer for
    /// longer.
    pub(super) expires_at: DateTime<Utc>,
}

impl KeyCaller {
    /// The tool behind a request that `authorize-key` let through. It is not admitted yet: see
    /// [`super::Admission::admit`].
    pub fn of(request: &Request) -> Result<Self, Error> {
        let claims = Claims::of(request);
        let permissions: String = claims.get("permissions")?;
        Ok(Self {
            workspace: claims.get("workspace")?,
            key_id: claims.get("key_id")?,
            generation: claims.get("generation")?,
            permissions: Permission::NAMES
                .iter()
                .filter(|(name, _)| permissions.split(' ').any(|one| one == *name))
                .map(|(_, permission)| *permission)
                .collect(),
            rate_limit: claims.get("rate_limit")?,
            sync_rate_limit: claims.get("sync_rate_limit")?,
            expires_at: seconds(claims.get("expires_at")?),
        })
    }

    /// What the authorizer hands on; [`KeyCaller::of`] reads it back.
    #[must_use]
    pub fn allow(&self) -> Decision {
        let permissions: Vec<_> = self.permissions.iter().map(|permission| permission.name()).collect();
        Decision::allow([
            ("workspace", self.workspace.to_string()),
            ("key_id", self.key_id.clone()),
            ("generation", self.generation.to_string()),
            ("permissions", permissions.join(" ")),
            ("rate_limit", self.rate_limit.to_string()),
            ("sync_rate_limit", self.sync_rate_limit.to_string()),
            ("expires_at", self.expires_at.timestamp().to_string()),
        ])
    }
}
