//! When a failed event is tried again. Pure.

use chrono::TimeDelta;

/// An event that failed so often is dead. With the pauses between, that is a day.
pub(super) const ATTEMPTS_MAX: u32 = 10;
/// After the first failure; four times as long after each further one.
const FIRST: TimeDelta = TimeDelta::seconds(10);
/// The longest.
const LONGEST: TimeDelta = TimeDelta::hours(6);

/// How long to wait after `attempts` failures, at least one of them: 10 seconds, 40, and so on to
/// 6 hours; by up to a fifth less or more, as `chance` of 127 says, so that what failed together
/// does not come back together.
pub(super) fn pause(attempts: u32, chance: u8) -> TimeDelta {
    let times = 4_i32.saturating_pow(attempts.saturating_sub(1));
    let plain = FIRST.checked_mul(times).unwrap_or(LONGEST).min(LONGEST);
    let pause = plain * 4 / 5 + plain * 2 / 5 * i32::from(chance) / 127;
    // As exact as times are told.
    TimeDelta::milliseconds(pause.num_milliseconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_six_hours_and_scatter_by_a_fifth() {
        for (attempts, seconds) in [
            (1, 10),
            (2, 40),
            (3, 160),
            (5, 2_560),
            (6, 10_240),
            (7, 21_600),
            (10, 21_600),
            (u32::MAX, 21_600),
        ] {
            let (least, most) = (pause(attempts, 0), pause(attempts, 127));
            assert_eq!(least, TimeDelta::seconds(seconds * 4 / 5), "{attempts}");
            assert_eq!(most, TimeDelta::seconds(seconds * 6 / 5), "{attempts}");
            assert!((least..=most).contains(&pause(attempts, 99)), "{attempts}");
        }
    }

    #[test]
    fn an_event_is_tried_for_about_a_day() {
        let all: TimeDelta = (1..ATTEMPTS_MAX).map(|attempts| pause(attempts, 64)).sum();
        assert!((20..30).contains(&all.num_hours()), "{all}");
    }
}
