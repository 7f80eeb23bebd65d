//! What each service needs and offers.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::providers::Provider;

/// A service that numbers can be pulled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Payments and subscriptions.
    Stripe,
    /// Orders of a shop.
    Shopify,
    /// Advertising on Meta's platforms.
    Meta,
    /// Visits, by Google Analytics 4.
    Ga4,
    /// Users and commissions in a Postgres of one's own.
    Supabase,
    /// Work on code.
    Github,
}

/// Which account a service uses.
enum Account {
    /// None: its credential says it all.
    Never,
    /// One may be named.
    May(Rule, &'static str),
    /// One must be named.
    Must(Rule, &'static str),
}

/// The account as it is kept, or nothing if the text cannot be one.
type Rule = fn(&str) -> Option<String>;

impl Service {
    /// All of them, as lists show them.
    pub const ALL: [Self; 6] =
        [Self::Stripe, Self::Shopify, Self::Meta, Self::Ga4, Self::Supabase, Self::Github];

    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Shopify => "shopify",
            Self::Meta => "meta",
            Self::Ga4 => "ga4",
            Self::Supabase => "supabase",
            Self::Github => "github",
        }
    }

    /// Whose credentials it signs in with.
    #[must_use]
    pub fn provider(self) -> Provider {
        match self {
            Self::Stripe => Provider::Stripe,
            Self::Shopify => Provider::Shopify,
            Self::Meta => Provider::Meta,
            Self::Ga4 => Provider::Ga4,
            Self::Supabase => Provider::Supabase,
            Self::Github => Provider::Github,
        }
    }

    /// What can be pulled from it.
    #[must_use]
    pub fn metrics(self) -> &'static [&'static str] {
        match self {
            Self::Stripe => &[
                "gross_revenue",
                "net_revenue",
                "refunds",
                "successful_payments",
                "failed_payments",
                "new_subscriptions",
                "canceled_subscriptions",
                "active_subscriptions",
                "monthly_recurring_revenue",
            ],
            Self::Shopify => &[
                "orders",
                "gross_sales",
                "discounts",
                "refunds",
                "net_sales",
                "average_order_value",
                "canceled_orders",
            ],
            Self::Meta => &["spend", "impressions", "clicks", "actions", "action_value"],
            Self::Ga4 => &[
                "active_users",
                "new_users",
                "sessions",
                "engaged_sessions",
                "page_views",
                "key_events",
                "revenue",
            ],
            Self::Supabase => &["users", "new_users", "commissions", "commission_total"],
            Self::Github => &["commits", "issues", "open_issues", "pull_requests"],
        }
    }

    fn accounts(self) -> Account {
        match self {
            Self::Stripe => {
                Account::May(stripe_account, "must be a connected account, such as acct_1A2b3C4d5E6f")
            }
            Self::Meta => Account::Must(ad_account, "must be an ad account, such as act_1234567890"),
            Self::Ga4 => Account::May(property, "must be the number of a property, such as 123456789"),
            Self::Github => Account::Must(repository, "must be an owner or a repository, such as acme/shop"),
            Self::Shopify | Self::Supabase => Account::Never,
        }
    }

    /// Whether it cannot do without an account.
    pub(super) fn needs_account(self) -> bool {
        matches!(self.accounts(), Account::Must(..))
    }

    /// The rule of its account.
    pub(super) fn account(self, value: &Value) -> Result<String, String> {
        match self.accounts() {
            Account::Never => Err("is not taken: the credential names it".to_owned()),
            Account::May(rule, message) | Account::Must(rule, message) => {
                value.as_str().and_then(rule).ok_or_else(|| message.to_owned())
            }
        }
    }

    /// The rule of its metrics: known ones, each once. Kept in the order of the catalogue.
    pub(super) fn chosen(self, value: &Value) -> Result<Vec<String>, String> {
        let known = self.metrics();
        let refuse = || format!("must be a list of some of {}, each once", known.join(", "));
        let names = value.as_array().ok_or_else(refuse)?;
        let at = |name: &Value| known.iter().position(|known| name.as_str() == Some(known));
        let mut places: Vec<_> = names.iter().map(at).collect::<Option<_>>().ok_or_else(refuse)?;
        places.sort_unstable();
        places.dedup();
        if places.len() < names.len() {
            return Err(refuse());
        }
        Ok(places.into_iter().map(|place| known[place].to_owned()).collect())
    }
}

impl FromStr for Service {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|service| service.word() == text).ok_or(())
    }
}

fn stripe_account(text: &str) -> Option<String> {
    let rest = text.strip_prefix("acct_")?;
    let good = (8..=64).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    good.then(|| text.to_owned())
}

/// People copy it with and without `act_`; Meta's API wants it with.
fn ad_account(text: &str) -> Option<String> {
    let digits = text.strip_prefix("act_").unwrap_or(text);
    is_number(digits).then(|| format!("act_{digits}"))
}

fn property(text: &str) -> Option<String> {
    is_number(text).then(|| text.to_owned())
}

/// An owner has letters, digits and single hyphens inside, 39 characters at most; a repository has
/// 100 at most.
fn repository(text: &str) -> Option<String> {
    let (owner, repository) = text.split_once('/').map_or((text, None), |(owner, name)| (owner, Some(name)));
    let of_owner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let of_repository = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let good = (1..=39).contains(&owner.len())
        && owner.bytes().all(of_owner)
        && !owner.starts_with('-')
        && !owner.ends_with('-')
        && repository.is_none_or(|name| {
            (1..=100).contains(&name.len()) && name.bytes().all(of_repository) && name != "." && name != ".."
        });
    good.then(|| text.to_owned())
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_is_kept_as_its_service_spells_it() {
        for (service, given, kept) in [
            (Service::Meta, "1234", Some("act_1234")),
            (Service::Meta, "act_1234", Some("act_1234")),
            (Service::Meta, "act_", None),
            (Service::Meta, "12/34", None),
            (Service::Ga4, "123456789", Some("123456789")),
            (Service::Ga4, "GA4-123", None),
            (Service::Stripe, "acct_1A2b3C4d5E6f", Some("acct_1A2b3C4d5E6f")),
            (Service::Stripe, "cus_1A2b3C4d5E6f", None),
            (Service::Github, "acme", Some("acme")),
            (Service::Github, "acme/shop.rs", Some("acme/shop.rs")),
            (Service::Github, "acme/shop/issues", None),
            (Service::Github, "acme/..", None),
            (Service::Github, "-acme", None),
            (Service::Github, "", None),
            (Service::Shopify, "acme.myshopify.com", None),
        ] {
            let account = service.account(&json!(given)).ok();
            assert_eq!(account.as_deref(), kept, "{} {given}", service.word());
        }
    }

    #[test]
    fn metrics_are_known_ones_each_once() {
        for (case, given, kept) in [
            ("some", json!(["clicks", "spend"]), Some(vec!["spend", "clicks"])),
            ("none", json!([]), Some(vec![])),
            ("another service's", json!(["orders"]), None),
            ("one twice", json!(["spend", "spend"]), None),
            ("no list", json!("spend"), None),
            ("no text", json!([1]), None),
        ] {
            assert_eq!(
                Service::Meta.chosen(&given).ok(),
                kept.map(|kept| kept.iter().map(ToString::to_string).collect::<Vec<_>>()),
                "{case}"
            );
        }
    }

    #[test]
    fn words_are_what_is_stored() {
        for service in Service::ALL {
            assert_eq!(service.word().parse(), Ok(service));
            assert_eq!(json!(service), service.word());
        }
    }
}
