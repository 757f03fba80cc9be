"""The dependencies of a bundle: the locked wheels for the target, unpacked, stripped, compiled, deflated.

    requirements.txt ─▶ uv (hashes required, wheels only) ─▶ strip ─▶ compile ─▶ one archive, kept by its key

The five lanes have the same dependencies and take them from the same archive. Its key holds all that went
into it, the tools too, so that one that is there is what another build would make.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uv

from deployment.bundles.archives import Member, deflate, read_archive, write_archive
from deployment.bundles.compiling import compile_folder
from deployment.bundles.components import Component, read_components
from deployment.bundles.staging import BuildError
from deployment.bundles.targets import Interpreter, Target

_FORMAT = "2"
_RECORDS = frozenset({"RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "uv_cache.json"})
_INERT = frozenset({".pth", ".pyi"})  # neither is read outside a site folder
_LONGEST_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a bundle's dependencies are made of and with."""

    requirements: Path
    """The lock: pins with hashes."""
    target: Target
    interpreter: Interpreter | None
    """Compiles; None: no bytecode."""
    uv_version: str

    @property
    def key(self) -> str:
        """Return the identity of all that goes in, hexadecimal."""
        compiler = self.interpreter.version if self.interpreter else "none"
        lock = hashlib.sha256(self.requirements.read_bytes()).hexdigest()
        parts = (_FORMAT, lock, self.target.python, self.target.platform, compiler, self.uv_version)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a bundle gets from others."""

    members: tuple[Member, ...]
    components: tuple[Component, ...]


def gather_dependencies(recipe: Recipe, cache: Path, progress: Callable[[str], None]) -> Dependencies:
    """Return the dependencies of a recipe, from `cache` if they are there unharmed.

    Args:
        recipe: what and for which target.
        cache: a folder that the caller holds alone.
        progress: told what is being done, when it takes long.

    Raises:
        BuildError: a wheel is missing, has another hash, or does not compile.
    """
    archive, facts = (cache / f"{recipe.key[:16]}{suffix}" for suffix in (".zip", ".json"))
    if (kept := _read(archive, facts)) is not None:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    work = cache / ".work"
    shutil.rmtree(work, ignore_errors=True)  # a killed build's
    try:
        made = _make(recipe, work, progress)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _write(made, archive, facts)
    return made


def find_uv() -> tuple[Path, str]:
    """Return uv's program and its version.

    Raises:
        BuildError: it is not there.
    """
    try:
        program = Path(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise BuildError("uv is not installed; `make setup` installs what is locked.") from error
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=60, check=True)
    return program, said.stdout.split()[1]


def _make(recipe: Recipe, work: Path, progress: Callable[[str], None]) -> Dependencies:
    site = work / "site"
    progress(f"installing the dependencies for {recipe.target}")
    _install(recipe, site)
    components = read_components(site, recipe.requirements)
    _strip(site)
    if recipe.interpreter:
        progress(f"compiling {len(components)} packages with Python {recipe.interpreter.version}")
        compile_folder(site, recipe.interpreter)
    members = tuple(deflate(name, path.read_bytes()) for name, path in _files(site))
    return Dependencies(members, tuple(components))


def _install(recipe: Recipe, site: Path) -> None:
    program, _ = find_uv()
    how = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--link-mode", "copy", "--quiet")
    where = ("--python-platform", recipe.target.platform, "--python-version", recipe.target.python)
    command = [
        str(program),
        "pip",
        "install",
        *how,
        *where,
        "--no-python-downloads",
        "--python",
        sys.executable,
    ]
    ran = subprocess.run(
        [*command, "--target", str(site), "--requirements", str(recipe.requirements)],
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    if ran.returncode != 0:
        raise BuildError(f"The dependencies do not install for {recipe.target}:\n{ran.stderr.strip()}")


def _strip(site: Path) -> None:
    """Remove what names the builder's machine, and what no function ever reads."""
    shutil.rmtree(site / "bin", ignore_errors=True)
    for folder in [*site.rglob("__pycache__"), *site.glob("*/**/tests")]:
        shutil.rmtree(folder, ignore_errors=True)
    (site / ".lock").unlink(missing_ok=True)
    for path in [path for path in site.rglob("*") if path.is_file()]:
        if path.suffix in _INERT or (path.parent.suffix == ".dist-info" and path.name in _RECORDS):
            path.unlink()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            yield path.relative_to(folder).as_posix(), path


def _write(made: Dependencies, archive: Path, facts: Path) -> None:
    aside = archive.with_suffix(".new")
    write_archive(made.members, aside)
    document = {
        "sha256": hashlib.sha256(aside.read_bytes()).hexdigest(),
        "files": {member.path: member.sha256 for member in made.members},
        "components": [component.to_json() for component in made.components],
    }
    aside.replace(archive)
    aside = facts.with_suffix(".new")
    aside.write_text(json.dumps(document), encoding="utf-8")
    aside.replace(facts)


def _read(archive: Path, facts: Path) -> Dependencies | None:
    if not (archive.is_file() and facts.is_file()):
        return None
    document = json.loads(facts.read_text(encoding="utf-8"))
    if hashlib.sha256(archive.read_bytes()).hexdigest() != document["sha256"]:
        return None
    components = tuple(Component.from_json(component) for component in document["components"])
    return Dependencies(tuple(read_archive(archive, document["files"])), components)
