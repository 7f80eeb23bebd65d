//! The program, as a person runs it.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

/// The program on a state directory.
pub fn tidegate(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for name in ["TIDEGATE_PORT", "TIDEGATE_STATE", "TIDEGATE_AWS_PORT", "TIDEGATE_LOG"] {
        command.env_remove(name);
    }
    command.args(arguments).env("TIDEGATE_STATE", state);
    command
}

/// Runs it to its end.
pub fn run(state: &Path, arguments: &[&str]) -> Output {
    tidegate(state, arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A running server, which dies with the test.
pub struct Server {
    process: Child,
    pub url: String,
    pub greeting: Vec<String>,
}

impl Server {
    pub fn start(state: &Path, arguments: &[&str]) -> Self {
        let mut command = tidegate(state, &[&["serve", "--port", "0"], arguments].concat());
        let log = File::options().create(true).append(true).open(state.with_extension("log")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.next().unwrap_or_default();
        let url = first.strip_prefix("Tidegate serves at ").unwrap_or_else(|| panic!("{first}")).to_owned();
        let greeting = lines.take(6).collect();
        Self { process, url, greeting }
    }

    pub fn signal(&mut self, name: &str) -> std::process::ExitStatus {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
        self.process.wait().unwrap()
    }

    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A token of the development issuer.
pub fn token(state: &Path, role: &str) -> String {
    let output = run(state, &["token", "--role", role, "--workspace", "acme"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = text(&output.stdout);
    assert_eq!(text.lines().count(), 1, "nothing but the token");
    text.trim().to_owned()
}
