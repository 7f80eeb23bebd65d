//! Who sends events.

use crate::word::words;

words! {
    /// Whose events these are, and so what handles them.
    Source {
        /// Stripe's.
        Stripe = "stripe",
        /// A GitHub App's.
        Github = "github",
        /// A Shopify app's.
        Shopify = "shopify",
        /// A workspace's own tools', which tell of deployments, alerts and health.
        Devops = "devops",
        /// Any other service's, by an endpoint that an admin made.
        Custom = "custom",
    }
}
