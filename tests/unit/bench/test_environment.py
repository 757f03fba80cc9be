"""The peers' environment: a comparison compares pipelines only when what they share is the same."""

from __future__ import annotations

import re

from bench.environment import REQUIREMENTS, ROOT, versions_of_peers

PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==([^\s;]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / "requirements" / name).read_text(encoding="utf-8")))


def test_what_peers_share_with_sluice_is_of_the_same_version() -> None:
    ours, theirs = pins("dev.txt"), pins("bench.txt")
    shared = ours.keys() & theirs.keys()
    assert {"langchain-core", "langchain-openai", "openai", "redis", "hiredis", "uvicorn", "uvloop"} <= shared
    assert {name: theirs[name] for name in shared} == {name: ours[name] for name in shared}


def test_peers_are_installed_by_their_hashes_and_from_no_named_index() -> None:
    text = REQUIREMENTS.read_text(encoding="utf-8")
    assert text.count("--hash=sha256:") >= len(pins("bench.txt"))
    assert "://" not in text


def test_versions_of_peers_are_those_that_are_locked() -> None:
    assert versions_of_peers(("celery", "no-such-peer")) == {"celery": pins("bench.txt")["celery"]}
