"""The command `build`: stages the functions' bundles, and with `--package` makes what is deployed of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from deployment.bundles.budgets import BUDGETS_FILE, Budget, load_budgets
from deployment.bundles.manifests import SHORT_DIGEST
from deployment.bundles.packaging import PACKAGES, Package, package
from deployment.bundles.staging import BUILD_FOLDER, BuildError, stage
from deployment.bundles.targets import DEFAULT_PYTHON, PLATFORMS, Target
from deployment.catalogue import ROOT, FunctionSpec, load_catalogue
from deployment.cli.console import Terminal
from deployment.problems import near

HERE = "here"
"""Stands for this machine's own platform."""
_DESCRIPTION = """\
Stage build/<function>/{main.py, shared/, requirements.txt, run.sh} and print each content digest: sha256 over
path, mode and content of its files, the same wherever it is built.

With --package, install the locked dependencies for the target, compile everything for it, start the result
once, hold it to infra/budgets.toml, and leave build/packages/<function>-<digest>.zip, its manifest and its
bill of materials. The same sources make the same bytes; what has not changed is not made again.
"""


def add_build(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to those that need no environment."""
    build = commands.add_parser(
        "build",
        help="stage the bundles and print their digests; --package: make the zips that are deployed",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_argument("functions", nargs="*", metavar="FUNCTION", help="which to build (default: all)")
    build.add_argument("--package", action="store_true", help="make the zips that are deployed")
    build.add_argument(
        "--python",
        metavar="3.N",
        help=f"the target's Python (default: {DEFAULT_PYTHON}; with --platform {HERE}: the running one)",
    )
    build.add_argument(
        "--platform",
        choices=(*PLATFORMS, HERE),
        default=PLATFORMS[0],
        help=f"the target's platform (default: {PLATFORMS[0]})",
    )
    build.add_argument(
        "--no-bytecode",
        action="store_true",
        help="leave compiling to each cold start: smaller, but every start takes seconds longer",
    )
    build.add_argument(
        "--output",
        type=Path,
        default=BUILD_FOLDER,
        metavar="FOLDER",
        help="where to put the bundles (default: build)",
    )
    build.add_argument("--json", action="store_true", help="one JSON document on standard output")
    build.set_defaults(standalone=run_build)


def run_build(options: argparse.Namespace, terminal: Terminal) -> int:
    """Build, show what was built, and return the exit status."""
    specs = chosen(options.functions)
    if options.package:
        target = target_of(options.python, options.platform)
        made = package(
            specs, target, options.output, bytecode=not options.no_bytecode, progress=terminal.note
        )
        show_packages(made, specs, options.output / PACKAGES, terminal)
        return 0
    bundles = stage(specs, options.output)
    for bundle in bundles:
        terminal.say(f"{bundle.name:<12} sha256:{bundle.digest}")
    if terminal.as_json:
        terminal.answer({bundle.name: {"digest": bundle.digest} for bundle in bundles})
    return 0


def chosen(names: Sequence[str]) -> list[FunctionSpec]:
    """Return the functions of these names, or all.

    Raises:
        BuildError: there is no such function.
    """
    catalogue = load_catalogue()
    for name in names:
        if name not in catalogue:
            raise BuildError(f"There is no function {name}; {near(name, catalogue)}")
    return [catalogue[name] for name in names or catalogue]


def target_of(python: str | None, platform: str) -> Target:
    """Return the target that the arguments name."""
    if platform == HERE:
        return Target.here(python)
    return Target(python or DEFAULT_PYTHON, platform)


def show_packages(
    made: Sequence[Package], specs: Sequence[FunctionSpec], folder: Path, terminal: Terminal
) -> None:
    """Show what was made, each against its budget."""
    budgets = load_budgets(ROOT / BUDGETS_FILE)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("function", "digest", "zip", "unzipped", "modules at start"):
        table.add_column(heading, no_wrap=True)
    for each, spec in zip(made, specs, strict=True):
        table.add_row(*_row(each, budgets[spec.requirements]))
    terminal.say(table)
    terminal.say(f"In {folder}, each with its manifest and its bill of materials.")
    if any(each.manifest.modules_at_start is None for each in made):
        terminal.say("Not started: this machine cannot run the target, so no modules were counted.")
    if terminal.as_json:
        terminal.answer({each.function: _document(each) for each in made})


def _row(made: Package, budget: Budget) -> tuple[str, ...]:
    manifest = made.manifest
    loaded = manifest.modules_at_start
    return (
        made.function,
        made.digest[:SHORT_DIGEST],
        f"{manifest.zip_bytes / 1e6:.1f} of {budget.zip_bytes / 1e6:.0f} MB",
        f"{manifest.unzipped_bytes / 1e6:.1f} of {budget.unzipped_bytes / 1e6:.0f} MB",
        "not started" if loaded is None else f"{len(loaded)} of {budget.modules}",
    )


def _document(made: Package) -> dict[str, str | int]:
    manifest = made.manifest
    return {
        "digest": manifest.digest,
        "zip": str(made.zip_file),
        "zip_sha256": manifest.zip_sha256,
        "code_sha256": manifest.code_sha256,
        "zip_bytes": manifest.zip_bytes,
        "unzipped_bytes": manifest.unzipped_bytes,
        "manifest": str(made.manifest_file),
        "sbom": str(made.sbom_file),
    }
