"""What is started: the seven packages that are deployed, and two hellos on the same libraries."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployment.bundles.importing import placeholders
from deployment.bundles.packaging import package
from deployment.bundles.staging import BUILD_FOLDER
from deployment.bundles.targets import Target
from deployment.catalogue import load_catalogue

HELLO = """import functions_framework

@functions_framework.http
def hello(request):
    return "hello"
"""
HELLO_ASYNC = """import functions_framework.aio
from starlette.responses import Response

@functions_framework.aio.http
async def hello(request):
    return Response("hello")
"""
WSGI, ASGI = "hello (WSGI)", "hello (ASGI)"
BARE = {WSGI: ("paid_stream", HELLO), ASGI: ("events", HELLO_ASYNC)}
"""The least that the Functions Framework can be; whose libraries it takes, and its source."""
PEER = {"events": ASGI}
"""Whom a function is held against, if not WSGI's."""
_TARGET = re.compile(r"--target \w+")
_NOT_SHARED = frozenset({"main.py", "run.sh", "shared", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Startable:
    """A tree with a `run.sh`, and what its process is given."""

    tree: Path
    variables: Mapping[str, str]


def startables(folder: Path, progress: Callable[[str], None]) -> Mapping[str, Startable]:
    """Package all functions for this machine, unless they are there, and make the bare ones in `folder`."""
    catalogue = load_catalogue()
    made = package(catalogue.values(), Target.here(), BUILD_FOLDER, progress=progress)
    trees = {each.function: each.unpack(BUILD_FOLDER / "unpacked") for each in made}
    bare = {
        name: Startable(_bare(folder, name, trees[of], source), {}) for name, (of, source) in BARE.items()
    }
    return bare | {name: Startable(tree, placeholders(catalogue[name])) for name, tree in trees.items()}


def _bare(folder: Path, name: str, tree: Path, source: str) -> Path:
    bare = folder / name.translate(str.maketrans(" ()", "---"))
    bare.mkdir()
    (bare / "main.py").write_text(source)
    (bare / "run.sh").write_text(_TARGET.sub("--target hello", (tree / "run.sh").read_text()))
    for each in tree.iterdir():
        if each.name not in _NOT_SHARED:
            (bare / each.name).symlink_to(each)
    return bare
