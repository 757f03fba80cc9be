"""The world around a development environment: Valkey, QStash and the models, as stand-ins of this machine.

What the local provider (`deployment.providers.local`) finds by this module's name in
`infra/environments/dev.toml`. Ports, the token and the secrets are made once and kept in the environment's
folder, so that addresses and keys are the same after a restart; Valkey keeps its data there, QStash the
signing keys that a rotation gave it. Messages that were on their way at QStash end with the process: the
sweep finds their tasks.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deployment.bundles.exclusion import exclusive
from deployment.providers.local.outside import Declared
from deployment.providers.local.private_files import make_private, write_private
from deployment.providers.local.processes import free_ports
from devstack.llm import LlmStandIn
from devstack.qstash import QStashStandIn
from devstack.valkey import EmbeddedValkey
from shared.routing import Provider
from shared.settings import SigningKeys

FIRST_TOKEN_MS = 200.0
TOKENS_PER_SECOND = 50.0
ANY_ORIGIN = "*"


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is made once."""

    valkey_port: int
    qstash_port: int
    llm_port: int
    qstash_token: str = field(repr=False)
    current_key: str = field(repr=False)
    next_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    stream_token_secret: str = field(repr=False)


def declare(folder: Path) -> Declared:
    """Return what the functions have to know of the services; made when there is nothing yet."""
    kept = _kept(folder)
    models = f"http://127.0.0.1:{kept.llm_port}/v1"
    return Declared(
        variables={
            "QSTASH_URL": f"http://127.0.0.1:{kept.qstash_port}",
            **{f"{provider.upper()}_BASE_URL": models for provider in Provider},
            "BLOB_URL": f"file://{_blobs(folder).resolve()}",
            "ALLOWED_ORIGINS": ANY_ORIGIN,
        },
        secrets={
            "REDIS_URL": f"redis://127.0.0.1:{kept.valkey_port}/0",
            "QSTASH_TOKEN": kept.qstash_token,
            "QSTASH_CURRENT_SIGNING_KEY": kept.current_key,
            "QSTASH_NEXT_SIGNING_KEY": kept.next_key,
        },
        suggested={
            **{f"{provider.upper()}_API_KEY": f"dev-{provider}-key" for provider in Provider},
            "AUTH_JWT_SECRET": kept.jwt_secret,
            "STREAM_TOKEN_SECRET": kept.stream_token_secret,
        },
    )


@contextmanager
def run(folder: Path, started: Callable[[int], None]) -> Iterator[None]:
    """Run the services while the context is open; `started` is told each process that is started."""
    kept = _kept(folder)
    make_private(_blobs(folder))
    valkey = EmbeddedValkey(kept.valkey_port, persistent=True, folder=make_private(folder / "valkey"))
    llm = LlmStandIn(kept.llm_port, first_token_ms=FIRST_TOKEN_MS, tokens_per_second=TOKENS_PER_SECOND)
    qstash = QStashStandIn(
        port=kept.qstash_port,
        token=kept.qstash_token,
        signing_keys=SigningKeys(kept.current_key, kept.next_key),
        rotated=lambda keys: _keep_keys(folder, keys),
    )
    with valkey, llm, qstash:
        started(valkey.pid)
        yield


def _kept(folder: Path) -> _Kept:
    make_private(folder)
    with exclusive(folder):
        try:
            return _Kept(**json.loads(_file(folder).read_bytes()))
        except FileNotFoundError:
            kept = _new()
            _write(folder, kept)
            return kept


def _new() -> _Kept:
    valkey_port, qstash_port, llm_port = free_ports(3)
    return _Kept(
        valkey_port,
        qstash_port,
        llm_port,
        qstash_token=secrets.token_urlsafe(32),
        current_key=f"sig_{secrets.token_urlsafe(24)}",
        next_key=f"sig_{secrets.token_urlsafe(24)}",
        jwt_secret=secrets.token_urlsafe(32),
        stream_token_secret=secrets.token_urlsafe(32),
    )


def _keep_keys(folder: Path, keys: SigningKeys) -> None:
    kept = asdict(_kept(folder)) | {"current_key": keys.current, "next_key": keys.next}
    _write(folder, _Kept(**kept))


def _write(folder: Path, kept: _Kept) -> None:
    write_private(_file(folder), json.dumps(asdict(kept), indent=1).encode())


def _file(folder: Path) -> Path:
    return folder / "services.json"


def _blobs(folder: Path) -> Path:
    return folder / "blobs"
