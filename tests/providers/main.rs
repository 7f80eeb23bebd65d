//! Providers against emulators of them that others wrote: what we made up ourselves, our fakes
//! made up alike.
//!
//! `tests/run.py providers` installs them from `package.json`. They know only parts: of Stripe not
//! the account or the balance, of Google no service accounts, so those parts stay with the fakes
//! in `shared/tests/providers`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod clerk;
mod drive;
mod emulator;
mod github;
mod stripe;
