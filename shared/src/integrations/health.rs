//! What the tests of an integration say over time.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use crate::providers::{Cause, Proof, Refusal};

/// Between two tests of an integration: six hours, less what its function may fire early.
const TEST_EVERY: Duration = Duration::minutes(6 * 60 - 10);
/// After a test that failed for what passes by itself.
const TEST_AGAIN: Duration = Duration::minutes(50);
/// Failures in a row after which even what passes by itself counts as failing.
const PATIENCE: u32 = 2;

/// Whether an integration works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not tested as it is set now.
    Untested,
    /// Its last test passed.
    Working,
    /// It does not; changing it does not make it work, passing a test does.
    Failing,
    /// The credential that it names is not there. Told when it is read, never stored.
    CredentialMissing,
}

/// Why a test failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFailure {
    pub(super) cause: TestCause,
    pub(super) message: String,
}

/// What kind of fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TestCause {
    Format,
    Auth,
    Scope,
    Network,
    RateLimited,
    Provider,
    CredentialMissing,
}

impl TestCause {
    /// Whether it may pass by itself, and says nothing of the integration.
    fn passes(self) -> bool {
        matches!(self, Self::Network | Self::RateLimited | Self::Provider)
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Auth => "auth",
            Self::Scope => "scope",
            Self::Network => "network",
            Self::RateLimited => "rate_limited",
            Self::Provider => "provider",
            Self::CredentialMissing => "credential_missing",
        }
    }
}

impl From<Refusal> for TestFailure {
    fn from(refusal: Refusal) -> Self {
        let cause = match refusal.cause {
            Cause::Format => TestCause::Format,
            Cause::Auth => TestCause::Auth,
            Cause::Scope => TestCause::Scope,
            Cause::Network => TestCause::Network,
            Cause::RateLimited => TestCause::RateLimited,
            Cause::Provider => TestCause::Provider,
        };
        Self { cause, message: refusal.message }
    }
}

/// How a test ended.
pub type TestResult = Result<Proof, TestFailure>;

/// The last test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LastTest {
    at: DateTime<Utc>,
    /// The version that was tested.
    version: u64,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<TestCause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Whether an integration works, since when, and what the last test said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    state: State,
    since: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_test: Option<LastTest>,
    /// Tests that failed in a row.
    failures: u32,
    /// When it is to be tested again.
    pub(super) next_test_at: DateTime<Utc>,
}

/// What others are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Failing,
    Recovered,
}

/// As people see it.
#[derive(Debug, Serialize)]
pub(super) struct View {
    state: State,
    since: DateTime<Utc>,
    last_test: Option<LastTest>,
}

impl Health {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { state: State::Untested, since: now, last_test: None, failures: 0, next_test_at: now }
    }

    /// After a change of what is tested. What failed goes on failing until a test passes, so
    /// that mending it is seen as such.
    pub(super) fn unproven(&self, now: DateTime<Utc>) -> Self {
        let due = self.due(now);
        if self.state == State::Failing { due } else { Self { state: State::Untested, since: now, ..due } }
    }

    /// To be tested at once.
    pub(super) fn due(&self, now: DateTime<Utc>) -> Self {
        Self { next_test_at: now, ..self.clone() }
    }

    /// After a test. What may pass by itself counts only when it happens twice in a row.
    pub(super) fn after(&self, test: &TestResult, version: u64, now: DateTime<Utc>) -> (Self, Option<Turn>) {
        let failure = test.as_ref().err();
        let failures = if failure.is_some() { self.failures.saturating_add(1) } else { 0 };
        let settled = failure.is_none_or(|failure| !failure.cause.passes() || PATIENCE <= failures);
        let state = match failure {
            None => State::Working,
            Some(_) if settled => State::Failing,
            Some(_) => self.state,
        };
        let turn = match (self.state, state) {
            (State::Failing, State::Working) => Some(Turn::Recovered),
            (before, State::Failing) if before != State::Failing => Some(Turn::Failing),
            _ => None,
        };
        let health = Self {
            state,
            since: if state == self.state { self.since } else { now },
            last_test: Some(LastTest {
                at: now,
                version,
                verified: failure.is_none(),
                cause: failure.map(|failure| failure.cause),
                message: failure.map(|failure| failure.message.clone()),
            }),
            failures,
            next_test_at: now + if settled { TEST_EVERY } else { TEST_AGAIN },
        };
        (health, turn)
    }

    pub(super) fn view(self, missing: bool) -> View {
        let state = if missing { State::CredentialMissing } else { self.state };
        View { state, since: self.since, last_test: self.last_test }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    fn fails(cause: TestCause) -> TestResult {
        Err(TestFailure { cause, message: "no".to_owned() })
    }

    #[expect(clippy::unnecessary_wraps, reason = "one of the results that a test has")]
    fn passes() -> TestResult {
        Ok(Proof { answer: Map::new(), scopes: Vec::new() })
    }

    /// States after each test, an hour apart, and who would be told.
    fn course(tests: &[TestResult]) -> Vec<(State, Option<Turn>)> {
        let mut health = Health::new(DateTime::UNIX_EPOCH);
        let hours = 1..;
        tests
            .iter()
            .zip(hours)
            .map(|(test, hour)| {
                let turn;
                (health, turn) = health.after(test, 1, DateTime::UNIX_EPOCH + Duration::hours(hour));
                (health.state, turn)
            })
            .collect()
    }

    #[test]
    fn failing_and_recovering_are_each_told_once() {
        use State::{Failing, Working};
        let auth = || fails(TestCause::Auth);
        let told = course(&[passes(), auth(), auth(), passes(), passes()]);
        let expected = [
            (Working, None),
            (Failing, Some(Turn::Failing)),
            (Failing, None),
            (Working, Some(Turn::Recovered)),
            (Working, None),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_passes_by_itself_counts_from_the_second_time() {
        use State::{Failing, Untested, Working};
        for cause in [TestCause::Network, TestCause::RateLimited, TestCause::Provider] {
            let told = course(&[fails(cause), passes(), fails(cause), passes(), fails(cause), fails(cause)]);
            let expected = [
                (Untested, None),
                (Working, None),
                (Working, None),
                (Working, None),
                (Working, None),
                (Failing, Some(Turn::Failing)),
            ];
            assert_eq!(told, expected, "{cause:?}");
        }
    }

    #[test]
    fn since_is_when_the_state_began() {
        let now = DateTime::UNIX_EPOCH;
        let (health, _) = Health::new(now).after(&passes(), 1, now + Duration::hours(1));
        let (health, _) = health.after(&passes(), 1, now + Duration::hours(2));
        assert_eq!(health.since, now + Duration::hours(1));
        let (health, _) = health.after(&fails(TestCause::Auth), 1, now + Duration::hours(3));
        assert_eq!(health.since, now + Duration::hours(3));
        // A change does not mend what fails; it makes what worked untested.
        assert_eq!(health.unproven(now + Duration::hours(4)).state, State::Failing);
        let (health, turn) = health.after(&passes(), 2, now + Duration::hours(5));
        assert_eq!(turn, Some(Turn::Recovered));
        assert_eq!(health.unproven(now + Duration::hours(6)).state, State::Untested);
    }

    #[test]
    fn what_passes_by_itself_is_tested_again_sooner() {
        let now = DateTime::UNIX_EPOCH;
        for (case, test, hours) in [
            ("passed", passes(), 6),
            ("refused", fails(TestCause::Auth), 6),
            ("not reached", fails(TestCause::Network), 1),
        ] {
            let (health, _) = Health::new(now).after(&test, 1, now);
            let left = now + Duration::hours(hours) - health.next_test_at;
            assert!((Duration::zero()..Duration::minutes(30)).contains(&left), "{case}: {left}");
        }
    }
}
