use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ledger::{Entity, subscriptions::Subscription};

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

/// A subscription of 100 a month since January, with these fields instead.
#[expect(clippy::needless_pass_by_value, reason = "so that calls read as what they say")]
fn subscription(fields: Value) -> Subscription {
    let mut item = json!({
        "id": "s1", "customer": "c1", "plan": "pro", "status": "active", "currency": "USD",
        "items": [{"unit_amount": 10_000, "interval": "month"}],
        "started_at": "2026-01-01T00:00:00Z", "updated_at": "2026-02-01T00:00:00Z",
    });
    for (name, value) in fields.as_object().unwrap() {
        item[name] = value.clone();
    }
    Subscription::parse("items[0]", item, at("2026-06-01T00:00:00Z")).unwrap()
}

/// MRR in millionths of a minor unit, by policy: default, chartmogul, profitwell.
fn mrr(subscription: &Subscription, time: &str) -> [i128; 3] {
    let state = state(subscription, at(time));
    [Policy::Default, Policy::ChartMogul, Policy::ProfitWell].map(|policy| {
        let state = state.as_ref();
        let counts = |component| state.is_some_and(|s| policy.counts(Term::Monthly(s.status, component)));
        let monthly = state.iter().flat_map(|state| &state.monthly);
        monthly.filter(|(component, _)| counts(*component)).map(|(_, value)| value).sum()
    })
}

/// Whether it is active, likewise.
fn active(subscription: &Subscription, time: &str) -> [bool; 3] {
    let state = state(subscription, at(time));
    [Policy::Default, Policy::ChartMogul, Policy::ProfitWell]
        .map(|policy| state.as_ref().is_some_and(|s| policy.counts(Term::Active(s.status, s.priced))))
}

#[test]
fn prices_become_monthly_values() {
    let item = |fields: Value| {
        let mut item = json!({"unit_amount": 10_000, "interval": "month"});
        for (name, value) in fields.as_object().unwrap() {
            item[name] = value.clone();
        }
        item
    };
    for (case, items, expected) in [
        ("monthly", vec![item(json!({}))], 10_000_000_000),
        ("yearly 1,200", vec![item(json!({"unit_amount": 120_000, "interval": "year"}))], 10_000_000_000),
        ("weekly 9.99", vec![item(json!({"unit_amount": 999, "interval": "week"}))], 4_329_000_000),
        ("weekly 10", vec![item(json!({"unit_amount": 1_000, "interval": "week"}))], 4_333_333_333),
        ("daily 1", vec![item(json!({"unit_amount": 100, "interval": "day"}))], 3_041_666_667),
        (
            "every two weeks",
            vec![item(json!({"unit_amount": 1_000, "interval": "week", "interval_count": 2}))],
            2_166_666_667,
        ),
        ("quarterly 30", vec![item(json!({"unit_amount": 3_000, "interval_count": 3}))], 1_000_000_000),
        (
            "three years",
            vec![item(json!({"unit_amount": 360_000, "interval": "year", "interval_count": 3}))],
            10_000_000_000,
        ),
        ("ten seats", vec![item(json!({"quantity": 10}))], 100_000_000_000),
        ("no seat", vec![item(json!({"quantity": 0}))], 0),
        (
            "a yearly and a monthly item",
            vec![item(json!({})), item(json!({"unit_amount": 1_000, "interval": "year"}))],
            10_083_333_333,
        ),
        (
            "thirds of items are rounded together: 3 × 10/12",
            vec![item(json!({"unit_amount": 10, "interval": "year"})); 3],
            2_500_000,
        ),
        (
            "a metered item beside",
            vec![item(json!({})), item(json!({"unit_amount": 5, "usage_type": "metered"}))],
            10_000_000_000,
        ),
        ("a free item beside", vec![item(json!({})), item(json!({"unit_amount": 0}))], 10_000_000_000),
        ("only metered", vec![item(json!({"usage_type": "metered"}))], 0),
        ("only free", vec![item(json!({"unit_amount": 0}))], 0),
        (
            "half of a millionth goes to the even one: 3/2,000,000 × 10^6 = 1.5",
            vec![item(json!({"unit_amount": 3, "interval_count": 1_000})); 1],
            3_000,
        ),
        (
            "largest",
            vec![item(json!({"unit_amount": 1_i64 << 53, "quantity": 1_000_000}))],
            9_007_199_254_740_992_000_000_000_000,
        ),
    ] {
        let subscription = subscription(json!({"items": items}));
        assert_eq!(mrr(&subscription, "2026-03-01T00:00:00Z"), [expected; 3], "{case}");
        assert_eq!(active(&subscription, "2026-03-01T00:00:00Z"), [expected > 0; 3], "{case}");
    }
}

#[test]
fn statuses_count_as_the_policy_says() {
    for (status, counted) in [
        ("active", [true, true, true]),
        ("past_due", [true, true, true]),
        ("unpaid", [false, true, false]),
        ("paused", [false, true, false]),
        ("trialing", [false; 3]),
        ("incomplete", [false; 3]),
        ("incomplete_expired", [false; 3]),
        ("canceled", [false; 3]),
    ] {
        let subscription = subscription(json!({"status": status}));
        let expected = counted.map(|counted| if counted { 10_000_000_000 } else { 0 });
        assert_eq!(mrr(&subscription, "2026-03-01T00:00:00Z"), expected, "{status}");
        assert_eq!(active(&subscription, "2026-03-01T00:00:00Z"), counted, "{status}");
    }
}

#[test]
fn discounts_are_deducted_as_the_policy_says() {
    const WHOLE: i128 = 10_000_000_000;
    let off = |percent: i64, duration: &str| json!({"percent_off": percent, "duration": duration});
    let less = |amount: i64, duration: &str| json!({"amount_off": amount, "duration": duration});
    for (case, discounts, expected) in [
        ("10 % forever", vec![off(10, "forever")], [9_000_000_000; 3]),
        ("10 % for months", vec![off(10, "repeating")], [9_000_000_000; 3]),
        ("10 % once", vec![off(10, "once")], [WHOLE, 9_000_000_000, 9_000_000_000]),
        ("5 off", vec![less(500, "forever")], [9_500_000_000; 3]),
        ("more off than there is", vec![less(20_000, "forever")], [0; 3]),
        ("10 %, then 5 off", vec![off(10, "forever"), less(500, "forever")], [8_500_000_000; 3]),
        ("5 off, then 10 %", vec![less(500, "forever"), off(10, "forever")], [8_550_000_000; 3]),
        ("20 % of what 10 % left", vec![off(10, "forever"), off(20, "repeating")], [7_200_000_000; 3]),
        (
            "what lasts longest comes first, wherever it stands",
            vec![less(500, "repeating"), off(10, "forever")],
            [8_500_000_000; 3],
        ),
        (
            "one payment's discount leaves the others as they are",
            vec![off(50, "once"), less(1_000, "forever")],
            [9_000_000_000, 4_500_000_000, 4_500_000_000],
        ),
        ("12.5 %", vec![json!({"percent_off": 12.5, "duration": "forever"})], [8_750_000_000; 3]),
        ("a third off", vec![json!({"percent_off": 33.3333, "duration": "forever"})], [6_666_670_000; 3]),
    ] {
        let subscription = subscription(json!({"discounts": discounts}));
        assert_eq!(mrr(&subscription, "2026-03-01T00:00:00Z"), expected, "{case}");
    }
    // An amount off comes with each payment: 12 off a yearly plan of 120 is 1 a month.
    let yearly = subscription(json!({
        "items": [{"unit_amount": 12_000, "interval": "year"}], "discounts": [less(1_200, "forever")],
    }));
    assert_eq!(mrr(&yearly, "2026-03-01T00:00:00Z"), [900_000_000; 3]);
    // Beside a monthly item it comes each month.
    let mixed = subscription(json!({
        "items": [{"unit_amount": 12_000, "interval": "year"}, {"unit_amount": 500, "interval": "month"}],
        "discounts": [less(300, "forever")],
    }));
    assert_eq!(mrr(&mixed, "2026-03-01T00:00:00Z"), [1_200_000_000; 3]);
}

#[test]
fn who_pays_nothing_for_now_is_active_as_the_policy_says() {
    let free_for_now = subscription(json!({"discounts": [{"percent_off": 100, "duration": "repeating"}]}));
    assert_eq!(mrr(&free_for_now, "2026-03-01T00:00:00Z"), [0; 3]);
    assert_eq!(active(&free_for_now, "2026-03-01T00:00:00Z"), [true, true, false]);
}

#[test]
fn time_alone_starts_ends_and_prices_a_subscription() {
    let trial = subscription(json!({
        "status": "trialing",
        "trial_ends_at": "2026-02-15T00:00:00Z",
        "discounts": [{"percent_off": 50, "duration": "repeating", "ends_at": "2026-04-01T00:00:00Z"}],
        "canceled_at": "2026-05-01T00:00:00Z",
    }));
    let moments = breakpoints(&trial);
    let expected = ["2026-01-01", "2026-02-15", "2026-04-01", "2026-05-01"];
    assert_eq!(moments, expected.map(|day| at(&format!("{day}T00:00:00Z"))));
    for (case, time, status, value) in [
        ("before the start", "2025-12-31T23:59:59Z", None, 0),
        ("on trial", "2026-02-14T23:59:59Z", Some(Status::Trialing), 0),
        ("the trial is over", "2026-02-15T00:00:00Z", Some(Status::Active), 5_000_000_000),
        ("the discount is over", "2026-04-01T00:00:00Z", Some(Status::Active), 10_000_000_000),
        ("ends later", "2026-04-30T23:59:59Z", Some(Status::Active), 10_000_000_000),
        ("ended", "2026-05-01T00:00:00Z", Some(Status::Canceled), 0),
    ] {
        assert_eq!(state(&trial, at(time)).map(|state| state.status), status, "{case}");
        assert_eq!(mrr(&trial, time), [value; 3], "{case}");
    }
    // What is told after the end tells of the time before, too.
    for (case, fields, time, status) in [
        (
            "cancelled, before",
            json!({"canceled_at": "2026-01-20T00:00:00Z"}),
            "2026-01-10T00:00:00Z",
            Status::Active,
        ),
        (
            "cancelled, after",
            json!({"canceled_at": "2026-01-20T00:00:00Z"}),
            "2026-01-20T00:00:00Z",
            Status::Canceled,
        ),
        ("no time, before it was told", json!({}), "2026-01-31T00:00:00Z", Status::Active),
        ("no time, when it was told", json!({}), "2026-02-01T00:00:00Z", Status::Canceled),
    ] {
        let mut fields = fields;
        fields["status"] = json!("canceled");
        assert_eq!(state(&subscription(fields), at(time)).map(|state| state.status), Some(status), "{case}");
    }
    let expired = subscription(json!({"status": "active", "trial_ends_at": "2026-01-08T00:00:00Z"}));
    assert_eq!(mrr(&expired, "2026-01-07T00:00:00Z"), [0; 3], "an active one was on trial before");
}

#[test]
fn a_turn_is_told_by_the_policy_and_once() {
    let of = |status: &str| state(&subscription(json!({"status": status})), at("2026-03-01T00:00:00Z"));
    let (active, unpaid, canceled) = (of("active"), of("unpaid"), of("canceled"));
    for (case, before, after, turns) in [
        ("begins", None, active.as_ref(), [Some(Turn::New); 3]),
        ("stays", active.as_ref(), active.as_ref(), [None; 3]),
        ("ends", active.as_ref(), canceled.as_ref(), [Some(Turn::Churned); 3]),
        (
            "payments are given up",
            active.as_ref(),
            unpaid.as_ref(),
            [Some(Turn::Churned), None, Some(Turn::Churned)],
        ),
        ("ends unpaid", unpaid.as_ref(), canceled.as_ref(), [None, Some(Turn::Churned), None]),
    ] {
        let told = [Policy::Default, Policy::ChartMogul, Policy::ProfitWell].map(|p| p.turn(before, after));
        assert_eq!(told, turns, "{case}");
    }
}

const DURATIONS: [&str; 3] = ["forever", "repeating", "once"];

proptest! {
    /// Whatever is agreed, the state changes at breakpoints only, and never costs less than nothing.
    #[test]
    fn nothing_changes_between_breakpoints(
        amounts in prop::collection::vec((0..100_000_i64, 0..3_i64, 0..4_usize, 1..5_i64), 1..4),
        discounts in prop::collection::vec((0..20_000_i64, any::<bool>(), 0..3_usize, prop::option::of(0..90_i64)), 0..4),
        trial in prop::option::of(0..60_i64),
        end in prop::option::of(0..90_i64),
        status in 0..8_usize,
    ) {
        let start = at("2026-01-01T00:00:00Z");
        let after = |days: i64| (start + chrono::Duration::days(days)).to_rfc3339();
        let intervals = ["month", "year", "week", "day"];
        let items: Vec<_> = amounts.iter().map(|(amount, quantity, interval, count)| json!({
            "unit_amount": amount, "quantity": quantity, "interval": intervals[*interval], "interval_count": count,
        })).collect();
        let discounts: Vec<_> = discounts.iter().map(|(off, percent, duration, end)| {
            let mut discount = json!({"duration": DURATIONS[*duration], "ends_at": end.map(after)});
            if *percent {
                discount["percent_off"] = json!(1 + off % 100);
            } else {
                discount["amount_off"] = json!(off);
            }
            discount
        }).collect();
        let subscription = subscription(json!({
            "items": items, "discounts": discounts, "status": Status::WORDS[status].0,
            "trial_ends_at": trial.map(after), "canceled_at": end.map(after),
        }));
        let moments = breakpoints(&subscription);
        prop_assert_eq!(moments[0], start);
        let mut last = None;
        for day in 0..100 {
            let now = start + chrono::Duration::days(day);
            let state = state(&subscription, now);
            prop_assert!(last.is_none() || last == Some(state.clone()) || moments.contains(&now), "{}", now);
            let mut left = 0;
            for (_, value) in state.iter().flat_map(|state| &state.monthly) {
                left += value;
                prop_assert!(left >= 0);
            }
            last = Some(state);
        }
    }
}
