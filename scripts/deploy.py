#!/usr/bin/env python3
"""The release engineer's command: builds the functions' bundles.

    scripts/deploy.py build                      stage every bundle under build/ and print its digest
    scripts/deploy.py build paid_stream actions  only these

Exit status: 0 done, 1 an error, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a file, not as a module: let `scripts` be found
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deployment.bundles.staging import BUILD_FOLDER, BuildError, stage
from deployment.catalogue import CatalogueError, load_catalogue


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _build(options.functions, options.output)
    except (BuildError, CatalogueError) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/deploy.py", description="Build the functions of infra/functions.toml."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    build = commands.add_parser(
        "build",
        help="stage build/<function>/ and print each content digest",
        description="Stage build/<function>/{main.py, shared/, requirements.txt, run.sh} and print each "
        "content digest: sha256 over path, mode and content of its files, the same wherever it is built.",
    )
    build.add_argument("functions", nargs="*", metavar="FUNCTION", help="which to build (default: all)")
    build.add_argument(
        "--output",
        type=Path,
        default=BUILD_FOLDER,
        metavar="FOLDER",
        help="where to put the bundles (default: build)",
    )
    return parser


def _build(names: list[str], output: Path) -> int:
    catalogue = load_catalogue()
    unknown = [name for name in names if name not in catalogue]
    if unknown:
        raise BuildError(f"no such function: {', '.join(unknown)} (there are {', '.join(catalogue)})")
    for bundle in stage([catalogue[name] for name in names or catalogue], output):
        print(f"{bundle.name:<12} sha256:{bundle.digest}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
