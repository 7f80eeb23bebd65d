//! The tables a run prints, and the targets it holds them against.

use std::{fmt::Write, time::Duration};

use crate::{
    case::Case,
    measure::{Comparison, Figures},
    price::{self, Price},
    tables::Call,
};

/// A target against the floor of the same run.
struct Target {
    name: &'static str,
    at_most: f64,
    figure: fn(&Figures) -> f64,
}

const TARGETS: [Target; 4] = [
    Target { name: "init + first call", at_most: 1.3, figure: |figures| figures.cold.as_secs_f64() },
    Target { name: "warm latency", at_most: 1.3, figure: |figures| figures.warm.as_secs_f64() },
    Target { name: "warm CPU", at_most: 1.3, figure: |figures| figures.warm_cpu.as_secs_f64() },
    #[expect(clippy::cast_precision_loss, reason = "a ratio to two digits")]
    Target { name: "memory", at_most: 1.5, figure: |figures| figures.memory as f64 },
];

/// Bytes a package must stay below.
const PACKAGE_LIMIT: u64 = 3_500_000;

/// All that was measured.
pub type Results = [(Case, Comparison)];

/// Figures of each function beside its floor.
pub fn figures(results: &Results) -> String {
    let mut rows = vec![columns(&[
        "function",
        "beside",
        "init",
        "first call",
        "init + first",
        "its CPU",
        "warm",
        "warm CPU",
        "memory",
        "zip",
    ])];
    for (case, comparison) in results {
        for (name, beside, figures) in
            [(case.function, "", &comparison.function), (case.floor, case.function, &comparison.floor)]
        {
            rows.push(vec![
                name.into(),
                beside.into(),
                milliseconds(figures.init),
                milliseconds(figures.first),
                milliseconds(figures.cold),
                milliseconds(figures.cold_cpu),
                milliseconds(figures.warm),
                milliseconds(figures.warm_cpu),
                megabytes(figures.memory),
                megabytes(figures.package),
            ]);
        }
    }
    table(&rows)
}

/// Ratios to the floor, `!` where a target is missed.
pub fn ratios(results: &Results) -> String {
    let mut head = columns(&["function"]);
    head.extend(TARGETS.iter().map(|target| format!("{} ≤ {}", target.name, target.at_most)));
    head.push("zip < 3.5 MB".into());
    let mut rows = vec![head];
    for (case, comparison) in results {
        let mut row = vec![case.function.to_owned()];
        for target in &TARGETS {
            let ratio = ratio(target, comparison);
            row.push(format!("{ratio:.2}{}", if ratio > target.at_most { " !" } else { "" }));
        }
        let package = comparison.function.package;
        row.push(format!("{}{}", megabytes(package), if package < PACKAGE_LIMIT { "" } else { " !" }));
        rows.push(row);
    }
    table(&rows)
}

/// Round trips and capacity of one warm call, and the price of a million.
pub fn prices(results: &Results, memory_mb: u32) -> String {
    let mut rows = vec![columns(&[
        "function",
        "with the first call",
        "round trips",
        "read units",
        "write units",
        "billed",
        "Lambda",
        "HTTP API",
        "DynamoDB",
        "SQS",
        "a million calls",
    ])];
    for (case, comparison) in results {
        let (reads, writes) = price::units(comparison);
        let price = Price::of(case, comparison, memory_mb);
        rows.push(vec![
            case.function.into(),
            operations(&comparison.first_calls),
            operations(&comparison.calls),
            format!("{reads:.1}"),
            format!("{writes:.1}"),
            format!("{} ms", price.billed_ms),
            dollars(price.lambda),
            dollars(price.http_api),
            dollars(price.dynamodb),
            dollars(price.sqs),
            dollars(price.total()),
        ]);
    }
    table(&rows)
}

/// The targets that do not hold, one a line.
pub fn missed(results: &Results) -> Vec<String> {
    let mut missed = Vec::new();
    for (case, comparison) in results {
        for target in &TARGETS {
            let ratio = ratio(target, comparison);
            if ratio > target.at_most {
                missed.push(format!("{}: {} {ratio:.2} > {}", case.function, target.name, target.at_most));
            }
        }
        if comparison.function.package >= PACKAGE_LIMIT {
            missed.push(format!("{}: zip {}", case.function, megabytes(comparison.function.package)));
        }
    }
    missed
}

/// What is wrong with the round trips of each function, which no machine's noise can excuse.
pub fn wrong_calls(results: &Results) -> Vec<String> {
    let mut wrong = Vec::new();
    for (case, comparison) in results {
        // What goes out at the same time arrives in any order.
        let mut made: Vec<_> = comparison.calls.iter().map(|call| call.operation.as_str()).collect();
        let mut allowed = case.calls.to_vec();
        made.sort_unstable();
        allowed.sort_unstable();
        if made != allowed {
            wrong.push(format!("{}: a warm call makes {made:?}, not {:?}", case.function, case.calls));
        }
    }
    wrong
}

/// How often each operation was called, such as `UpdateItem + Query`.
pub fn operations(calls: &[Call]) -> String {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for call in calls {
        match counted.iter_mut().find(|(name, _)| *name == call.operation) {
            Some((_, count)) => *count += 1,
            None => counted.push((&call.operation, 1)),
        }
    }
    let texts: Vec<_> = counted
        .iter()
        .map(|(name, count)| if *count == 1 { (*name).to_owned() } else { format!("{count} {name}") })
        .collect();
    if texts.is_empty() { "none".into() } else { texts.join(" + ") }
}

fn ratio(target: &Target, comparison: &Comparison) -> f64 {
    (target.figure)(&comparison.function) / (target.figure)(&comparison.floor)
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

#[expect(clippy::cast_precision_loss, reason = "shown to two digits")]
fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

fn dollars(amount: f64) -> String {
    format!("${amount:.2}")
}

/// A Markdown table that is aligned for reading as it is; the first row is the head.
fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|text| text.chars().count())
            .max()
            .unwrap_or_default()
    };
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            // Writing to a string cannot fail.
            let _ = if column == 0 {
                write!(text, "| {cell:<width$} ")
            } else {
                write!(text, "| {cell:>width$} ")
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for column in 0..row.len() {
                let dashes = "-".repeat(width(column) + 1);
                let _ = if column == 0 { write!(text, "|-{dashes}") } else { write!(text, "|{dashes}:") };
            }
            text.push_str("|\n");
        }
    }
    text
}
