//! The embedded runner as a process: how it starts and stops, and what a kill costs. Each test
//! has a server and a state directory of its own; `TIDEGATE_BINARIES` says where the program is.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod demo;
mod kill;
mod ledger;
mod start;
mod webhooks;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tests::{Server, Workspace, token::Issuer, variable};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

/// A state directory that goes with its owner.
struct State(PathBuf);

impl State {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("tidegate-faults-{}", tests::random()));
        fs::create_dir(&directory).expect("a directory can be made");
        Self(directory)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // What is left in the temporary directory then says so itself.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tidegate() -> Command {
    let mut command = Command::new(Path::new(&variable("TIDEGATE_BINARIES")).join("tidegate"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn serve(state: &State, port: u16) -> Command {
    let mut command = tidegate();
    command.args(["serve", "--port", &port.to_string(), "--log", "error", "--state"]).arg(state.path());
    command
}

/// A port that nobody listens on, and the listener that keeps it until it is dropped.
fn port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    (listener, port)
}

/// A running server.
struct Running {
    child: Child,
    server: Server,
    port: u16,
}

impl Running {
    /// Starts a server and waits until it answers.
    async fn start(state: &State, port: u16) -> Self {
        let child = serve(state, port).stdout(Stdio::null()).spawn().expect("the runner can be started");
        let server = Server::at(&format!("http://127.0.0.1:{port}"));
        let mut running = Self { child, server, port };
        let begin = Instant::now();
        while !running.answers().await {
            let ended = running.child.try_wait().expect("its state can be asked for");
            assert!(ended.is_none(), "the runner ended: {ended:?}");
            assert!(begin.elapsed() < Duration::from_secs(30), "the runner does not answer");
            sleep(Duration::from_millis(5)).await;
        }
        running
    }

    async fn answers(&self) -> bool {
        self.server.get("/api/health").try_send().await.is_ok_and(|answer| answer.status == 200)
    }

    /// As a power cut would.
    async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    async fn workspace(&self, state: &State) -> Workspace {
        let pem = fs::read_to_string(state.path().join("dev-issuer.pem")).expect("the issuer's key");
        let jwks = format!("http://127.0.0.1:{}/_dev/jwks.json", self.port);
        let issuer = Issuer::of(&self.server, &pem, &jwks).await;
        Workspace::on(self.server.clone(), issuer)
    }
}
