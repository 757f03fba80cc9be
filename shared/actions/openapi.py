"""The contract as a file, `openapi.json`: made by scripts/openapi.py from the models, served as it is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

OPENAPI_FILE = Path(__file__).with_name("openapi.json")


@cache
def openapi_document() -> bytes:
    """Return the OpenAPI document, read once."""
    return OPENAPI_FILE.read_bytes()
