"""Runs all tests, each against what it needs, and ends with a line that counts them.

    run.py [STAGE …]    lint unit providers runner faults emulator; without any, all of them

What a stage prints is passed on. A test that was skipped counts as failed: nothing is green that
did not run. The one exception is named where it is made.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Iterator

import boto3

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "emulator"))

import leaks  # noqa: E402
from deploy import deploy  # noqa: E402
from ministack import Emulator, free_port  # noqa: E402
from providers import Providers  # noqa: E402

BIN = Path(sys.executable).parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARIES = TARGET / "debug"
END_TO_END = ["cargo", "test", "-p", "tests", "--test", "e2e", "--"]
# More threads than processors: the tests mostly wait.
THREADS = ["--test-threads", "8"]

#: Installs what providers sign their webhooks with.
SIGNERS = ["npm", "--prefix", "tests/signatures", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]

#: Parameters of the template that both engines get.
PARAMETERS = {
    "CorsOrigins": "https://dashboard.example,https://staging.example",
    "OperatorsWorkspace": "operators",
    "GithubAppId": "7",
}

#: What both engines share with providers, made anew for each run. Tests learn them as
#: `TIDEGATE_<name>`. There is no DEVOPS_WEBHOOK_SECRET: nobody has to sign reports.
SECRETS = {
    "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(16)}",
    "GITHUB_APP_WEBHOOK_SECRET": secrets.token_hex(16),
    "SHOPIFY_CLIENT_SECRET": secrets.token_hex(16),
}

#: How cargo's and pytest's summaries count.
PASSED = re.compile(r"(\d+) passed")
FAILED = re.compile(r"(\d+) (?:failed|errors?|ignored|skipped|xfailed|deselected)\b")
SUMMARY = re.compile(r"^test result: |^[=\s]*\d+ (?:passed|failed|errors?|skipped).* in [\d.]+s")


class Count:
    """What was run so far."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.seconds: list[tuple[str, float]] = []

    def add(self, name: str, passed: int, failed: int, seconds: float) -> None:
        """Notes what a command came to."""
        self.passed += passed
        self.failed += failed
        self.seconds.append((name, seconds))
        print(f"--- {name}: {passed} passed, {failed} failed, {seconds:.0f} s", flush=True)

    def run(self, name: str, command: list[object], environment: dict[str, str] | None = None) -> None:
        """Runs a command, passing on what it prints. Without a summary it is one test itself."""
        print(f"\n=== {name}: {' '.join(map(str, command))}", flush=True)
        begin = time.monotonic()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        passed = failed = 0
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if SUMMARY.match(line):
                passed += sum(map(int, PASSED.findall(line)))
                failed += sum(map(int, FAILED.findall(line)))
        good = process.wait() == 0
        if good and passed + failed == 0:
            passed = 1
        if not good and failed == 0:
            failed = 1
        self.add(name, passed, failed, time.monotonic() - begin)


class Runner:
    """The embedded runner on a state of its own."""

    def __init__(self, directory: Path, providers: Providers) -> None:
        self.parameters = PARAMETERS | {"ProviderEndpoints": providers.endpoints}
        self.state = directory / "state"
        self.examples = directory / "github-examples.jsonl"
        self.log = directory / "runner.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Runner:
        with self.log.open("w") as log:
            command = [BINARIES / "tidegate", "serve", "--state", self.state, "--port", str(self.port)]
            for assignment in self.parameters.items():
                command += ["--parameter", "=".join(assignment)]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/api/health", timeout=5).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the runner did not start:\n{self.log.read_text()}") from None
                time.sleep(0.05)
        for name, value in SECRETS.items():
            command = [BINARIES / "tidegate", "secrets", "set", name, "--state", self.state]
            subprocess.run(command, input=value, text=True, check=True, capture_output=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)

    def environment(self, url: str) -> dict[str, str]:
        """What tests need to talk to `url`, which trusts this runner's issuer."""
        return {
            "TIDEGATE_URL": url,
            "TIDEGATE_ISSUER_KEY": str(self.state / "dev-issuer.pem"),
            "TIDEGATE_JWKS_URL": f"{self.url}/_dev/jwks.json",
            "TIDEGATE_STATE": str(self.state),
            "TIDEGATE_BINARIES": str(BINARIES),
            "TIDEGATE_GITHUB_EXAMPLES": str(self.examples),
            "TIDEGATE_HOME_WORKSPACE": PARAMETERS["OperatorsWorkspace"],
            **{f"TIDEGATE_{name}": value for name, value in SECRETS.items()},
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "RUST_BACKTRACE": "0",
        }


def pytest(*arguments: object) -> list[object]:
    """A pytest command."""
    return [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *arguments]


def lint(count: Count) -> None:
    """What needs nothing to run."""
    denied = {"RUSTDOCFLAGS": "-D warnings -A rustdoc::private-intra-doc-links"}
    # The private items too: this workspace is read by those who work on it.
    document = ["cargo", "doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]
    count.run("format", ["cargo", "fmt", "--check"])
    clippy = ["cargo", "clippy", "--quiet", "--workspace", "--all-targets"]
    count.run("clippy", [*clippy, "--", "-D", "warnings"])
    # Targets that a plain `cargo test` leaves out, `--all-targets` leaves out too.
    ours = ["cargo", "clippy", "--quiet", "-p", "tests", "--test", "e2e", "--test", "faults", "--test", "providers"]
    ours += ["--test", "signatures"]
    count.run("clippy of the tests", [*ours, "--", "-D", "warnings"])
    count.run("documentation", document, denied)
    count.run("static checks", pytest("tests/static"))


def unit(count: Count) -> None:
    """Rules, stores and handlers, each crate on its own."""
    count.run("unit tests", ["cargo", "test", "--quiet", "--workspace", "--no-fail-fast"])


def providers(count: Count) -> None:
    """Providers as others emulate them, and their own libraries."""
    install = ["npm", "--prefix", "tests/providers", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    count.run("emulators of providers", install)
    count.run("providers", ["cargo", "test", "-p", "tests", "--test", "providers"], {"RUST_BACKTRACE": "0"})
    count.run("libraries that sign", SIGNERS)
    count.run("signatures", ["cargo", "test", "-p", "tests", "--test", "signatures"], {"RUST_BACKTRACE": "0"})


def github_examples(count: Count, path: Path) -> None:
    """Writes what GitHub would deliver, one a line; the end-to-end suite sends it."""
    count.run("libraries that sign", SIGNERS)
    with path.open("w") as examples:
        subprocess.run(["node", "tests/signatures/examples.mjs"], cwd=ROOT, stdout=examples, check=True)


def on_runner(count: Count, runner: Runner) -> None:
    """The whole on the embedded runner."""
    environment = runner.environment(runner.url)
    count.run("end to end on the runner", [*END_TO_END, *THREADS], environment)
    count.run("functions under cargo lambda", pytest("tests/functions"), environment)
    count.run("the API as its document says", [sys.executable, "tests/fuzz.py"], environment)
    verify_ledgers(count, runner)
    sealed(count, "what the runner left behind", leaks.files(runner.state, runner.log))


def verify_ledgers(count: Count, runner: Runner) -> None:
    """Whatever the tests did: in each of their workspaces every total is what the entities come to."""
    begin = time.monotonic()
    tidegate = [BINARIES / "tidegate"]
    told = subprocess.run(
        [*tidegate, "endpoints", "--state", runner.state], check=True, capture_output=True, text=True
    ).stdout
    variables = dict(line.split("=", 1) for line in told.splitlines())
    table = boto3.resource(
        "dynamodb",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    ).Table(variables["LEDGER_TABLE"])
    workspaces: set[str] = set()
    start: dict[str, Any] = {}
    while True:
        page = table.scan(ProjectionExpression="pk", **start)
        workspaces |= {row["pk"].split("#")[1] for row in page["Items"]}
        if "LastEvaluatedKey" not in page:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    failed = 0
    for workspace in sorted(workspaces):
        command = [*tidegate, "ledger", "verify", f"--workspace={workspace}", "--state", runner.state]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            failed += 1
            print(done.stdout, done.stderr, flush=True)
    # Without a workspace nothing was shown.
    count.add("totals verified", len(workspaces) - failed, failed + (not workspaces), time.monotonic() - begin)


def sealed(count: Count, name: str, places: Iterator[tuple[str, bytes]]) -> None:
    """What is secret is readable nowhere."""
    begin = time.monotonic()
    wrong = leaks.check(places, SECRETS.values())
    print("\n".join(wrong))
    count.add(name, int(not wrong), int(bool(wrong)), time.monotonic() - begin)


def faults(count: Count) -> None:
    """The runner, killed and restarted."""
    environment = {"TIDEGATE_BINARIES": str(BINARIES), "RUST_BACKTRACE": "0"}
    count.run("faults", ["cargo", "test", "-p", "tests", "--test", "faults"], environment)


def on_emulator(count: Count, runner: Runner, directory: Path) -> None:
    """The whole on CloudFormation, with IAM enforced."""
    log = directory / "emulator.log"
    begin = time.monotonic()
    with Emulator(log) as emulator:
        jwks = f"{runner.url}/_dev/jwks.json"
        url = deploy(emulator.endpoint, BINARIES, runner.parameters | {"OidcJwksUrl": jwks}, SECRETS)
        count.add("deployment by CloudFormation", 1, 0, time.monotonic() - begin)
        environment = runner.environment(url) | {"TIDEGATE_EMULATOR": emulator.endpoint}
        print("Not run here, as the emulator has no such limit: runner_only")
        count.run(
            "end to end on the emulator", [*END_TO_END, *THREADS, "--skip", "runner_only::"], environment
        )
        left = itertools.chain(leaks.files(log), leaks.rows(emulator.endpoint))
        sealed(count, "what the emulator left behind", left)
        count.run("policies", pytest("tests/emulator"), environment)


def main() -> int:
    """The command line."""
    # Ends the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    stages = sys.argv[1:] or ["lint", "unit", "providers", "runner", "faults", "emulator"]
    count = Count()
    if "lint" in stages:
        lint(count)
    if "unit" in stages:
        unit(count)
    if "providers" in stages:
        providers(count)
    if {"runner", "faults", "emulator"} & set(stages):
        directory = Path(tempfile.mkdtemp(prefix="tidegate-tests-"))
        count.run("build", ["cargo", "build", "--quiet", "--workspace", "--bins"])
        try:
            if "faults" in stages:
                faults(count)
            with Providers() as stand_ins, Runner(directory, stand_ins) as runner:
                github_examples(count, runner.examples)
                if "runner" in stages:
                    on_runner(count, runner)
                if "emulator" in stages:
                    on_emulator(count, runner, directory)
        except Exception as error:  # noqa: BLE001 - a stage that breaks off has failed
            print(f"{type(error).__name__}: {error}")
            count.add("a stage that broke off", 0, 1, 0)
        if count.failed == 0:
            shutil.rmtree(directory)
        else:
            print(f"The servers' logs are in {directory}")

    print("\n" + "\n".join(f"{seconds:6.0f} s  {name}" for name, seconds in count.seconds))
    print(f"{count.passed} passed, {count.failed} failed")
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())
