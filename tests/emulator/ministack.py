"""A private AWS emulator with IAM enforced, and clients for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from template import REGION


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def client(endpoint: str, service: str):
    """A client with the emulator's root credentials."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


class Emulator:
    """Runs from `with` to its end; keeps nothing."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._state = tempfile.TemporaryDirectory(prefix="tidegate-emulator-")
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Emulator:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "MINISTACK_REGION": REGION,
            "STATE_DIR": self._state.name,
            "TMPDIR": self._state.name,
            # Both would listen on a public port.
            "IOT_MTLS_ENABLED": "false",
            "SFTP_ENABLED": "false",
            "AUTH": "true",
        }
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("ministack")],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=1).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the emulator did not start, see {self.log}") from None
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._state.cleanup()
