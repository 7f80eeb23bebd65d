//! The demonstration: what it sends is what the server tells, however often it is sent.

use super::{Running, State, port, tidegate};

/// Runs a command on a state directory, which must succeed; returns what it says.
async fn said(state: &State, arguments: &[&str]) -> String {
    let output = tidegate().args(arguments).arg("--state").arg(state.path()).output().await;
    let output = output.expect("the program can be started");
    let text = String::from_utf8(output.stdout).expect("text");
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{arguments:?}: {text}{error}");
    text
}

#[tokio::test]
async fn a_demonstration_ends_with_the_totals_that_it_sent_and_again_changes_nothing() {
    let state = State::new();
    let (listener, free) = port();
    drop(listener);
    let running = Running::start(&state, free).await;
    let demo = ["demo", "--months", "1", "--until", "2026-11-01"];
    let first = said(&state, &demo).await;
    assert!(first.contains("equal") && !first.contains("DIFFERENT"), "{first}");
    let totals = |text: &str| {
        text.lines().skip_while(|line| !line.starts_with("TOTAL")).map(str::to_owned).collect::<Vec<_>>()
    };
    // An event that waits for another one is tried again after some seconds, and until then taken
    // again when it comes again.
    let mut known = false;
    for _ in 0..6 {
        let again = said(&state, &demo).await;
        assert_eq!(totals(&first), totals(&again));
        let sent = again.split_whitespace().nth(1).expect("a number of deliveries");
        known = again.contains(&format!("({sent} of them known already)"));
        if known {
            break;
        }
    }
    assert!(known, "every delivery is known at last");
    let verified = said(&state, &["ledger", "verify", "--workspace", "acme"]).await;
    assert!(!verified.is_empty(), "{verified}");
    running.kill().await;
}
