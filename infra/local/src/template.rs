//! The system as `template.yaml` describes it: what the reader makes of it, and everything else
//! here works from.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::schedules::Expression;

/// `template.yaml` of the repository.
pub const SYSTEM: &str = include_str!("../../../template.yaml");

/// The evaluated template.
#[derive(Debug, Default)]
pub struct Template {
    /// By logical id.
    pub functions: BTreeMap<String, Function>,
    /// Every way in over HTTP.
    pub routes: Vec<Route>,
    /// By the name that routes use.
    pub authorizers: BTreeMap<String, Authorizer>,
    /// Which pages of other origins may call.
    pub cors: Option<Cors>,
    /// `CreateTable` requests and the attribute that holds an item's end, if any.
    pub tables: Vec<Table>,
    /// Queues, dead-letter queues among them.
    pub queues: Vec<Queue>,
    /// Names of the KMS keys.
    pub keys: Vec<String>,
    /// Alias to the name or ARN of its key.
    pub key_aliases: BTreeMap<String, String>,
    /// Secrets with their first values.
    pub secrets: Vec<Secret>,
    /// Which function works off which queue.
    pub queue_sources: Vec<QueueSource>,
    /// What runs by the clock.
    pub schedules: Vec<Schedule>,
}

/// One Lambda function.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// The binary that it runs, by which the registry knows its library.
    pub binary: String,
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
    /// How long one invocation may take.
    pub timeout: Duration,
}

/// One route of the HTTP API.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// `None` answers any method.
    pub method: Option<String>,
    /// `None` is `$default`.
    pub path: Option<String>,
    /// Logical id of the function.
    pub function: String,
    /// `None` is open.
    pub authorizer: Option<String>,
    /// The gateway's own limit for the integration.
    pub timeout: Duration,
}

/// A Lambda authorizer with simple responses.
#[derive(Debug, Clone, PartialEq)]
pub struct Authorizer {
    /// Logical id of the function.
    pub function: String,
    /// What its answer is cached by; all of them must be there.
    pub identity: Vec<IdentitySource>,
    /// How long an answer may be reused.
    pub ttl: Duration,
}

/// Where a part of the caller's identity stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// A header, by its lower-cased name.
    Header(String),
    /// A parameter of the query string.
    Query(String),
}

/// `CorsConfiguration` of the HTTP API.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct Cors {
    /// `*`, or origins as browsers send them.
    pub allow_origins: Vec<String>,
    /// Methods a page may use.
    pub allow_methods: Vec<String>,
    /// Headers a page may send.
    pub allow_headers: Vec<String>,
    /// Headers a page may read.
    pub expose_headers: Vec<String>,
    /// Whether cookies may be sent along.
    pub allow_credentials: bool,
    /// Seconds for which a browser may remember this.
    pub max_age: Option<u32>,
}

/// One DynamoDB table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The `CreateTable` request.
    pub create: Value,
    /// The attribute that says when an item ends.
    pub ttl_attribute: Option<String>,
}

impl Table {
    /// The table's name.
    pub fn name(&self) -> &str {
        self.create.get("TableName").and_then(Value::as_str).unwrap_or_default()
    }
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// How long a received message is hidden.
    pub visibility_timeout: Duration,
    /// How long a new message is hidden.
    pub delay: Duration,
    /// How long a message lives.
    pub retention: Duration,
    /// Where a message goes that was received too often: queue and how often.
    pub redrive: Option<Redrive>,
}

/// A queue's dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// Its name.
    pub queue: String,
    /// After how many receives.
    pub max_receive_count: u32,
}

/// One secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// The value it starts with.
    pub initial: Initial,
}

/// The value a secret starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initial {
    /// None: someone has to put one.
    Nothing,
    /// This text.
    Text(String),
    /// Random characters, either alone or as a member of a JSON object.
    Random {
        /// How many.
        length: usize,
        /// The JSON object and the name of its new member.
        member: Option<(Map<String, Value>, String)>,
    },
}

/// An SQS event source mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSource {
    /// Name of the queue.
    pub queue: String,
    /// Logical id of the function.
    pub function: String,
    /// The most messages of one invocation.
    pub batch_size: usize,
    /// How long to wait for a batch to fill.
    pub window: Duration,
    /// Whether the function names the messages that failed.
    pub partial_answers: bool,
    /// The most invocations at a time.
    pub concurrency: usize,
}

/// The two services that run functions by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// EventBridge Scheduler: `ScheduleV2` events and `AWS::Scheduler::Schedule`.
    Scheduler,
    /// A rule of EventBridge: `Schedule` events.
    Rule,
}

/// A scheduled invocation.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Unique, for logs and for remembering what ran.
    pub name: String,
    /// When.
    pub expression: Expression,
    /// Logical id of the function.
    pub function: String,
    /// The event's text, in which the scheduler's keywords are replaced; `None` sends the event
    /// of what schedules.
    pub input: Option<String>,
    /// What schedules.
    pub source: Source,
}
