//! Runs a function and its floor in turn, so that whatever else the machine does meets both.

use std::time::Duration;

use flate2::{Compression, write::DeflateEncoder};
use serde_json::{Value, json};

use crate::{
    Error,
    case::{Case, Stage, check},
    endpoint::Endpoint,
    tables::Call,
};

/// How often to measure.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Cold starts of each side.
    pub cold: usize,
    /// Warm invocations of each side.
    pub warm: usize,
    /// Processes of each side that share the warm invocations: where the system puts one, and
    /// what it shares a processor with, moves its figures by a third.
    pub pairs: usize,
    /// Whether to deflate the bootstraps, which takes long with those of a debug build.
    pub packages: bool,
}

/// Invocations before the warm ones, in which connections, allocator and caches settle.
const SETTLING: usize = 20;

/// The figures of one bootstrap: first quartiles, but for the memory, which is the largest.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// From the start of the process to its first request for an event.
    pub init: Duration,
    /// The first invocation.
    pub first: Duration,
    /// Both together, of the same start.
    pub cold: Duration,
    /// Processor time of both.
    pub cold_cpu: Duration,
    /// A later invocation.
    pub warm: Duration,
    /// Its processor time.
    pub warm_cpu: Duration,
    /// Bytes resident at most.
    pub memory: u64,
    /// Bytes of the package that is uploaded, if the effort is made.
    pub package: u64,
}

/// A function beside its floor.
pub struct Comparison {
    pub function: Figures,
    pub floor: Figures,
    /// What the function called in one warm invocation.
    pub calls: Vec<Call>,
    /// What its start and its first invocation called.
    pub first_calls: Vec<Call>,
}

/// Measures one case.
pub async fn compare(
    stage: &Stage,
    endpoint: &Endpoint,
    case: &Case,
    effort: Effort,
) -> Result<Comparison, Error> {
    let mut number = 0;
    let mut next = || {
        number += 1;
        (case.event)(number)
    };

    endpoint.record();
    let mut bootstrap = stage.start(case.function, &[]).await?;
    check(case.function, &bootstrap.invoke(&next()).await?.answer)?;
    let first_calls = endpoint.recorded();
    endpoint.record();
    let answer = bootstrap.invoke(&next()).await?.answer;
    check(case.function, &answer)?;
    let calls = endpoint.recorded();
    drop(bootstrap);

    let repeated = if case.calls.is_empty() {
        ("FLOOR_ANSWER", answer.to_string())
    } else {
        ("FLOOR_CALLS", floor_calls(&calls).to_string())
    };
    // In a file, as a variable takes 128 KiB only.
    let script = stage.logs.join(repeated.0);
    std::fs::write(&script, &repeated.1)?;
    let script = script.display().to_string();
    let sides = [(case.function, vec![]), (case.floor, vec![(repeated.0, script.as_str())])];
    let mut samples = [Samples::default(), Samples::default()];

    for turn in 0..effort.cold {
        for side in in_turn(turn) {
            let (name, variables) = &sides[side];
            let event = next();
            let mut bootstrap = stage.start(name, variables).await?;
            let first = bootstrap.invoke(&event).await?;
            check(name, &first.answer)?;
            let samples = &mut samples[side];
            samples.init.push(bootstrap.init);
            samples.first.push(first.latency);
            samples.cold.push(bootstrap.init + first.latency);
            samples.cold_cpu.push(bootstrap.cpu()?);
        }
    }

    let mut memory = [0, 0];
    for _ in 0..effort.pairs {
        let mut running =
            [stage.start(sides[0].0, &sides[0].1).await?, stage.start(sides[1].0, &sides[1].1).await?];
        for turn in 0..SETTLING + effort.warm / effort.pairs {
            for side in in_turn(turn) {
                let invocation = running[side].invoke(&next()).await?;
                check(sides[side].0, &invocation.answer)?;
                if turn >= SETTLING {
                    samples[side].warm.push(invocation.latency);
                    samples[side].warm_cpu.push(invocation.cpu);
                }
            }
        }
        for side in [0, 1] {
            memory[side] = running[side].peak_memory()?.max(memory[side]);
        }
    }

    let package = |name| if effort.packages { package(stage, name) } else { Ok(0) };
    let [function, floor] = samples;
    Ok(Comparison {
        function: function.figures(memory[0], package(case.function)?),
        floor: floor.figures(memory[1], package(case.floor)?),
        first_calls,
        calls,
    })
}

/// Who goes first changes from turn to turn.
fn in_turn(turn: usize) -> [usize; 2] {
    if turn.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

#[derive(Default)]
struct Samples {
    init: Vec<Duration>,
    first: Vec<Duration>,
    cold: Vec<Duration>,
    cold_cpu: Vec<Duration>,
    warm: Vec<Duration>,
    warm_cpu: Vec<Duration>,
}

impl Samples {
    fn figures(self, memory: u64, package: u64) -> Figures {
        Figures {
            init: quartile(self.init),
            first: quartile(self.first),
            cold: quartile(self.cold),
            cold_cpu: quartile(self.cold_cpu),
            warm: quartile(self.warm),
            warm_cpu: quartile(self.warm_cpu),
            memory,
            package,
        }
    }
}

/// The first quartile: whatever else the machine does only ever adds, and to some more than to
/// others.
pub fn quartile(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 4).copied().unwrap_or_default()
}

/// The size of a zip that holds the bootstrap alone.
fn package(stage: &Stage, name: &str) -> Result<u64, Error> {
    // Local header, entry of the directory and its end, with the name `bootstrap` in the first two.
    const FRAME: u64 = 30 + 46 + 22 + 2 * "bootstrap".len() as u64;
    let mut encoder = DeflateEncoder::new(Counter(0), Compression::best());
    std::io::copy(&mut std::fs::File::open(stage.binary(name))?, &mut encoder)?;
    Ok(encoder.finish()?.0 + FRAME)
}

/// Counts what is written to it.
struct Counter(u64);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The calls the floor is to repeat. A condition that held once, such as "not there yet", would
/// not hold again, and a refused write is less work: it is made to hold always, and keeps its
/// size, its names and its values.
fn floor_calls(calls: &[Call]) -> Value {
    fn hold(request: &mut Value) {
        if let Some(condition) = request["ConditionExpression"].as_str() {
            request["ConditionExpression"] =
                json!(format!("({condition}) OR attribute_exists(pk) OR attribute_not_exists(pk)"));
        }
    }
    let calls: Vec<_> = calls
        .iter()
        .filter(|call| call.operation != "keys")
        .map(|call| {
            let mut request = call.request.clone();
            if request.get("ConditionExpression").is_some() {
                hold(&mut request);
            }
            for item in request.get_mut("TransactItems").and_then(Value::as_array_mut).into_iter().flatten() {
                for action in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
                    if action.get("ConditionExpression").is_some() {
                        hold(action);
                    }
                }
            }
            json!({"operation": call.operation, "request": request})
        })
        .collect();
    json!(calls)
}
