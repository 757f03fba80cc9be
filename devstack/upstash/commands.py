"""What differs between a command over Upstash's REST and the same command to a Valkey.

Pure functions: read a command from JSON or from a path, refuse what the real service refuses, translate what
Valkey spells differently, encode an answer.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

Command = list[bytes]

_REFUSED = frozenset(
    b"BLPOP BRPOP BLMOVE BLMPOP BRPOPLPUSH BZPOPMIN BZPOPMAX BZMPOP WAIT "  # they would hold the request
    b"SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE MONITOR "  # and these, all
    b"MULTI EXEC DISCARD WATCH UNWATCH SELECT AUTH HELLO QUIT RESET SHUTDOWN".split()
)
_READS = frozenset((b"XREAD", b"XREADGROUP"))
_SCRIPT_AT = {b"EVAL": 1, b"EVAL_RO": 1, b"SCRIPT": 2}
_KEY_LOCKING = b"allow-key-locking"


class Refusal(Exception):
    """The command is not run; the text is the answer's `error`."""


def from_json(row: Any) -> Command:
    """Return the command that a JSON array spells."""
    if not isinstance(row, list) or not row:
        raise Refusal("ERR failed to parse command request")
    return [_argument(value) for value in row]


def from_path(path: str, query: str, body: bytes | None) -> Command:
    """Return the command of a path like `/set/key?EX=100`: segments, then the body, then the options."""
    segments = [unquote_to_bytes(segment) for segment in path.lstrip("/").split("/")]
    options = [
        part.encode()
        for name, value in parse_qsl(query, keep_blank_values=True)
        for part in (name, value)
        if name != "_token" and part
    ]
    return [*segments, *([body] if body is not None else []), *options]


def for_valkey(command: Command) -> Command:
    """Return what Valkey is to be sent.

    Raises:
        Refusal: the command is not available over REST.
    """
    name = command[0].upper()
    blocks = name in _READS and any(argument.upper() == b"BLOCK" for argument in command)
    if name in _REFUSED or blocks:
        raise Refusal(f"ERR Command is not available: '{name.decode(errors='replace')}'")
    if name == b"DELEX" and len(command) == 4 and command[2].upper() == b"IFEQ":
        return [b"DELIFEQ", command[1], command[3]]
    at = _SCRIPT_AT.get(name)
    if at is not None and len(command) > at:
        return [*command[:at], without_key_locking(command[at]), *command[at + 1 :]]
    return command


def without_key_locking(source: bytes) -> bytes:
    """Take Upstash's own flag out of a script's first line; Valkey refuses to run a script that has it."""
    first, newline, rest = source.partition(b"\n")
    if not first.startswith(b"#!lua") or _KEY_LOCKING not in first:
        return source
    flags = [flag for flag in first.partition(b"flags=")[2].strip().split(b",") if flag != _KEY_LOCKING]
    shebang = b"#!lua flags=" + b",".join(flags) if flags else b""
    return shebang + newline + rest


def encode(reply: Any, *, in_base64: bool) -> Any:
    """Return a reply of Valkey's as JSON takes it; bytes that are no text are replaced, unless in base64."""
    if isinstance(reply, Sequence) and not isinstance(reply, bytes | str):
        return [
            {"error": str(item)} if isinstance(item, Exception) else encode(item, in_base64=in_base64)
            for item in reply
        ]
    if not isinstance(reply, bytes):
        return reply
    if in_base64 and reply != b"OK":
        return base64.b64encode(reply).decode()
    return reply.decode(errors="replace")


def _argument(value: Any) -> bytes:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refusal("ERR failed to parse command request")
    return str(value).encode()
