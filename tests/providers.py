"""Stands in for the providers that the end-to-end suite verifies credentials with, and for their
lists of what they sent.

It keeps no state: the words in a credential say what it shall be answered, so that tests on both
engines can use one server at the same time.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Status, headers and body by a word in the key, in Stripe's shapes.
STRIPE: dict[str, tuple[int, dict[str, str], Any]] = {
    "_good_": (200, {}, {"id": "acct_1", "object": "account", "business_profile": {"name": "Stand-in"}}),
    "_revoked_": (401, {}, {"error": {"type": "invalid_request_error", "message": "Invalid API Key"}}),
    "_unscoped_": (403, {}, {"error": {"type": "invalid_request_error", "message": "Not permitted"}}),
    "_throttled_": (429, {"Retry-After": "7"}, {"error": {"message": "Too many requests"}}),
    "_broken_": (500, {}, {"error": {"type": "api_error", "message": "Something went wrong"}}),
}


def event_of(key: str) -> str:
    """The id of the one event that the account of this key ever had."""
    return f"evt_{key.rpartition('_')[2]}"


def events(key: str) -> Any:
    """That event: of twenty minutes ago, and too large for one row."""
    event = {
        "id": event_of(key),
        "object": "event",
        "type": "probe",
        "created": int(time.time()) - 1200,
        "data": {"object": {"filling": base64.b64encode(os.urandom(600_000)).decode()}},
    }
    return {"object": "list", "data": [event], "has_more": False}


def deliveries(path: str) -> Any:
    """GitHub's list, of which each is another event, or one of them."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1200))
    number = path.rpartition("/")[2].partition("?")[0]
    if number == "deliveries":
        number = str(time.time_ns())
        return [{"id": int(number), "guid": number, "event": "probe", "delivered_at": at}]
    return {"id": int(number), "guid": number, "request": {"headers": {"X-GitHub-Event": "probe"}, "payload": {}}}


class Provider(BaseHTTPRequestHandler):
    """Stripe's `/v1/account` and the like, and GitHub's `/app/hook/deliveries`."""

    def do_GET(self) -> None:  # noqa: N802 - the name is the base class's
        """Answers by the word in the key."""
        key = self.headers.get("authorization", "")
        unknown = (401, {}, {"error": {"message": "You did not provide an API key"}})
        found = (answer for word, answer in STRIPE.items() if word in key)
        status, headers, body = next(found, unknown)
        if self.path.startswith("/v1/events") and status == 200:
            body = events(key)
        elif self.path.startswith("/app/hook/deliveries"):
            status, headers, body = 200, {}, deliveries(self.path)
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "content-type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing: the log would hold nothing that a failing test does not tell."""


class Providers:
    """The stand-ins, while the block runs."""

    def __enter__(self) -> Providers:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def endpoints(self) -> str:
        """For the template's parameter `ProviderEndpoints`."""
        url = f"http://127.0.0.1:{self.server.server_port}"
        return f"stripe={url},github={url}"
