//! Puts the parts together, starts them and stops them.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_config::SdkConfig;
use axum::Router;
use shared::lambda::Env;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    aws::{self, Services},
    dev_issuer::{self, DevIssuer},
    functions::{Functions, Registry},
    http::Gateway,
    intrinsics::REGION,
    listener, queues, schedules,
    state::{Lock, Running, State},
    template::{self, Template},
};

/// How long running requests may take to finish once the runner stops.
const PATIENCE: Duration = Duration::from_secs(15);

/// What to run, and where.
pub struct Config {
    /// Text of the template.
    pub template: String,
    /// The template's functions.
    pub functions: Registry,
    /// The template's parameters that differ from their defaults.
    pub parameters: BTreeMap<String, String>,
    /// The state directory.
    pub state: PathBuf,
    /// Where the HTTP API listens.
    pub bind: IpAddr,
    /// Its port; 0 is any free one.
    pub port: u16,
    /// The port of the AWS endpoint; 0 is any free one.
    pub aws_port: u16,
    /// Whether queues and schedules run their functions.
    pub workers: bool,
}

/// Why the runner does not start, in one line for the person who started it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl From<String> for StartError {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// A running system. Dropped without [`Runner::stop`] it ends at once.
pub struct Runner {
    /// How to reach it.
    pub running: Running,
    /// Its functions.
    pub functions: Arc<Functions>,
    /// For clients of its AWS endpoint.
    pub sdk: SdkConfig,
    front: Part,
    workers: Part,
    endpoint: Part,
    _lock: Lock,
}

/// The system on a state directory: the server that runs there, or else one that serves nothing
/// but the command that started it.
pub struct Attached {
    running: Running,
    sdk: SdkConfig,
    own: Option<Runner>,
}

impl Attached {
    /// Finds the server or starts one, with the parameters that the last one here had.
    pub async fn to(path: &Path) -> Result<Self, StartError> {
        let state = State::open(path)?;
        if let Some(running) = state.running()? {
            let sdk = aws::sdk_config(&running.aws_url, &state.access_key()?);
            return Ok(Self { running, sdk, own: None });
        }
        let runner = Runner::start(Config {
            template: template::SYSTEM.to_owned(),
            functions: crate::functions::registry(),
            parameters: state.announced()?.map(|last| last.parameters).unwrap_or_default(),
            state: path.to_owned(),
            bind: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            aws_port: 0,
            workers: false,
        })
        .await?;
        Ok(Self { running: runner.running.clone(), sdk: runner.sdk.clone(), own: Some(runner) })
    }

    /// How to reach it.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// For clients of its AWS endpoint.
    #[must_use]
    pub fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// The environment of the function that runs this binary.
    pub fn env(&self, binary: &str) -> Result<Env, StartError> {
        let functions = template_of(&self.running)?.functions;
        let function = functions.into_values().find(|function| function.binary == binary);
        let function = function.ok_or_else(|| format!("the template has no function that runs {binary}"))?;
        Ok(Env::of(function.environment))
    }

    /// The environments of all functions together.
    pub fn environment(&self) -> Result<Env, StartError> {
        let functions = template_of(&self.running)?.functions;
        Ok(Env::of(functions.into_values().flat_map(|function| function.environment)))
    }

    /// Ends what was started for this.
    pub async fn leave(self) {
        if let Some(runner) = self.own {
            runner.stop().await;
        }
    }
}

/// Tasks that end on a signal.
struct Part {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Runner {
    /// Starts everything, or says why not.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let state = State::open(&config.state).map_err(|error| {
            StartError(format!("cannot use the state directory {}: {error}", config.state.display()))
        })?;
        let Some(lock) = state.lock_soon().await? else {
            return Err(StartError(format!(
                "another server uses the state directory {}; stop it, or give this one its own with --state DIR",
                config.state.display()
            )));
        };
        let listener = listen(config.bind, config.port, "--port").await?;
        let aws_listener = listen(Ipv4Addr::LOCALHOST.into(), config.aws_port, "--aws-port").await?;
        let address = listener.local_addr()?;
        let aws_address = aws_listener.local_addr()?;
        let running = Running {
            url: format!("http://{}", reachable(address)),
            aws_url: format!("http://{aws_address}"),
            development: config.bind.is_loopback() && !config.parameters.contains_key("OidcIssuer"),
            parameters: config.parameters,
        };
        let development = running.development;
        let template = read_template(&config.template, &running)?;
        let services = Services::open(Some(&state), &template, &running.aws_url)?;
        let key = state.access_key()?;
        let sdk = aws::sdk_config(&running.aws_url, &key);
        let functions = Arc::new(Functions::load(&config.functions, &template.functions, &sdk)?);
        let template = Arc::new(template);
        let jwks = development.then(|| dev_issuer(&state)).transpose()?.map(|issuer| issuer.jwks());

        let mut endpoint = Part::new();
        endpoint.tasks.spawn(services.dynamodb.clone().sweep(endpoint.stop.subscribe()));
        let mut workers = Part::new();
        if config.workers {
            for source in &template.queue_sources {
                let worker = queues::work(
                    services.sqs.clone(),
                    Arc::clone(&functions),
                    source.clone(),
                    workers.stop.subscribe(),
                );
                workers.tasks.spawn(worker);
            }
            for schedule in &template.schedules {
                let scheduler = schedules::run(
                    services.rows.clone(),
                    Arc::clone(&functions),
                    schedule.clone(),
                    workers.stop.subscribe(),
                );
                workers.tasks.spawn(scheduler);
            }
        }
        endpoint.serve(aws_listener, aws::router(services, key));
        let mut front = Part::new();
        front.serve(listener, Gateway::new(Arc::clone(&template), Arc::clone(&functions), jwks).router());
        state.announce(&running)?;
        Ok(Self { running, functions, sdk, front, workers, endpoint, _lock: lock })
    }

    /// Takes no more requests, lets the running ones finish for a while, and ends.
    pub async fn stop(self) {
        // The functions need the endpoint until they are done.
        tokio::join!(self.front.stop(), self.workers.stop());
        self.endpoint.stop().await;
    }
}

impl Part {
    fn new() -> Self {
        Self { stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    fn serve(&mut self, listener: TcpListener, router: Router) {
        self.tasks.spawn(listener::serve(listener, router, self.stop.subscribe()));
    }

    async fn stop(mut self) {
        self.stop.send_replace(true);
        let done = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(PATIENCE, done).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
    }
}

/// The template as this server runs it.
fn read_template(text: &str, running: &Running) -> Result<Template, StartError> {
    let own = if running.development { dev_issuer::parameters(&running.url) } else { BTreeMap::new() };
    Template::read(text, &running.parameters, &own, &running.aws_url)
        .map_err(|reason| StartError(format!("template.yaml: {reason}")))
}

/// The development issuer of a state directory.
pub fn dev_issuer(state: &State) -> io::Result<DevIssuer> {
    DevIssuer::load_or_create(&state.file("dev-issuer.pem"))
}

/// The functions of a server that runs elsewhere, on its state.
pub fn functions_of(state: &State, running: &Running) -> Result<Functions, StartError> {
    let (template, key) = (template_of(running)?, state.access_key()?);
    let sdk = aws::sdk_config(&running.aws_url, &key);
    Ok(Functions::load(&crate::functions::registry(), &template.functions, &sdk)?)
}

/// What puts a function that runs elsewhere on a running server's state.
pub fn endpoints_of(state: &State, running: &Running) -> Result<BTreeMap<String, String>, StartError> {
    let key = state.access_key()?;
    let mut variables = BTreeMap::new();
    for function in template_of(running)?.functions.into_values() {
        variables.extend(function.environment);
    }
    for (name, value) in [
        ("AWS_ENDPOINT_URL", running.aws_url.as_str()),
        ("AWS_ACCESS_KEY_ID", &key.id),
        ("AWS_SECRET_ACCESS_KEY", &key.secret),
        ("AWS_REGION", REGION),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

fn template_of(running: &Running) -> Result<Template, StartError> {
    read_template(template::SYSTEM, running)
}

async fn listen(address: IpAddr, port: u16, option: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind((address, port)).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            StartError(format!(
                "port {port} is in use; stop what listens there, or choose another with {option}"
            ))
        } else {
            StartError(format!("cannot listen on {address} port {port}: {error}"))
        }
    })
}

/// An address that a client on this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port());
    }
    address
}

/// The default state directory.
#[must_use]
pub fn default_state() -> &'static Path {
    Path::new(".tidegate")
}
