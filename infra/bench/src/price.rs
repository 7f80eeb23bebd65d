//! What a million calls cost on AWS: list prices of us-east-1 without free tier, for functions on
//! arm64. Logs, alarms, storage and traffic are not in it.

use std::time::Duration;

use crate::{case::Case, measure::Comparison};

/// Lambda on arm64, first tier (aws.amazon.com/lambda/pricing, 2026-06).
const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
/// Lambda, a million requests (same page).
const LAMBDA_REQUESTS: f64 = 0.20;
/// API Gateway, a million requests of an HTTP API of up to 512 KB, first 300 million a month. Like
/// those of `DynamoDB`, commonly known and not checked against aws.amazon.com/api-gateway/pricing.
const HTTP_API_REQUESTS: f64 = 1.00;
/// `DynamoDB` on demand, a million write request units, standard table class; not checked
/// against aws.amazon.com/dynamodb/pricing/on-demand.
const WRITE_UNITS: f64 = 0.625;
/// `DynamoDB` on demand, a million read request units; not checked either.
const READ_UNITS: f64 = 0.125;

/// SQS, a million requests of a standard queue; not checked either.
const SQS_REQUESTS: f64 = 0.40;

/// Memory that buys one whole processor of Lambda.
const MEMORY_MB_OF_A_PROCESSOR: f64 = 1769.0;
/// What a function waits for an answer of `DynamoDB` in the same region; an assumption, as
/// loopback knows no distance.
pub const DYNAMODB_WAIT: Duration = Duration::from_millis(4);

/// Dollars for a million warm calls.
pub struct Price {
    /// What is billed of each call, in milliseconds.
    pub billed_ms: f64,
    pub lambda: f64,
    pub http_api: f64,
    pub dynamodb: f64,
    pub sqs: f64,
}

impl Price {
    /// From the processor time of a warm call at the share that `memory_mb` buys, the waits, and
    /// the capacity.
    pub fn of(case: &Case, comparison: &Comparison, memory_mb: u32) -> Self {
        let memory = f64::from(memory_mb);
        let share = (memory / MEMORY_MB_OF_A_PROCESSOR).min(1.0);
        let waits: f64 = comparison.calls.iter().map(|_| DYNAMODB_WAIT.as_secs_f64()).sum();
        let billed_ms = ((comparison.function.warm_cpu.as_secs_f64() / share + waits) * 1e3).ceil();
        let (reads, writes) = units(comparison);
        let messages = comparison.calls.iter().filter(|call| call.operation == "SendMessage");
        Self {
            billed_ms,
            lambda: LAMBDA_REQUESTS + memory / 1024.0 * billed_ms * 1e3 * LAMBDA_GB_SECOND,
            http_api: if case.is_route { HTTP_API_REQUESTS } else { 0.0 },
            dynamodb: reads * READ_UNITS + writes * WRITE_UNITS,
            sqs: messages.map(|_| SQS_REQUESTS).sum(),
        }
    }

    pub fn total(&self) -> f64 {
        self.lambda + self.http_api + self.dynamodb + self.sqs
    }
}

/// Read and write request units of one warm call.
pub fn units(comparison: &Comparison) -> (f64, f64) {
    comparison
        .calls
        .iter()
        .fold((0.0, 0.0), |(reads, writes), call| (reads + call.read_units, writes + call.write_units))
}
