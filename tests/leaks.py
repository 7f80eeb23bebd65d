"""Looks for the secrets of the end-to-end suite in all that the servers left behind.

Every credential and every endpoint's secret of the suite holds the same marker. That and the
platform secrets must be in no file of the runner's state, in no row of the emulator's tables and in
no log: neither as they are nor in base64 or hexadecimal digits.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any, Iterable, Iterator

from ministack import client

ROOT = Path(__file__).resolve().parents[1]
#: Beside the marker, the name of a credential, which is no secret: where it is not found, nobody
#: looked at what the credentials left behind.
CONTROL = b"Payments"


def marker() -> bytes:
    """What the tests put into each credential."""
    [found] = re.findall(r'pub const SEALED: &str = "(\w+)"', (ROOT / "tests/src/lib.rs").read_text())
    return found.encode()


def spellings(text: bytes) -> list[bytes]:
    """The text, and what of its base64 does not depend on what stands around it."""
    shifted = (base64.b64encode(b"x" * shift + text)[4:-4] for shift in range(3))
    return [text, text.hex().encode(), *shifted]


def files(*paths: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, with what is in it."""
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                yield str(file), file.read_bytes()


def rows(endpoint: str) -> Iterator[tuple[str, bytes]]:
    """Every row of every table of an emulator."""
    dynamodb = client(endpoint, "dynamodb")
    for table in dynamodb.list_tables()["TableNames"]:
        for page in dynamodb.get_paginator("scan").paginate(TableName=table):
            for row in page["Items"]:
                yield f"table {table}", b" ".join(leaves(row))


def leaves(value: Any) -> Iterator[bytes]:
    """All text and bytes in a row."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, str):
        yield value.encode()
    elif isinstance(value, dict):
        for key, member in value.items():
            yield key.encode()
            yield from leaves(member)
    elif isinstance(value, (list, set)):
        for member in value:
            yield from leaves(member)


def check(places: Iterator[tuple[str, bytes]], secrets: Iterable[str]) -> list[str]:
    """What is wrong; nothing, if the marker and the secrets are nowhere and the control was seen."""
    wrong, seen = [], False
    hidden = [spelling for text in (marker(), *map(str.encode, secrets)) for spelling in spellings(text)]
    for place, content in places:
        seen |= CONTROL in content
        if any(spelling in content for spelling in hidden):
            wrong.append(f"a secret can be read in {place}")
    return wrong if seen else [*wrong, "nothing that the credentials left behind was looked at"]
