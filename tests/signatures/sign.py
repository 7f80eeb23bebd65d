"""Deliveries that the providers' own libraries sign, each with a fresh secret.

    sign.py        one a line: maker, scheme, secret, url, headers, body in base64
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sendgrid.helpers.eventwebhook import EventWebhook
from standardwebhooks.webhooks import Webhook
from twilio.request_validator import HMAC_SHA1, HMAC_SHA256, RequestValidator

URL = "https://hooks.example.com/webhooks/receive/signed"
FORMS = [
    {"MessageSid": "SM1", "MessageStatus": "delivered"},
    {"From": "+14158675309", "Body": "Zoë & co: 100% = 1+1 🦀", "Empty": ""},
    {"b": "2", "B": "3", "a": "x" * 5000},
]
BODIES = [
    "{}",
    '[{"email":"someone@example.com","event":"delivered","sg_event_id":"1"}]\r\n',
    json.dumps({"name": "Zoë 🦀", "list": [1, 2.5, None]}, ensure_ascii=False, indent=2),
]


def tell(maker: str, scheme: dict[str, Any], secret: str, url: str, headers: dict[str, str], body: str) -> None:
    """Prints a delivery."""
    encoded = base64.b64encode(body.encode()).decode()
    delivery = {"maker": maker, "scheme": scheme, "secret": secret, "url": url, "headers": headers, "body": encoded}
    print(json.dumps(delivery))


def twilio() -> None:
    """Forms, and JSON whose hash is in the URL; each to a URL with a port and without."""
    for algorithm, word in [(HMAC_SHA1, "sha1"), (HMAC_SHA256, "sha256")]:
        scheme = {"scheme": "twilio", "algorithm": word}
        settings = {"x-twilio-webhooks-signature-settings": f"key=1,algorithm={algorithm}"}
        for signed_url in [f"{URL}?a=b%20c", f"{URL.replace('.com', '.com:443')}?a=b%20c"]:
            for form in FORMS:
                secret = secrets.token_hex(16)
                validator = RequestValidator(secret)
                signature = validator.compute_signature(signed_url, form, algorithm)
                assert validator.validate(f"{URL}?a=b%20c", form, signature, algorithm)
                headers = {"x-twilio-signature": signature, **settings}
                tell(f"PyPI twilio, {word}", scheme, secret, f"{URL}?a=b%20c", headers, urlencode(form))
        for body in BODIES:
            secret = secrets.token_hex(16)
            validator = RequestValidator(secret)
            url = f"{URL}?bodySHA256={hashlib.sha256(body.encode()).hexdigest()}"
            signature = validator.compute_signature(url, {}, algorithm)
            assert validator.validate(url, body, signature, algorithm)
            headers = {"x-twilio-signature": signature, "content-type": "application/json", **settings}
            tell(f"PyPI twilio, JSON, {word}", scheme, secret, url, headers, body)


def sendgrid() -> None:
    """Its library only verifies: it has to take what is signed here."""
    for body in BODIES:
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = base64.b64encode(key.public_key().public_bytes(serialization.Encoding.DER, form)).decode()
        timestamp = str(int(time.time()))
        signed = key.sign((timestamp + body).encode(), ec.ECDSA(hashes.SHA256()))
        signature = base64.b64encode(signed).decode()
        assert EventWebhook(public).verify_signature(body, signature, timestamp)
        headers = {
            "x-twilio-email-event-webhook-signature": signature,
            "x-twilio-email-event-webhook-timestamp": timestamp,
        }
        tell("PyPI sendgrid", {"scheme": "sendgrid"}, public, URL, headers, body)


def standard() -> None:
    """Standard Webhooks."""
    for body in BODIES:
        secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        ident, now = f"msg_{secrets.token_hex(8)}", datetime.now(tz=timezone.utc)
        headers = {
            "webhook-id": ident,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(ident, now, body),
        }
        Webhook(secret).verify(body, headers)
        tell("PyPI standardwebhooks", {"scheme": "standard-webhooks"}, secret, URL, headers, body)


if __name__ == "__main__":
    twilio()
    sendgrid()
    standard()
