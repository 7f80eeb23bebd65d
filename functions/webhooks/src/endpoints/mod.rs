//! One file an endpoint of the API.

pub mod create;
pub mod delete;
pub mod list;
pub mod test;
pub mod update;

/// What a request may have: five secrets and what an endpoint is set to.
const BODY_MAX: usize = 32 * 1024;
