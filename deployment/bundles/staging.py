"""Staging a function's bundle: `build/<function>/{main.py, shared/, requirements.txt, run.sh}`.

A bundle holds the function's own `main.py`, the parts of `shared/` that the catalogue gives it, and nothing
of another function. Its identity is a digest over (path, mode, sha256) of its files, so that the same sources
give the same digest on every machine; times, compiled files and the order of the disk play no part.

Staging is atomic and quiet: a tree is built aside and moved into place, and one that already stands with the
same digest is left alone, because functions may be running from it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployment.bundles.exclusion import exclusive
from deployment.bundles.locks import joined
from deployment.catalogue import ROOT, FunctionSpec
from deployment.errors import DeployError
from shared.routing import Template, templates_of

BUILD_FOLDER = ROOT / "build"
PROMPTS_FOLDER = "prompts"
"""Where a room has a folder for each template."""
_COMPILED = ("__pycache__", "*.pyc")
_RUN_SH = """\
#!/bin/sh
# Starts the function on the port that the platform names: Lambda Web Adapter's, Cloud Run's, else 8080.
set -eu
cd "${LAMBDA_TASK_ROOT:-$(dirname "$0")}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
# The web server keeps a control socket below HOME, which a cloud's file system does not let it write.
[ -w "${HOME:-/nonexistent}" ] || export HOME=/tmp
# Cloud Run calls from outside; everywhere else the caller sits on the same machine.
host="${HOST:-${K_SERVICE:+0.0.0.0}}"
# Secrets that are only named are fetched first; the same web server then runs, in the same process.
if [ -n "${SLUICE_SECRETS:-}" ]; then start=shared.starting; else start=functions_framework; fi
exec python3 -m "$start" --source main.py --target @TARGET@ \\
  --host "${host:-127.0.0.1}" --port "${AWS_LWA_PORT:-${PORT:-8080}}"
"""


class BuildError(DeployError):
    """A bundle cannot be built."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A staged bundle and its identity."""

    name: str
    folder: Path
    digest: str


def stage(
    specs: Iterable[FunctionSpec], build_folder: Path = BUILD_FOLDER, *, root: Path = ROOT
) -> list[Bundle]:
    """Stage the bundles of `specs` below `build_folder`.

    Args:
        specs: the functions to build.
        build_folder: where the bundles go; several processes may stage into it at once.
        root: the repository to build from.

    Raises:
        BuildError: a function has no source, or the catalogue names a part that does not exist.
    """
    with exclusive(build_folder):
        return [_stage_one(spec, build_folder, root) for spec in specs]


def content_digest(folder: Path) -> str:
    """Return the sha256 over (path, mode, sha256) of each file of a bundle, in the order of the paths."""
    digest = hashlib.sha256()
    for path in _files(folder):
        mode = "755" if path.stat().st_mode & 0o100 else "644"
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{mode}\0{content}\n".encode())
    return digest.hexdigest()


def _stage_one(spec: FunctionSpec, build_folder: Path, root: Path) -> Bundle:
    target = build_folder / spec.name
    with tempfile.TemporaryDirectory(prefix=f".{spec.name}-", dir=build_folder) as aside:
        staged = Path(aside) / "new"
        _assemble(spec, staged, root)
        digest = content_digest(staged)
        if not target.is_dir() or content_digest(target) != digest:
            if target.exists():
                target.rename(Path(aside) / "old")
            staged.rename(target)
    return Bundle(spec.name, target, digest)


def _assemble(spec: FunctionSpec, folder: Path, root: Path) -> None:
    source = root / "functions" / spec.name / "main.py"
    lists = [root / "requirements" / f"{each}.txt" for each in (spec.requirements, *spec.extras)]
    for path in (source, *lists):
        if not path.is_file():
            raise BuildError(f"{spec.name}: {path.relative_to(root)} does not exist")
    folder.mkdir()
    shutil.copyfile(source, folder / "main.py")
    (folder / "requirements.txt").write_text(_requirements(spec, lists), encoding="utf-8", newline="\n")
    run_sh = folder / "run.sh"
    run_sh.write_text(_RUN_SH.replace("@TARGET@", spec.name), encoding="utf-8", newline="\n")
    _copy_shared(spec, root / "shared", folder / "shared")
    for path in _files(folder):
        path.chmod(0o755 if path == run_sh else 0o644)


def _requirements(spec: FunctionSpec, lists: Sequence[Path]) -> str:
    try:
        return joined([each.read_text(encoding="utf-8") for each in lists])
    except ValueError as error:
        raise BuildError(f"{spec.name}: {error}; `make lock` resolves them together") from error


def _copy_shared(spec: FunctionSpec, source: Path, target: Path) -> None:
    missing = [room for room in spec.rooms if not (source / room).is_dir()]
    if missing:
        raise BuildError(f"{spec.name}: shared/ has no {', '.join(missing)}")
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix != ".pyc":
            shutil.copy2(path, target / path.name)
        elif path.is_dir() and path.name in spec.rooms:
            shutil.copytree(path, target / path.name, ignore=_left_out(spec))


def _left_out(spec: FunctionSpec) -> Callable[[str, list[str]], set[str]]:
    """Return what `copytree` ignores: what is compiled, and prompts that the lane never uses.

    A prompt that changes then changes only the lanes that serve its template, and no other is deployed.
    """
    compiled = shutil.ignore_patterns(*_COMPILED)
    used = set(templates_of(spec.lane)) if spec.lane else set()
    foreign = {str(template) for template in Template if template not in used}

    def left_out(folder: str, names: list[str]) -> set[str]:
        others = foreign if Path(folder).name == PROMPTS_FOLDER else set()
        return set(compiled(folder, names)) | (others & set(names))

    return left_out


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    kept = (path for path in found if path.suffix != ".pyc" and "__pycache__" not in path.parts)
    return sorted(kept, key=lambda path: path.relative_to(folder).as_posix())
