//! One emulator for one test.

use std::process::Stdio;

use serde_json::Value;
use shared::{lambda::Env, providers::Client};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/providers");

/// A running emulator; ends when dropped.
pub struct Emulator {
    service: &'static str,
    /// Where it listens.
    pub url: String,
    _process: Child,
}

impl Emulator {
    /// Starts what `emulate` calls `service`, with this to begin with.
    pub async fn start(service: &'static str, seed: &Value) -> Self {
        let mut process = Command::new("node")
            .args(["serve.mjs", service])
            .current_dir(DIRECTORY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs");
        let input = process.stdin.as_mut().unwrap();
        input.write_all(format!("{seed}\n").as_bytes()).await.unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines.next_line().await.unwrap();
        let url = url.expect("the emulator starts; `npm ci` in tests/providers installs it");
        Self { service, url, _process: process }
    }

    /// A client that finds the provider here.
    pub fn client(&self) -> Client {
        let endpoint = format!("{}={}", self.service, self.url);
        Client::load(&Env::of([("PROVIDER_ENDPOINTS", endpoint)])).unwrap()
    }
}
