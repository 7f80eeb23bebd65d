//! Which platform secrets there are.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::format;

/// A platform secret, spelt `SERVICE_PURPOSE_TYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecretName {
    /// Calls Stripe for the deployment's own account.
    StripeApiKey,
    /// Verifies Stripe's webhooks.
    StripeWebhookSecret,
    /// Signs in as the GitHub App.
    GithubAppPrivateKey,
    /// Verifies the GitHub App's webhooks.
    GithubAppWebhookSecret,
    /// Verifies Shopify's webhooks; the app's client secret.
    ShopifyClientSecret,
    /// Verifies the DevOps module's webhooks.
    DevopsWebhookSecret,
    /// Signs in to the mail server.
    SmtpPassword,
}

type Rule = fn(&str) -> bool;

impl SecretName {
    /// All of them, by service.
    pub const ALL: [Self; 7] = [
        Self::StripeApiKey,
        Self::StripeWebhookSecret,
        Self::GithubAppPrivateKey,
        Self::GithubAppWebhookSecret,
        Self::ShopifyClientSecret,
        Self::DevopsWebhookSecret,
        Self::SmtpPassword,
    ];

    /// Name, service, what it looks like, and the rule that tells.
    fn row(self) -> (&'static str, &'static str, &'static str, Rule) {
        match self {
            Self::StripeApiKey => (
                "STRIPE_API_KEY",
                "stripe",
                "must be a secret or restricted key: sk_ or rk_, live_ or test_, and letters and digits",
                format::stripe_api_key,
            ),
            Self::StripeWebhookSecret => (
                "STRIPE_WEBHOOK_SECRET",
                "stripe",
                "must be whsec_ and at least 24 letters and digits",
                format::stripe_webhook_secret,
            ),
            Self::GithubAppPrivateKey => (
                "GITHUB_APP_PRIVATE_KEY",
                "github",
                "must be an RSA private key of 2048 bits or more as PEM",
                format::rsa_private_key,
            ),
            Self::GithubAppWebhookSecret => (
                "GITHUB_APP_WEBHOOK_SECRET",
                "github",
                "must be 16 to 1024 visible ASCII characters",
                format::shared_secret,
            ),
            Self::ShopifyClientSecret => (
                "SHOPIFY_CLIENT_SECRET",
                "shopify",
                "must be 32 hexadecimal digits, with or without shpss_ before them",
                format::shopify_client_secret,
            ),
            Self::DevopsWebhookSecret => (
                "DEVOPS_WEBHOOK_SECRET",
                "devops",
                "must be 16 to 1024 visible ASCII characters",
                format::shared_secret,
            ),
            Self::SmtpPassword => (
                "SMTP_PASSWORD",
                "smtp",
                "must be 8 to 1024 characters, without control characters and without a space at its ends",
                format::password,
            ),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The service that it belongs to.
    #[must_use]
    pub fn service(self) -> &'static str {
        self.row().1
    }

    /// What is wrong with a value, without repeating it.
    #[must_use]
    pub fn fault(self, value: &str) -> Option<&'static str> {
        let (_, _, message, rule) = self.row();
        (!rule(value)).then_some(message)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SecretName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|name| name.as_str()).collect();
            format!("there is no platform secret {text}; there are {}", names.join(", "))
        })
    }
}
