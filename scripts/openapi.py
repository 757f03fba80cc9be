#!/usr/bin/env python3
"""Writes the contract, shared/actions/openapi.json, from the models that validate and the table of calls.

scripts/openapi.py           write it
scripts/openapi.py --check   change nothing; exit status 1 when the file is not what would be written
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a file, not as a module: let `scripts` and `shared` be found
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.contract.composing import document
from shared.actions.openapi import OPENAPI_FILE


def rendered() -> str:
    """Return the document's text: one line for each field, so that a change can be read in a review."""
    return json.dumps(document(), ensure_ascii=False, indent=1) + "\n"


def main(arguments: list[str] | None = None, file: Path = OPENAPI_FILE) -> int:
    """Write or check the document; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/openapi.py", description="Write shared/actions/openapi.json."
    )
    parser.add_argument("--check", action="store_true", help="only tell whether the file is up to date")
    options = parser.parse_args(arguments)
    text = rendered()
    if not options.check:
        file.write_text(text, encoding="utf-8", newline="\n")
        return 0
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return 0
    print(f"openapi: {file.name} is not what the models say; run scripts/openapi.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
