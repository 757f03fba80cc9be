"""The peer that runs on Node: BullMQ with resumable-stream, in `build/bench-node`, where Node and npm are.

`npm ci` takes what package-lock.json names, hashes checked, and runs nobody's install scripts. Without Node,
or with no registry to be reached, the benchmark goes on without this peer and says so.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench.environment import ROOT

FOLDER = ROOT / "build" / "bench-node"
SOURCES = ROOT / "bench" / "peers" / "bullmq"
PACKAGES = ("bullmq", "resumable-stream")
INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
INSTALL_SECONDS = 120


def node_peers(progress: Callable[[str], None], folder: Path = FOLDER) -> Path | None:
    """Return the folder of the peer, ready to run; None, with the reason said, where it cannot be."""
    if missing := [program for program in ("node", "npm") if shutil.which(program) is None]:
        progress(f"BullMQ is left out: there is no {' and no '.join(missing)} here")
        return None
    stamp = folder / "stamp"
    wanted = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    if not (stamp.exists() and stamp.read_text() == wanted):
        progress("peers: installing BullMQ into build/bench-node (once)")
        if failure := _failure_of_install(folder):
            progress(f"BullMQ is left out: npm {failure}")
            return None
        stamp.write_text(wanted)
    return folder


def _failure_of_install(folder: Path) -> str | None:
    try:
        done = subprocess.run(
            INSTALL, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"had not ended after {INSTALL_SECONDS} s"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or ["said nothing"])[0]


def versions_of_node_peers(folder: Path = FOLDER) -> dict[str, str]:
    """Return the versions that are installed; none where nothing is."""
    files = [folder / "node_modules" / name / "package.json" for name in PACKAGES]
    return {file.parent.name: json.loads(file.read_text())["version"] for file in files if file.exists()}
