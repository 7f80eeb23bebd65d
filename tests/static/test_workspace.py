"""What Cargo does not check of its workspace."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]
MEMBERS = sorted(path for member in WORKSPACE["members"] for path in ROOT.glob(f"{member}/Cargo.toml"))


@pytest.mark.parametrize("path", MEMBERS, ids=[str(path.parent.relative_to(ROOT)) for path in MEMBERS])
def test_a_member_inherits_what_the_workspace_decides(path: Path) -> None:
    member = tomllib.loads(path.read_text())
    assert member["lints"] == {"workspace": True}
    for field in ("version", "edition", "rust-version", "license", "publish"):
        assert member["package"][field] == {"workspace": True}, field
    for kind in ("dependencies", "dev-dependencies", "build-dependencies"):
        for name, dependency in member.get(kind, {}).items():
            # A path names a member, which has no version to agree on.
            assert dependency.get("workspace") or "path" in dependency, f"{kind}: {name}"
