"""Single functions on the runner's state: under `cargo lambda`, and by `tidegate invoke`.

`events/` holds what API Gateway sends, one file a case, named after the function. The keys and
tokens in them are examples; here they are replaced by real ones.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ministack import free_port

ROOT = Path(__file__).resolve().parents[2]
TIDEGATE = Path(os.environ["TIDEGATE_BINARIES"]) / "tidegate"
URL = os.environ["TIDEGATE_URL"]
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/Cargo.toml"))
EVENTS = sorted(path.stem for path in ROOT.glob("events/*.json"))
WORKSPACE = f"functions-{uuid.uuid4().hex}"

Invoke = Callable[[str, Path], Any]


def output(*command: object) -> str:
    """What a command prints."""
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def function_of(event: str) -> str:
    """The function that an event is for: `keys-revoke` is for `keys`."""
    return max((name for name in FUNCTIONS if f"{event}-".startswith(f"{name}-")), key=len)


@pytest.fixture(scope="module")
def token() -> str:
    """A token of the development issuer."""
    return output(TIDEGATE, "token", "--role", "admin", "--workspace", WORKSPACE).strip()


@pytest.fixture
def key(token: str) -> dict[str, Any]:
    """A key that the server issued."""
    order = {"name": "events", "permissions": ["read_metrics", "write_metrics", "write_webhooks"]}
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    request = urllib.request.Request(
        f"{URL}/api/devops/generate-key", json.dumps(order).encode(), headers, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


@pytest.fixture
def credential(token: str) -> str:
    """The id of a credential that the server holds."""
    order = {"provider": "stripe", "name": "events", "credential": {"api_key": f"sk_test_{uuid.uuid4().hex}"}}
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    request = urllib.request.Request(
        f"{URL}/api/credentials/save", json.dumps(order).encode(), headers, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["id"]


@pytest.fixture
def endpoint(token: str) -> dict[str, str]:
    """The path and the secret of an endpoint."""
    made = {"path": f"events-{uuid.uuid4().hex}", "secret": uuid.uuid4().hex}
    order = {"name": "events", "path": made["path"], "scheme": "github", "secrets": [made["secret"]]}
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    request = urllib.request.Request(
        f"{URL}/api/webhooks/endpoints", json.dumps(order).encode(), headers, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30):
        return made


@pytest.fixture(scope="module")
def cargo_lambda(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Invoke]:
    """`cargo lambda watch` on the server's state, and how to invoke a function there."""
    directory = tmp_path_factory.mktemp("cargo-lambda")
    variables = directory / "env"
    variables.write_text(output(TIDEGATE, "endpoints"))
    port = free_port()
    address = ["--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
    watch = ["cargo", "lambda", "watch", "--ignore-changes", *address, "--env-file", str(variables)]
    log = directory / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with log.open("w") as out:
        process = subprocess.Popen(
            watch, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while not listens(port):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

        def invoke(function: str, event: Path) -> Any:
            try:
                call = ["cargo", "lambda", "invoke", function, *address, "--data-file", event]
                return json.loads(output(*call))
            except AssertionError as error:
                raise AssertionError(f"{error}\n{log.read_text()}") from None

        yield invoke
    finally:
        # The functions are its children.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@pytest.fixture
def runner() -> Invoke:
    """`tidegate invoke` beside the running server."""
    return lambda function, event: json.loads(output(TIDEGATE, "invoke", function, event))


@pytest.fixture(params=["cargo_lambda", "runner"])
def invoke(request: pytest.FixtureRequest) -> Invoke:
    """Both ways."""
    return request.getfixturevalue(request.param)


def listens(port: int) -> bool:
    """Whether something listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def with_real(
    event: str,
    token: str,
    key: dict[str, Any],
    directory: Path,
    credential: str = "none",
    endpoint: dict[str, str] | None = None,
) -> Path:
    """The event with a real token, key, ids, workspace and endpoint."""
    text = (ROOT / "events" / f"{event}.json").read_text()
    document = json.loads(text)
    sent = document.get("headers", {})
    example_key = sent.get("x-api-key", "no key in it")
    for example, real in [
        (sent.get("authorization", "no token in it"), f"Bearer {token}"),
        (example_key, key["api_key"]),
        ("key_EXAMPLEEXAMPLEEXAMPL", key["id"]),
        ("cred_EXAMPLEEXAMPLEEXAMPL", credential),
        ('"acme"', json.dumps(WORKSPACE)),
    ]:
        text = text.replace(example, real)
    path = directory / f"{event}.json"
    path.write_text(json.dumps(signed(event, json.loads(text), endpoint)))
    return path


def signed(event: str, document: dict[str, Any], endpoint: dict[str, str] | None) -> dict[str, Any]:
    """The event, signed as its provider does."""

    def mac(name: str, message: str) -> hmac.HMAC:
        return keyed(os.environ[f"TIDEGATE_{name}"], message)

    def keyed(secret: str, message: str) -> hmac.HMAC:
        return hmac.new(secret.encode(), message.encode(), hashlib.sha256)

    body = document.get("body", "")
    if event == "webhook-stripe":
        now = int(time.time())
        tag = mac("STRIPE_WEBHOOK_SECRET", f"{now}.{body}").hexdigest()
        document["headers"]["stripe-signature"] = f"t={now},v1={tag}"
    elif event == "webhook-github":
        tag = mac("GITHUB_APP_WEBHOOK_SECRET", body).hexdigest()
        document["headers"]["x-hub-signature-256"] = f"sha256={tag}"
    elif event == "webhook-shopify":
        tag = base64.b64encode(mac("SHOPIFY_CLIENT_SECRET", body).digest()).decode()
        document["headers"]["x-shopify-hmac-sha256"] = tag
    elif event == "webhook-receive" and endpoint:
        document["pathParameters"]["proxy"] = endpoint["path"]
        document["headers"]["x-hub-signature-256"] = f"sha256={keyed(endpoint['secret'], body).hexdigest()}"
    elif event == "webhooks-endpoints-create":
        # A path is taken once, and each event is sent in two ways.
        document["body"] = body.replace('"orders"', json.dumps(uuid.uuid4().hex))
    return document


def test_every_function_has_an_event() -> None:
    assert {function_of(event) for event in EVENTS} == set(FUNCTIONS)


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_holds_examples_only(event: str) -> None:
    sent = json.loads((ROOT / "events" / f"{event}.json").read_text()).get("headers", {})
    for name in ("authorization", "x-api-key"):
        assert "EXAMPLE" in sent.get(name, "EXAMPLE")


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_answered(
    event: str,
    invoke: Invoke,
    token: str,
    key: dict[str, Any],
    credential: str,
    endpoint: dict[str, str],
    tmp_path: Path,
) -> None:
    sent = with_real(event, token, key, tmp_path, credential, endpoint)
    answer = invoke(function_of(event), sent)
    if event == "settings-set" and answer["statusCode"] == 409:
        # It was set before, by the other way to invoke: the answer tells the version to go on from.
        version = json.loads(answer["body"])["current"]["version"]
        sent.write_text(sent.read_text().replace(r'\"version\": 0', rf'\"version\": {version}'))
        answer = invoke(function_of(event), sent)
    if event.startswith("authorize-"):
        assert answer["isAuthorized"] is True, answer
        assert answer["context"]["workspace"] == WORKSPACE
    elif event in ("ledger-due", "webhook-sweep"):
        assert answer["more"] is False, answer
    elif event == "webhook-heal":
        assert [source["status"] for source in answer["sources"]] == ["not_configured"] * 2, answer
    elif event == "webhook-process":
        assert answer["batchItemFailures"] == [], answer
    elif event == "secrets-check":
        assert len(answer["secrets"]) == 7, answer
    elif event == "integrations-test":
        assert answer["unmade"] == 0, answer
    elif event == "vault-rewrap":
        assert answer["finished"] is True, answer
    else:
        created = (
            "key-generate",
            "keys-rotate",
            "credentials-save",
            "integrations-create",
            "webhooks-endpoints-create",
        )
        assert answer["statusCode"] == (201 if event in created else 200), answer


def test_an_example_key_is_refused(invoke: Invoke) -> None:
    for event in ("authorize-key", "authorize-user"):
        answer = invoke(event, ROOT / "events" / f"{event}.json")
        assert answer["isAuthorized"] is False, answer


def test_functions_and_server_share_one_state(
    invoke: Invoke, token: str, key: dict[str, Any], tmp_path: Path
) -> None:
    """What `cargo lambda` runs changes, the server sees."""
    invoke("keys", with_real("keys-revoke", token, key, tmp_path))
    headers = {"authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{URL}/api/devops/keys?limit=100", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        [found] = [one for one in json.load(response)["keys"] if one["id"] == key["id"]]
    assert (found["status"], found["revoked_reason"]) == ("revoked", "leaked")
