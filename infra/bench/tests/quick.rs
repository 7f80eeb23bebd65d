//! The bench still runs, and each function makes the round trips it is allowed.

use std::{path::Path, process::Command};

#[test]
fn functions_make_the_round_trips_they_are_allowed() {
    let bench = env!("CARGO_BIN_EXE_bench");
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    build.args(["build", "--workspace", "--bins"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo starts").success(), "the bootstraps do not build");

    let output = Command::new(bench).arg("--quick").output().expect("the bench starts");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{out}\n{err}");
    for line in ["authorize-key: GetItem", "sync-users: UpdateItem + Query"] {
        assert!(err.lines().any(|said| said == line), "{line} is not said:\n{out}\n{err}");
    }
}
