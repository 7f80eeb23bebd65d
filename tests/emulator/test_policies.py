"""Every grant of every function is needed.

The end-to-end suite shows that the policies suffice: it passes with IAM enforced. Here each
grant, that is one action on one resource of one statement, is taken away on its own, and what
the function does with it must fail; then it is given back, and must work again.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import itertools
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import boto3
import pytest
import template
from ministack import client

ENDPOINT = os.environ["TIDEGATE_EMULATOR"]
URL = os.environ["TIDEGATE_URL"]
IAM = client(ENDPOINT, "iam")
TRANSFORMED = template.transform({})
SAM = template.load()


# What a function does, in a workspace that is new each time. A probe fails by `Failed`.


class Failed(Exception):
    """The function did not do its part."""


class Workspace:
    """A workspace with an admin."""

    def __init__(self) -> None:
        tidegate = Path(os.environ["TIDEGATE_BINARIES"]) / "tidegate"
        self.name = f"probe-{uuid.uuid4().hex}"
        command = [tidegate, "token", "--role", "admin", "--workspace", self.name]
        token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        self._token = token

    def admin(self, method: str, path: str, body: Any = None, expect: int = 200) -> Any:
        """Calls as the admin."""
        return call(method, path, {"authorization": f"Bearer {self._token}"}, body, expect)

    def key(self) -> dict[str, Any]:
        """Issues a key that may do everything."""
        order = {"name": "probe", "permissions": ["read_metrics", "write_metrics", "write_webhooks"]}
        return self.admin("POST", "/api/devops/generate-key", order, expect=201)


def call(method: str, path: str, headers: dict[str, str], body: Any, expect: int) -> Any:
    """Calls the API and insists on a status."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    if status != expect:
        raise Failed(f"{method} {path}: {status} {text!r}")
    return json.loads(text)


def user(number: int, role: str, minute: int) -> dict[str, str]:
    """A user as of a minute."""
    return {
        "id": f"user-{number}",
        "username": "Someone",
        "role": role,
        "status": "active",
        "signed_up_at": "2026-01-01T00:00:00Z",
        "updated_at": f"2026-01-02T00:{minute:02}:00Z",
    }


def with_key(key: dict[str, Any], method: str, path: str, body: Any = None, expect: int = 200) -> Any:
    """Calls as the tool of a key."""
    return call(method, path, {"x-api-key": key["api_key"]}, body, expect)


def authorize_key() -> None:
    """Lets a known key through, and counts one that was revoked."""
    workspace = Workspace()
    with_key(workspace.key(), "GET", "/api/devops/sync/users")
    revoked = workspace.key()
    workspace.admin("DELETE", f"/api/devops/keys/{revoked['id']}", {"reason": "probe"})
    with_key(revoked, "GET", "/api/devops/sync/users", expect=403)
    usage = workspace.admin("GET", f"/api/devops/keys/{revoked['id']}/usage")
    if [day["denials"] for day in usage["days"]] != [{"revoked": 1}]:
        raise Failed(f"not counted: {usage}")


def authorize_user() -> None:
    """Needs no grant."""


def key_generate() -> None:
    """Issues a key."""
    Workspace().key()


def keys() -> None:
    """Lists, rotates twice and revokes a key, and tells its usage."""
    workspace = Workspace()
    key = workspace.key()
    path = f"/api/devops/keys/{key['id']}"
    workspace.admin("POST", f"{path}/rotate", {"grace_hours": 1}, expect=201)
    workspace.admin("POST", f"{path}/rotate", {"grace_hours": 0}, expect=201)
    workspace.admin("GET", "/api/devops/keys")
    workspace.admin("GET", f"{path}/usage")
    workspace.admin("DELETE", path, {"reason": "probe"})


def ingest() -> None:
    """Stores a new user, changes it, tells that nothing changed, and places a late version."""
    key = Workspace().key()
    for role, minute, outcome in [("a", 1, "created"), ("b", 2, "updated"), ("b", 2, "unchanged"), ("c", 0, "stale")]:
        items = {"items": [user(1, role, minute)]}
        results = with_key(key, "PUT", "/api/ingest/users", items)["results"]
        if [result["outcome"] for result in results] != [outcome]:
            raise Failed(f"{outcome}: {results}")


def sync_users() -> None:
    """Reads users and totals, of all and of a window."""
    key = Workspace().key()
    with_key(key, "PUT", "/api/ingest/users", {"items": [user(1, "a", 1), user(2, "b", 1)]})
    for query in ["", "?from=2026-01-01&to=2026-02-01", "?limit=1"]:
        answer = with_key(key, "GET", f"/api/devops/sync/users{query}")
        if answer["total_users"] != 2 or not answer["users"]:
            raise Failed(f"{query}: {answer}")


def stripe_key() -> str:
    """A key that the stand-in for Stripe knows."""
    return f"sk_test_good_{uuid.uuid4().hex}"


def credentials() -> None:
    """Saves, lists, changes, verifies and destroys a credential."""
    workspace = Workspace()
    body = {"provider": "stripe", "name": "probe", "credential": {"api_key": stripe_key()}}
    saved = workspace.admin("POST", "/api/credentials/save", body, expect=201)
    path = f"/api/credentials/{saved['id']}"
    for query in ["", "?provider=stripe"]:
        workspace.admin("GET", f"/api/credentials/list{query}")
    workspace.admin("PUT", path, {"name": "renamed"})
    workspace.admin("PUT", path, {"credential": {"api_key": stripe_key()}})
    verified = workspace.admin("POST", f"{path}/verify")
    if verified["verified"] is not True:
        raise Failed(f"not verified: {verified}")
    workspace.admin("DELETE", path)


def vault_rewrap() -> None:
    """Finds nothing that is old enough, then a data key; the emulator's KMS cannot wrap it anew."""
    if invoke("vault-rewrap", {"wrapped_before": "1970-01-01T00:00:00Z"})["finished"] is not True:
        raise Failed("not finished")
    workspace = Workspace()
    body = {"provider": "stripe", "name": "probe", "credential": {"api_key": stripe_key()}}
    saved = workspace.admin("POST", "/api/credentials/save", body, expect=201)
    # What was wrapped within this very second is left alone.
    time.sleep(1.1)
    try:
        invoke("vault-rewrap", {"wrapped_before": "2100-01-01T00:00:00Z"})
    except Failed as error:
        if "the vault is unavailable" not in str(error):
            raise
    else:
        raise Failed("the emulator knows ReEncrypt by now: let this probe insist on it")
    finally:
        workspace.admin("DELETE", f"/api/credentials/{saved['id']}")


def invoke(function: str, event: Any) -> Any:
    """Invokes a function without the API, as a schedule does."""
    stack = client(ENDPOINT, "cloudformation")
    found = stack.describe_stack_resource(StackName="tidegate", LogicalResourceId=functions()[function])
    name = found["StackResourceDetail"]["PhysicalResourceId"]
    answer = client(ENDPOINT, "lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
    payload = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise Failed(f"{function}: {payload}")
    return payload


def activity() -> None:
    """Lists what was done, to anything, to one thing, and by one person."""
    workspace = Workspace()
    key = workspace.key()
    [entry] = workspace.admin("GET", "/api/activity")["entries"]
    for query in [f"target={key['id']}", f"actor={entry['actor']}"]:
        answer = workspace.admin("GET", f"/api/activity?{query}")
        if answer["entries"] != [entry]:
            raise Failed(f"{query}: {answer}")


def overview() -> None:
    """Tells how operations are."""
    answer = Workspace().admin("GET", "/api/devops/overview")
    if answer["health"] is not None or answer["github"]["events"] != 0:
        raise Failed(f"{answer}")


def integrations() -> None:
    """Makes, changes, tests, restores, lists and deletes an integration with a credential."""
    workspace = Workspace()
    saved = {"provider": "stripe", "name": "probe", "credential": {"api_key": stripe_key()}}
    credential = workspace.admin("POST", "/api/credentials/save", saved, expect=201)["id"]
    order = {"type": "billing", "provider": "stripe", "name": "probe", "environment": "test"}
    order["credential_id"] = credential
    made = workspace.admin("POST", "/api/integrations", order, expect=201)
    path = f"/api/integrations/{made['id']}"
    workspace.admin("PUT", path, {"version": 1, "configuration": {"account_id": "acct_1"}})
    workspace.admin("POST", f"{path}/rollback", {"version": 1})
    tested = workspace.admin("POST", f"{path}/test", {})
    if tested["verified"] is not True:
        raise Failed(f"not verified: {tested}")
    workspace.admin("GET", "/api/integrations")
    workspace.admin("GET", f"{path}/versions")
    workspace.admin("DELETE", path)


def settings() -> None:
    """Sets a service that names a credential, and tells of it."""
    workspace = Workspace()
    body = {"provider": "stripe", "name": "probe", "credential": {"api_key": stripe_key()}}
    saved = workspace.admin("POST", "/api/credentials/save", body, expect=201)
    order = {"enabled": True, "credential_id": saved["id"], "version": 0}
    workspace.admin("PUT", "/api/services/stripe", order)
    read = workspace.admin("GET", "/api/services/stripe")
    listed = workspace.admin("GET", "/api/services")["services"]
    if not read["ready"] or read not in listed:
        raise Failed(f"not as it was set: {read} {listed}")


def secrets_check() -> None:
    """Finds a secret malformed, and then good."""
    secrets = client(ENDPOINT, "secretsmanager")
    # One that no function of the others reads.
    name = "tidegate/SMTP_PASSWORD"
    for value, finding in [("short", "malformed"), (uuid.uuid4().hex, None)]:
        try:
            secrets.create_secret(Name=name, SecretString=value)
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=name, SecretString=value)
        answer = invoke("secrets-check", {})
        if {"name": "SMTP_PASSWORD", "finding": finding} not in answer["changes"]:
            raise Failed(f"not noticed: {answer}")


def integrations_test() -> None:
    """Tests an integration that works and one that does not."""
    workspace = Workspace()
    for word, state in [("good", "working"), ("revoked", "failing")]:
        key = f"sk_test_{word}_{uuid.uuid4().hex}"
        body = {"provider": "stripe", "name": "probe", "credential": {"api_key": key}}
        saved = workspace.admin("POST", "/api/credentials/save", body, expect=201)
        order = {
            "type": "billing",
            "provider": "stripe",
            "name": word,
            "environment": "test",
            "credential_id": saved["id"],
        }
        made = workspace.admin("POST", "/api/integrations", order, expect=201)
        invoke("integrations-test", {})
        read = workspace.admin("GET", f"/api/integrations/{made['id']}")
        if read["health"]["state"] != state:
            raise Failed(f"not tested: {read}")


PAID = {
    "id": "paid",
    "kind": "other",
    "customer": "someone",
    "amount": 1000,
    "currency": "USD",
    "status": "succeeded",
    "occurred_at": "2026-01-02T00:00:00Z",
    "updated_at": "2026-01-02T00:00:00Z",
}
EARNED = {
    "id": "earned",
    "username": "Someone",
    "tier": "gold",
    "amount": 100,
    "currency": "USD",
    "transaction": "paid",
    "occurred_at": "2026-01-02T00:00:00Z",
    "updated_at": "2026-01-02T00:00:00Z",
}


def sync_revenue() -> None:
    """Reads totals and transactions, of all and of a window."""
    key = Workspace().key()
    with_key(key, "PUT", "/api/ingest/transactions", {"items": [PAID]})
    for query in ["", "?from=2026-01-01&to=2026-02-01"]:
        answer = with_key(key, "GET", f"/api/devops/sync/revenue{query}")
        if answer["total_revenue"] != 10 or not answer["recent_transactions"]:
            raise Failed(f"{query}: {answer}")


def sync_commissions() -> None:
    """Reads totals, performers and commissions, of all and of a window."""
    key = Workspace().key()
    with_key(key, "PUT", "/api/ingest/commissions", {"items": [EARNED]})
    for query in ["", "?from=2026-01-01&to=2026-02-01"]:
        answer = with_key(key, "GET", f"/api/devops/sync/commissions{query}")
        if answer["total_commissions"] != 1 or not answer["recent_commissions"]:
            raise Failed(f"{query}: {answer}")
        if [one["username"] for one in answer["top_performers"]] != ["Someone"]:
            raise Failed(f"{query}: {answer}")


def metrics() -> None:
    """Reads all that people may: now, of a window and as of a day."""
    workspace = Workspace()
    key = workspace.key()
    with_key(key, "PUT", "/api/ingest/users", {"items": [user(1, "a", 1)]})
    with_key(key, "PUT", "/api/ingest/transactions", {"items": [PAID]})
    with_key(key, "PUT", "/api/ingest/commissions", {"items": [EARNED]})
    window = "from=2026-01-01&to=2026-02-01"
    for path, member, expected in [
        ("users", "total_users", 1),
        (f"users?{window}", "total_users", 1),
        ("revenue", "total_revenue", 10),
        ("revenue?as_of=2026-01-31", "total_revenue", 10),
        ("commissions", "total_commissions", 1),
        (f"history?metric=revenue&{window}", "metric", "revenue"),
        ("revenue/explain?policy=chartmogul", "lines", []),
    ]:
        answer = workspace.admin("GET", f"/api/metrics/{path}")
        if answer[member] != expected:
            raise Failed(f"{path}: {answer}")
        if path == "commissions" and not answer["top_performers"]:
            raise Failed(f"{path}: {answer}")


def ledger_due() -> None:
    """Counts a trial again that ended, whose customer then pays."""
    key = Workspace().key()
    ends = time.time() + 2
    subscription = {
        "id": "subscription-1",
        "customer": "customer-1",
        "plan": "pro",
        "status": "trialing",
        "currency": "USD",
        "items": [{"unit_amount": 1000, "interval": "month"}],
        "started_at": "2026-01-01T00:00:00Z",
        "trial_ends_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends)),
        "updated_at": "2026-01-01T00:00:00Z",
    }
    with_key(key, "PUT", "/api/ingest/subscriptions", {"items": [subscription]})
    time.sleep(2.1)
    if invoke("ledger-due", {})["recounted"] < 1:
        raise Failed("nothing was due")


def physical(logical: str) -> str:
    """The deployed resource of a logical id."""
    stack = client(ENDPOINT, "cloudformation")
    found = stack.describe_stack_resource(StackName="tidegate", LogicalResourceId=logical)
    return found["StackResourceDetail"]["PhysicalResourceId"]


def start_anew(function: str) -> None:
    """Ends the function's warm environments, which remember secrets for minutes."""
    name = physical(functions()[function])
    variables = client(ENDPOINT, "lambda").get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    variables["STARTED_ANEW"] = uuid.uuid4().hex
    client(ENDPOINT, "lambda").update_function_configuration(
        FunctionName=name, Environment={"Variables": variables}
    )


def deliver(path: str, headers: dict[str, str], body: bytes, expect: int) -> Any:
    """Posts raw bytes and insists on a status."""
    sent = {"content-type": "application/octet-stream", **headers}
    request = urllib.request.Request(URL + path, body, sent, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    if status != expect:
        raise Failed(f"{path}: {status} {text!r}")
    return json.loads(text)


def webhooks_row(pk: str, sk: str) -> dict[str, Any]:
    """A row of the table of webhooks; empty if it is not there."""
    key = {"pk": {"S": pk}, "sk": {"S": sk}}
    read = client(ENDPOINT, "dynamodb").get_item(TableName=physical("WebhooksTable"), Key=key, ConsistentRead=True)
    return read.get("Item", {})


def taken(workspace: str, event: str) -> None:
    """The event is stored, and was worked off: nobody but its message woke the worker up."""
    for _ in range(200):
        status = webhooks_row(f"EVENT#{workspace}#{event}", "EVENT").get("status", {}).get("S")
        if status in ("processed", "dead"):
            return
        time.sleep(0.1)
    raise Failed(f"{event} is {status}")


def provider_webhook(
    function: str, path: str, source: str, sign: Callable[[bytes], dict[str, str]], body: Callable[[str], bytes]
) -> None:
    """Takes in a small and a large delivery and one that came before and failed; counts a refusal."""
    start_anew(function)
    home = os.environ["TIDEGATE_HOME_WORKSPACE"]
    small = body("")
    accepted = deliver(path, sign(small), small, 200)
    taken(home, accepted["id"])
    # Random, so that it does not fit in a row.
    large = body(base64.b64encode(os.urandom(600_000)).decode())
    taken(home, deliver(path, sign(large), large, 200)["id"])
    reopened(home, accepted["id"], lambda: deliver(path, sign(small), small, 200))
    counted(home, source, lambda: deliver(path, {}, small, 401))


def reopened(workspace: str, event: str, again: Callable[[], Any]) -> None:
    """An event that processing failed for is accepted when it comes again."""
    key = {"pk": {"S": f"EVENT#{workspace}#{event}"}, "sk": {"S": "EVENT"}}
    client(ENDPOINT, "dynamodb").update_item(
        TableName=physical("WebhooksTable"),
        Key=key,
        UpdateExpression="SET #status = :dead",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":dead": {"S": "dead"}},
    )
    if (answer := again())["outcome"] != "accepted":
        raise Failed(f"not accepted again: {answer}")


def counted(workspace: str, taker: str, refuse: Callable[[], Any]) -> None:
    """A refusal is counted."""

    def count() -> int:
        hours = [time.strftime("HOUR#%Y-%m-%dT%H", time.gmtime(time.time() - ago)) for ago in (0, 60)]
        rows = [webhooks_row(f"REFUSED#{workspace}#{taker}", hour) for hour in dict.fromkeys(hours)]
        return sum(int(row.get("count_no_signature", {"N": "0"})["N"]) for row in rows)

    before = count()
    refuse()
    if count() <= before:
        raise Failed("the refusal was not counted")


def mac(name: str, message: bytes) -> hmac.HMAC:
    """An HMAC-SHA256 under a platform secret."""
    return hmac.new(os.environ[f"TIDEGATE_{name}"].encode(), message, hashlib.sha256)


def webhook_stripe() -> None:
    """Takes in Stripe's events."""

    def sign(body: bytes) -> dict[str, str]:
        now = int(time.time())
        tag = mac("STRIPE_WEBHOOK_SECRET", f"{now}.".encode() + body).hexdigest()
        return {"stripe-signature": f"t={now},v1={tag}"}

    def body(filling: str) -> bytes:
        event = {"id": f"evt_{uuid.uuid4().hex}", "type": "probe", "created": 1, "data": {"object": {"a": filling}}}
        return json.dumps(event).encode()

    provider_webhook("webhook-stripe", "/v1/billing/webhooks/stripe", "stripe", sign, body)


def webhook_github() -> None:
    """Takes in GitHub's events."""

    def sign(body: bytes) -> dict[str, str]:
        return {
            "x-hub-signature-256": f"sha256={mac('GITHUB_APP_WEBHOOK_SECRET', body).hexdigest()}",
            "x-github-event": "probe",
            "x-github-delivery": hashlib.sha256(body).hexdigest(),
        }

    def body(filling: str) -> bytes:
        return json.dumps({"a": filling, "b": uuid.uuid4().hex}).encode()

    provider_webhook("webhook-github", "/v1/github/webhooks", "github", sign, body)


def webhook_shopify() -> None:
    """Takes in Shopify's events."""

    def sign(body: bytes) -> dict[str, str]:
        return {
            "x-shopify-hmac-sha256": base64.b64encode(mac("SHOPIFY_CLIENT_SECRET", body).digest()).decode(),
            "x-shopify-topic": "probe",
            "x-shopify-webhook-id": hashlib.sha256(body).hexdigest(),
        }

    def body(filling: str) -> bytes:
        return json.dumps({"a": filling, "b": uuid.uuid4().hex}).encode()

    provider_webhook("webhook-shopify", "/v1/shopify/webhooks", "shopify", sign, body)


def webhook_devops() -> None:
    """Takes in a small and a large report and one that came before; counts an unsigned one."""
    start_anew("webhook-devops")
    workspace, path = Workspace(), "/api/devops/webhook"
    key = workspace.key()
    for filling in ["", base64.b64encode(os.urandom(600_000)).decode()]:
        report = {"type": "probe", "id": uuid.uuid4().hex, "data": filling}
        accepted = with_key(key, "POST", path, report)
        taken(workspace.name, accepted["id"])
    reopened(workspace.name, accepted["id"], lambda: with_key(key, "POST", path, report))
    secrets = client(ENDPOINT, "secretsmanager")
    name = "tidegate/DEVOPS_WEBHOOK_SECRET"
    secrets.create_secret(Name=name, SecretString=uuid.uuid4().hex)
    try:
        start_anew("webhook-devops")
        counted(workspace.name, "devops", lambda: with_key(key, "POST", path, {"type": "probe"}, expect=401))
    finally:
        secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        start_anew("webhook-devops")


def webhook_heal() -> None:
    """Fetches what Stripe and GitHub list, one of which is large, and wakes the worker up."""
    key = stripe_key()
    private = subprocess.run(["openssl", "genrsa", "2048"], check=True, capture_output=True, text=True).stdout
    secrets = client(ENDPOINT, "secretsmanager")
    values = {"tidegate/STRIPE_API_KEY": key, "tidegate/GITHUB_APP_PRIVATE_KEY": private}
    for name, value in values.items():
        secrets.create_secret(Name=name, SecretString=value)
    try:
        start_anew("webhook-heal")
        answer = invoke("webhook-heal", {})
        if [source["healed"] for source in answer["sources"]] != [1, 1]:
            raise Failed(f"not healed: {answer}")
        home = os.environ["TIDEGATE_HOME_WORKSPACE"]
        listed = f"evt_{key.rpartition('_')[2]}"
        digest = hashlib.sha256(f"{home}\nstripe\n{listed}".encode()).hexdigest()
        taken(home, f"evt_{digest[:32]}")
    finally:
        for name in values:
            secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def github_signed(secret: str, body: bytes) -> dict[str, str]:
    """What GitHub sends with a delivery."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-hub-signature-256": f"sha256={digest}", "x-github-delivery": hashlib.sha256(body).hexdigest()}


def endpoint(workspace: Workspace, secret: str) -> Any:
    """A new endpoint with one secret."""
    order = {"name": "probe", "scheme": "github", "secrets": [secret]}
    return workspace.admin("POST", "/api/webhooks/endpoints", order, expect=201)


def webhook_receive() -> None:
    """Takes in a small and a large delivery and one that failed, and tells whose secret signed another."""
    workspace = Workspace()
    secret, another = uuid.uuid4().hex, uuid.uuid4().hex
    made = endpoint(workspace, secret)
    endpoint(workspace, another)
    small = json.dumps({"id": uuid.uuid4().hex}).encode()
    accepted = deliver(made["url"], github_signed(secret, small), small, 200)
    taken(workspace.name, accepted["id"])
    large = json.dumps({"id": base64.b64encode(os.urandom(600_000)).decode()}).encode()
    taken(workspace.name, deliver(made["url"], github_signed(secret, large), large, 200)["id"])
    reopened(
        workspace.name, accepted["id"], lambda: deliver(made["url"], github_signed(secret, small), small, 200)
    )
    deliver(made["url"], github_signed(another, small), small, 401)
    told = workspace.admin("GET", f"/api/webhooks/refusals?taker={made['id']}")
    if "another_endpoint" not in json.dumps(told):
        raise Failed(f"not told: {told}")


def webhooks() -> None:
    """Makes, lists, changes, moves, tries and deletes an endpoint, and looks at what it received."""
    workspace = Workspace()
    made = endpoint(workspace, uuid.uuid4().hex)
    path = f"/api/webhooks/endpoints/{made['id']}"
    workspace.admin("GET", "/api/webhooks/endpoints")
    workspace.admin("PATCH", path, {"add_secrets": [uuid.uuid4().hex]})
    workspace.admin("PATCH", path, {"path": uuid.uuid4().hex})
    event = workspace.admin("POST", f"{path}/test")["id"]
    taken(workspace.name, event)
    webhooks_events(workspace, event)
    workspace.admin("DELETE", path)


def webhooks_events(workspace: Workspace, event: str) -> None:
    """Lists, shows and replays an event, one and as one of many, and tells what is missing."""
    if not workspace.admin("GET", "/api/webhooks/events?limit=1")["events"]:
        raise Failed("not listed")
    workspace.admin("GET", f"/api/webhooks/events/{event}")
    workspace.admin("POST", f"/api/webhooks/events/{event}/replay", {})
    taken(workspace.name, event)
    if workspace.admin("POST", "/api/webhooks/replay", {"ids": [event]})["replayed"] != 1:
        raise Failed("not replayed")
    workspace.admin("GET", "/api/webhooks/refusals?taker=stripe")
    workspace.admin("GET", "/api/webhooks/completeness")


def hold(workspace: str, source: str, kind: str, body: bytes, wakes: int | None = None) -> str:
    """Stores an event; one with `wakes` was due a minute ago and woken so often. In pieces if large."""
    now = int(time.time())
    event = f"evt_{uuid.uuid4().hex}"
    pk = f"EVENT#{workspace}#{event}"
    text = {"id": event, "source": source, "type": kind, "provider_id": event, "via": "delivery"}
    text |= {"pk": pk, "sk": "EVENT", "status": "received", "encoding": "raw", "delivery": "probe"}
    text["received_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    numbers = {"size": len(body), "attempts": 0, "revision": 1, "wakes": wakes or 0, "expires_at": now + 86400}
    if wakes is not None:
        text["gsi2pk"] = f"PENDING#{zlib.crc32(event.encode()) % 8}"
        numbers["gsi2sk"] = now - 60
    item: dict[str, Any] = {name: {"S": value} for name, value in text.items()}
    item |= {name: {"N": str(value)} for name, value in numbers.items()}
    item |= {"headers": {"L": []}, "log": {"L": []}}
    dynamodb, table = client(ENDPOINT, "dynamodb"), physical("WebhooksTable")
    if len(body) > 300 * 1024:
        digest = hashlib.sha256(body).digest()[:8].hex()
        item["body_digest"] = {"S": digest}
        for number, start in enumerate(range(0, len(body), 350 * 1024)):
            piece: dict[str, Any] = {"pk": {"S": pk}, "sk": {"S": f"BODY#{digest}#{number:02}"}}
            piece["piece"] = {"B": body[start : start + 350 * 1024]}
            dynamodb.put_item(TableName=table, Item=piece)
    else:
        item["body"] = {"B": body}
    dynamodb.put_item(TableName=table, Item=item)
    return event


def worked_off(workspace: str, source: str, kind: str, body: Any, status: str = "processed") -> dict[str, Any]:
    """Processes an event, and insists on what becomes of it; its row."""
    event = hold(workspace, source, kind, body if isinstance(body, bytes) else json.dumps(body).encode())
    message = {"messageId": "1", "body": json.dumps({"workspace": workspace, "event": event})}
    answer = invoke("webhook-process", {"Records": [message]})
    row = webhooks_row(f"EVENT#{workspace}#{event}", "EVENT")
    if answer["batchItemFailures"] or row["status"]["S"] != status:
        raise Failed(f"{source} {kind}: {answer} {row}")
    return row


def waiting(queue: str, which: str) -> int:
    """How many messages a queue holds that are `Delayed` or, for the empty text, visible."""
    sqs, name = client(ENDPOINT, "sqs"), f"ApproximateNumberOfMessages{which}"
    read = sqs.get_queue_attributes(QueueUrl=physical(queue), AttributeNames=[name])
    return int(read["Attributes"][name])


def webhook_process() -> None:
    """Processes events of each source, one of them late, one large, one unreadable, and one that has to wait."""
    start_anew("webhook-process")
    workspace = f"probe-{uuid.uuid4().hex}"

    def stripe(kind: str, at: int, thing: dict[str, Any]) -> dict[str, Any]:
        return {"id": "evt_1", "type": kind, "created": at, "livemode": False, "data": {"object": thing}}

    charge = {"id": "ch_1", "object": "charge", "amount": 500, "amount_captured": 500, "amount_refunded": 0}
    charge |= {"currency": "usd", "customer": "cus_1", "created": 1767268800, "status": "succeeded", "paid": True}
    charge |= {"captured": True, "payment_intent": "pi_1", "invoice": None, "metadata": {}}
    worked_off(workspace, "stripe", "charge.succeeded", stripe("charge.succeeded", 1767268800, charge))
    price = {"id": "price_1", "nickname": "pro", "currency": "usd", "unit_amount": 1000, "recurring": {"interval": "month"}}
    subscription = {"id": "sub_1", "object": "subscription", "customer": "cus_1", "currency": "usd"}
    subscription |= {"created": 1767268800, "start_date": 1767268800, "items": {"data": [{"price": price, "quantity": 1}]}}
    # The last one comes late.
    for status, at in [("incomplete", 1767268800), ("active", 1767269200), ("trialing", 1767269000)]:
        event = stripe("customer.subscription.updated", at, subscription | {"status": status})
        worked_off(workspace, "stripe", "customer.subscription.updated", event)
    worked_off(workspace, "github", "push", {"ref": "refs/heads/main", "repository": {"full_name": "a/b"}})
    data = {"environment": "production", "version": "1", "status": "success"}
    worked_off(workspace, "devops", "deployment", {"type": "deployment", "data": data})
    worked_off(workspace, "devops", "backup", {"type": "backup", "data": "x" * 400_000})
    order = {"id": 1, "financial_status": "paid", "total_price": "1.00", "currency": "USD", "note": "x" * 400_000}
    row = worked_off(workspace, "shopify", "orders/paid", order | {"created_at": "2026-01-01T12:00:00Z"})
    worked_off(workspace, "shopify", "customers/redact", {"customer": {"id": 2}, "orders_to_redact": [1]})
    if webhooks_row(row["pk"]["S"], f"BODY#{row['body_digest']['S']}#00"):
        raise Failed("not erased")
    dead = waiting("WebhooksDeadQueue", "")
    worked_off(workspace, "stripe", "charge.failed", b"{", status="dead")
    if waiting("WebhooksDeadQueue", "") <= dead:
        raise Failed("nobody is told of it")
    # Who paid it, only Stripe could say, and nobody gave us a key.
    lines = {"data": [{"id": "il_1", "amount": 500, "parent": {"type": "subscription_item_details"}}]}
    parent = {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}}
    invoice = {"id": "in_1", "object": "invoice", "customer": "cus_1", "currency": "usd", "status": "paid"}
    invoice |= {"amount_paid": 500, "total": 500, "created": 1767268800, "lines": lines, "parent": parent}
    # What earlier probes left comes back at any time, and then there are no more than before.
    for _ in range(5):
        delayed = waiting("WebhooksQueue", "Delayed")
        event = stripe("invoice.paid", 1767268800, invoice)
        row = worked_off(workspace, "stripe", "invoice.paid", event, status="failed")
        if "STRIPE_API_KEY" not in str(row["log"]):
            raise Failed(f"it does not say what is missing: {row}")
        if waiting("WebhooksQueue", "Delayed") > delayed:
            return
    raise Failed("nobody wakes it again")


def webhook_sweep() -> None:
    """Wakes an event that was forgotten, and gives one up that ends its workers."""
    workspace = f"probe-{uuid.uuid4().hex}"
    body = json.dumps({"type": "backup"}).encode()
    forgotten = hold(workspace, "devops", "backup", body, wakes=0)
    deadly = hold(workspace, "devops", "backup", body, wakes=5)
    swept = invoke("webhook-sweep", {})
    if swept["woken"] < 1 or swept["dead"] < 1:
        raise Failed(f"not found: {swept}")
    taken(workspace, forgotten)
    row = webhooks_row(f"EVENT#{workspace}#{deadly}", "EVENT")
    if row["status"]["S"] != "dead" or "without a result" not in str(row["log"]):
        raise Failed(f"not given up: {row}")


def health() -> None:
    """Tells of each table."""
    call("GET", "/api/health", {}, None, 200)


def docs() -> None:
    """Needs no grant."""


PROBES: dict[str, Callable[[], None]] = {
    "webhook-process": webhook_process,
    "webhook-sweep": webhook_sweep,
    "integrations-test": integrations_test,
    "secrets-check": secrets_check,
    "settings": settings,
    "activity": activity,
    "overview": overview,
    "integrations": integrations,
    "authorize-key": authorize_key,
    "authorize-user": authorize_user,
    "credentials": credentials,
    "docs": docs,
    "health": health,
    "ingest": ingest,
    "key-generate": key_generate,
    "keys": keys,
    "ledger-due": ledger_due,
    "metrics": metrics,
    "sync-commissions": sync_commissions,
    "sync-revenue": sync_revenue,
    "sync-users": sync_users,
    "vault-rewrap": vault_rewrap,
    "webhook-devops": webhook_devops,
    "webhook-receive": webhook_receive,
    "webhooks": webhooks,
    "webhook-github": webhook_github,
    "webhook-heal": webhook_heal,
    "webhook-shopify": webhook_shopify,
    "webhook-stripe": webhook_stripe,
}


# The grants

#: What follows ReEncrypt, which the emulator's KMS lacks. That it works, the store's tests show on
#: the embedded KMS; that it may do no more, `tests/static`.
NOT_REACHED = {
    ("vault-rewrap", action)
    for action in ("dynamodb:UpdateItem", "kms:ReEncryptFrom", "kms:ReEncryptTo")
}


@dataclass(frozen=True)
class Grant:
    """One action on one resource of one statement of a function's policy."""

    function: str
    policy: int
    statement: int
    action: str
    resource: int

    def name(self, policy: dict[str, Any]) -> str:
        """How the test is called."""
        statement = policy["Statement"][self.statement]
        resources = as_list(statement["Resource"])
        which = f"-{self.resource}" if len(resources) > 1 else ""
        return f"{self.function}-{statement['Sid']}-{self.action.removeprefix('dynamodb:')}{which}"


def as_list(value: Any) -> list[Any]:
    """IAM writes a list of one without brackets."""
    return value if isinstance(value, list) else [value]


def functions() -> dict[str, str]:
    """Logical ids of the functions, by the name of their binary."""
    return {
        template.function_binary(resource): logical
        for logical, resource in SAM["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def policies(function: str) -> list[dict[str, Any]]:
    """The inline policies of a function's role, as the template writes them."""
    role = TRANSFORMED["Resources"][f"{functions()[function]}Role"]["Properties"]
    return [policy["PolicyDocument"] for policy in role.get("Policies", [])]


def grants() -> list[Any]:
    """Every grant of the template whose lack the emulator can show."""
    found = []
    for function in functions():
        for number, policy in enumerate(policies(function)):
            for at, statement in enumerate(policy["Statement"]):
                resources = range(len(as_list(statement["Resource"])))
                for action, resource in itertools.product(as_list(statement["Action"]), resources):
                    if (function, action) in NOT_REACHED:
                        continue
                    grant = Grant(function, number, at, action, resource)
                    found.append(pytest.param(grant, id=grant.name(policy)))
    return found


def without(policy: dict[str, Any], grant: Grant) -> dict[str, Any]:
    """The policy without one grant: its statement is split so that all else stays."""
    policy = copy.deepcopy(policy)
    statement = policy["Statement"].pop(grant.statement)
    actions, resources = as_list(statement["Action"]), as_list(statement["Resource"])
    # The emulator is told of sending messages with an asterisk.
    others = [action for action in actions if action.removesuffix("*") != grant.action]
    elsewhere = [one for number, one in enumerate(resources) if number != grant.resource]
    if others:
        policy["Statement"].append({**statement, "Sid": "Others", "Action": others})
    if elsewhere:
        policy["Statement"].append(
            {**statement, "Sid": "Elsewhere", "Action": [grant.action], "Resource": elsewhere}
        )
    return policy


def role_of(function: str) -> str:
    """The deployed role of a function."""
    stack = client(ENDPOINT, "cloudformation")
    logical = f"{functions()[function]}Role"
    found = stack.describe_stack_resource(StackName="tidegate", LogicalResourceId=logical)
    return found["StackResourceDetail"]["PhysicalResourceId"]


def test_each_function_has_a_probe() -> None:
    assert set(PROBES) == set(functions())


@pytest.mark.parametrize("function", PROBES)
def test_with_its_policy_it_works(function: str) -> None:
    PROBES[function]()


@pytest.mark.parametrize("grant", grants())
def test_without_this_grant_it_fails(grant: Grant) -> None:
    role = role_of(grant.function)
    name = IAM.list_role_policies(RoleName=role)["PolicyNames"][grant.policy]
    whole = IAM.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    if not (mutated := without(whole, grant))["Statement"]:
        mutated["Statement"].append({"Effect": "Deny", "Action": grant.action, "Resource": "*"})
    try:
        put(role, name, mutated)
        with pytest.raises(Failed):
            PROBES[grant.function]()
    finally:
        put(role, name, whole)
    PROBES[grant.function]()


def test_a_key_with_a_typo_is_refused_without_a_read() -> None:
    """Without the right to read, a typo is refused all the same; what could be a key is not."""
    key = Workspace().key()
    text = key["api_key"]
    typo = text[:20] + ("A" if text[20] != "A" else "B") + text[21:]
    role = role_of("authorize-key")
    [name] = IAM.list_role_policies(RoleName=role)["PolicyNames"]
    whole = IAM.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    denied = {"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"}
    try:
        put(role, name, {"Version": "2012-10-17", "Statement": [denied]})
        for sent, status in [(typo, 403), ("junk", 403), (text, 500)]:
            with_key({"api_key": sent}, "GET", "/api/devops/sync/users", expect=status)
    finally:
        put(role, name, whole)
    with_key(key, "GET", "/api/devops/sync/users")


def test_a_call_that_was_not_granted_is_denied() -> None:
    """Otherwise the tests above would show nothing."""
    role = role_of("docs")
    assert IAM.list_role_policies(RoleName=role)["PolicyNames"] == []
    credentials = client(ENDPOINT, "sts").assume_role(
        RoleArn=IAM.get_role(RoleName=role)["Role"]["Arn"], RoleSessionName="probe"
    )["Credentials"]
    stranger = boto3.client(
        "dynamodb",
        endpoint_url=ENDPOINT,
        region_name=template.REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )
    table = client(ENDPOINT, "dynamodb").list_tables()["TableNames"][0]
    with pytest.raises(stranger.exceptions.ClientError, match="AccessDenied"):
        stranger.get_item(TableName=table, Key={"pk": {"S": "x"}, "sk": {"S": "x"}})


def put(role: str, name: str, policy: dict[str, Any]) -> None:
    """Replaces an inline policy."""
    IAM.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))
