"""Drives the API by what its OpenAPI document says, with every check schemathesis has but
the one that `schemathesis.toml` gives a reason against.

It runs in a workspace of its own, on the server that `TIDEGATE_URL` names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
URL = os.environ["TIDEGATE_URL"]
EXAMPLES = "100"


def main() -> int:
    """The command line."""
    tidegate = Path(os.environ["TIDEGATE_BINARIES"]) / "tidegate"
    command = [tidegate, "token", "--role", "admin", "--workspace", f"fuzz-{uuid.uuid4().hex}"]
    token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    # The limits themselves are the end-to-end suite's matter.
    order = {
        "name": "fuzz",
        "permissions": ["read_metrics", "write_metrics", "write_webhooks"],
        "rate_limit": 1_000_000,
        "sync_rate_limit": 1_000_000,
    }
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    data = json.dumps(order).encode()
    request = urllib.request.Request(f"{URL}/api/devops/generate-key", data, headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        key = json.load(response)["api_key"]

    fuzz = [
        Path(sys.executable).with_name("schemathesis"),
        *("--config-file", ROOT / "tests" / "schemathesis.toml"),
        *("run", f"{URL}/api/openapi.json", "--max-examples", EXAMPLES),
        # The same requests each time, so that a finding is one of the change under test.
        *("--seed", "1", "--generation-deterministic", "--no-color"),
    ]
    environment = {**os.environ, "TIDEGATE_TOKEN": token, "TIDEGATE_KEY": key}
    # It leaves notes where it runs.
    with tempfile.TemporaryDirectory() as directory:
        return subprocess.run(fuzz, cwd=directory, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
