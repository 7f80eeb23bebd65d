//! Everything that two functions could need, by domain.
//!
//! Each domain module owns its rules and its rows: [`keys`], [`webhooks`] over [`ledger`],
//! [`integrations`] and [`services`] over [`credentials`] over [`vault`], [`secrets`] (the
//! deployment's own), [`activity`] (which [`redact`] keeps clean), [`identity`]. Beneath them stand
//! [`providers`] (other companies' APIs), [`net`] (addresses that may be called), [`store`]
//! (DynamoDB), [`http`] (requests, answers, problems) and [`lambda`] (what hosts a function).
//! Dependencies point down this list only.

pub mod activity;
pub mod credentials;
pub mod error;
pub mod fields;
pub mod http;
pub mod id;
pub mod identity;
pub mod integrations;
pub mod keys;
pub mod lambda;
pub mod ledger;
pub mod net;
pub mod providers;
pub mod redact;
pub mod secrets;
pub mod services;
pub mod store;
pub mod time;
pub mod vault;
pub mod webhooks;
mod word;

pub use error::{Error, FieldError};
