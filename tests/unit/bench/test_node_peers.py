"""The peer on Node is measured where it can be, and is never the reason why nothing is."""

import json
from pathlib import Path

import pytest

from bench.node_peers import SOURCES, node_peers


def _program(folder: Path, name: str, text: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def test_without_node_the_peer_is_left_out_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    assert node_peers(said.append, tmp_path / "peer") is None
    assert said == ["BullMQ is left out: there is no node and no npm here"]


def test_a_registry_that_cannot_be_reached_leaves_the_peer_out_with_npms_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path, "node", "exit 0")
    _program(tmp_path, "npm", "echo 'error code ENOTFOUND' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    said: list[str] = []
    assert node_peers(said.append, tmp_path / "peer") is None
    assert said[-1] == "BullMQ is left out: npm error code ENOTFOUND"


def test_what_is_installed_once_is_not_installed_again_but_its_sources_are_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path, "node", "exit 0")
    _program(tmp_path, "npm", f"echo ran >> {tmp_path}/runs")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    folder = tmp_path / "peer"
    assert node_peers(lambda _: None, folder) == folder
    (folder / "worker.mjs").write_text("an older one")
    assert node_peers(lambda _: None, folder) == folder
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert (folder / "worker.mjs").read_text() == (SOURCES / "worker.mjs").read_text()


def test_the_lock_names_versions_and_hashes_and_no_registry() -> None:
    lock = json.loads((SOURCES / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert {"node_modules/bullmq", "node_modules/resumable-stream"} <= packages.keys()
    assert all(entry["version"] and entry["integrity"] for entry in packages.values())
    assert not any("resolved" in entry for entry in packages.values())
