//! One bootstrap, started and served as Lambda does it: the process, its environment, and the
//! Runtime API it asks for events.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};

use crate::Error;

const REGION: &str = "us-east-1";
const PATIENCE: Duration = Duration::from_secs(20);

/// A started bootstrap that waits for an event.
pub struct Bootstrap {
    /// From the start of the process to its first request for an event.
    pub init: Duration,
    process: Child,
    events: mpsc::UnboundedSender<String>,
    reports: mpsc::UnboundedReceiver<Report>,
    server: JoinHandle<()>,
    log: PathBuf,
}

/// One invocation.
pub struct Invocation {
    /// What the function answered.
    pub answer: Value,
    /// From handing out the event to having the answer.
    pub latency: Duration,
    /// Processor time the process took from one request for an event to the next.
    pub cpu: Duration,
}

/// What a bootstrap did with its Runtime API.
enum Report {
    Asks(Instant),
    Takes(Instant),
    Answers(Instant, Bytes),
    Fails(Bytes),
}

struct RuntimeApi {
    events: Mutex<mpsc::UnboundedReceiver<String>>,
    reports: mpsc::UnboundedSender<Report>,
}

impl Bootstrap {
    /// Starts `binary` as the function of its name and waits until it asks for an event. Its
    /// output goes to a file in `directory`.
    pub async fn start(
        binary: &Path,
        memory_mb: u32,
        variables: &HashMap<String, String>,
        directory: &Path,
    ) -> Result<Self, Error> {
        let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (events, taken) = mpsc::unbounded_channel();
        let (reported, reports) = mpsc::unbounded_channel();
        let server =
            tokio::spawn(serve(listener, RuntimeApi { events: Mutex::new(taken), reports: reported }));

        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", &name),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory_mb.to_string()),
                ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "bench"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", &name),
                ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
                ("AWS_REGION", REGION),
                ("AWS_DEFAULT_REGION", REGION),
                ("AWS_ACCESS_KEY_ID", "ASIABENCH"),
                ("AWS_SECRET_ACCESS_KEY", "bench"),
                ("AWS_SESSION_TOKEN", "bench"),
                ("_HANDLER", "bootstrap"),
                ("LAMBDA_TASK_ROOT", "/var/task"),
                ("LANG", "en_US.UTF-8"),
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
                ("TZ", ":UTC"),
            ])
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let started = Instant::now();
        let process =
            command.spawn().map_err(|error| format!("{} does not start: {error}", binary.display()))?;
        let mut bootstrap = Self { init: Duration::ZERO, process, events, reports, server, log };
        let Report::Asks(asked) = bootstrap.report().await? else {
            return Err(bootstrap.failure("did not ask for an event first"));
        };
        bootstrap.init = asked.saturating_duration_since(started);
        Ok(bootstrap)
    }

    /// Hands out one event, and waits for the answer and for the request for the next event.
    pub async fn invoke(&mut self, event: &str) -> Result<Invocation, Error> {
        let before = self.cpu()?;
        self.events.send(event.to_owned())?;
        let Report::Takes(taken) = self.report().await? else {
            return Err(self.failure("did not take the event"));
        };
        let (answered, answer) = match self.report().await? {
            Report::Answers(at, answer) => (at, answer),
            Report::Fails(error) => return Err(self.failure(&String::from_utf8_lossy(&error))),
            Report::Asks(_) | Report::Takes(_) => return Err(self.failure("did not answer the event")),
        };
        let Report::Asks(_) = self.report().await? else {
            return Err(self.failure("did not ask for the next event"));
        };
        Ok(Invocation {
            answer: serde_json::from_slice(&answer)?,
            latency: answered.saturating_duration_since(taken),
            cpu: self.cpu()?.saturating_sub(before),
        })
    }

    /// Processor time of all threads since the start.
    pub fn cpu(&self) -> Result<Duration, Error> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            // A thread may end between being listed and being read.
            let Ok(times) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            total += times.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// The most memory the process has had resident, in bytes.
    pub fn peak_memory(&self) -> Result<u64, Error> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes * 1024)
    }

    async fn report(&mut self) -> Result<Report, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            match timeout(Duration::from_millis(200), self.reports.recv()).await {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => return Err(self.failure("lost its Runtime API")),
                Err(_) => {
                    if let Some(status) = self.process.try_wait()? {
                        return Err(self.failure(&format!("ended: {status}")));
                    }
                    if Instant::now() > until {
                        return Err(self.failure("hangs"));
                    }
                }
            }
        }
    }

    fn failure(&self, what: &str) -> Error {
        let name = self.log.file_stem().unwrap_or_default().to_string_lossy();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        format!("{name} {what}\n{log}").into()
    }
}

impl Drop for Bootstrap {
    fn drop(&mut self) {
        self.server.abort();
        // Lambda ends a sandbox the same way; a bootstrap has nothing to put in order.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn serve(listener: TcpListener, api: RuntimeApi) {
    let listener = listener.tap_io(|stream| {
        // Without it the timings below would be those of a delayed segment.
        let _ = stream.set_nodelay(true);
    });
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(error))
        .with_state(Arc::new(api));
    // Only ends with its bootstrap, which aborts it.
    let _ = axum::serve(listener, router).await;
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    let _ = api.reports.send(Report::Asks(Instant::now()));
    let Some(event) = api.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:bench"),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
        ),
        ("content-type", "application/json"),
    ];
    let _ = api.reports.send(Report::Takes(Instant::now()));
    (headers, event).into_response()
}

async fn response(State(api): State<Arc<RuntimeApi>>, body: Bytes) -> StatusCode {
    let _ = api.reports.send(Report::Answers(Instant::now(), body));
    StatusCode::ACCEPTED
}

async fn error(State(api): State<Arc<RuntimeApi>>, body: Bytes) -> StatusCode {
    let _ = api.reports.send(Report::Fails(body));
    StatusCode::ACCEPTED
}
