"""Secrets by reference: which of its variables a function fetches at its start, and from where.

On AWS a function's configuration holds no secret, because whoever may read the configuration could read it.
It holds `SLUICE_SECRETS`, which names a secret and one version of it for each variable; the role that the
function runs as may read exactly those. `shared.starting` fetches them before anything else runs.

    {"GLM_API_KEY": {"id": "arn:aws:secretsmanager:…:secret:sluice/prod/GLM_API_KEY-a1B2c3", "version": "…"}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from shared.sigv4 import Credentials
from shared.variables import Variables

VARIABLE = "SLUICE_SECRETS"
SECRET_VARIABLES = frozenset(
    {
        "REDIS_URL",
        "UPSTASH_REDIS_REST_URL",
        "UPSTASH_REDIS_REST_TOKEN",
        "QSTASH_CURRENT_SIGNING_KEY",
        "QSTASH_NEXT_SIGNING_KEY",
        "QSTASH_TOKEN",
        "DEEPSEEK_API_KEY",
        "GLM_API_KEY",
        "AUTH_JWT_SECRET",
        "AUTH_JWT_SECRET_SECOND",
        "STREAM_TOKEN_SECRET",
        "STREAM_TOKEN_SECRET_SECOND",
        "OPS_TOKEN",
        "OTEL_EXPORTER_OTLP_HEADERS",
    }
)
"""All that may be fetched: whoever writes the references must not get at `PATH` or `PYTHONPATH` by them."""
_REGION = re.compile(r"[a-z]{2,8}(-[a-z]+)+-[0-9]{1,2}")
_DOMAINS = {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}
"""By the first part of a region's name; all others share one."""
_ID = re.compile(r"[A-Za-z0-9/_+=.@:-]{1,2048}")
_LOOPBACK = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")


@dataclass(frozen=True, slots=True)
class Reference:
    """One version of one secret."""

    id: str
    """Its ARN, or its name."""
    version: str
    """The version's id."""


@dataclass(frozen=True, slots=True)
class References:
    """What to fetch, from where, and as whom."""

    by_variable: Mapping[str, Reference]
    """Under which variable the function looks for which secret."""
    endpoint_url: str
    """Where AWS Secrets Manager answers; no trailing slash."""
    region: str
    """The region that it answers for."""
    credentials: Credentials
    """The role's, which Lambda puts into the environment."""


def read_references(v: Variables) -> References | None:
    """Read what is to be fetched; None when there are no references. Problems are left in `v`."""
    if v.optional(VARIABLE) is None:
        return None
    region = _region(v)
    return References(
        by_variable=MappingProxyType(_by_variable(v)),
        endpoint_url=_endpoint_url(v, region),
        region=region,
        credentials=_credentials(v),
    )


def _by_variable(v: Variables) -> dict[str, Reference]:
    try:
        document = json.loads(v.text(VARIABLE))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        v.problems.append(
            f'{VARIABLE} must be a JSON object like {{"GLM_API_KEY": {{"id": …, "version": …}}}}'
        )
        return {}
    for name in document.keys() - SECRET_VARIABLES:
        v.problems.append(f"{VARIABLE} names {name[:64]!r}, which is no secret of any function")
    known = {name: _reference(entry) for name, entry in document.items() if name in SECRET_VARIABLES}
    v.problems += [f"{VARIABLE}: {name} must have an id and a version" for name in known if not known[name]]
    return {name: reference for name, reference in known.items() if reference}


def _reference(entry: Any) -> Reference | None:
    if not isinstance(entry, dict) or entry.keys() != {"id", "version"}:
        return None
    if not all(isinstance(value, str) and _ID.fullmatch(value) for value in entry.values()):
        return None
    return Reference(**entry)


def _credentials(v: Variables) -> Credentials:
    secret_access_key, session_token = v.secret("AWS_SECRET_ACCESS_KEY"), v.optional("AWS_SESSION_TOKEN")
    access_key_id = v.text("AWS_ACCESS_KEY_ID")
    for name, value in (("AWS_ACCESS_KEY_ID", access_key_id), ("AWS_SESSION_TOKEN", session_token or "")):
        if not (value.isascii() and value.isprintable() and " " not in value):
            # http.client would refuse it as a header, in an error that quotes it.
            v.problems.append(f"{name} must be printable ASCII without blanks")
    return Credentials(access_key_id, secret_access_key, session_token)


def _region(v: Variables) -> str:
    region = v.text("AWS_REGION", v.optional("AWS_DEFAULT_REGION"))
    if region and not _REGION.fullmatch(region):
        v.problems.append(f"AWS_REGION must be a region like eu-central-1, not {region!r}")
    return region


def _endpoint_url(v: Variables, region: str) -> str:
    """Return the region's own address, unless the environment names another: an emulator's, or a VPC's."""
    for name in ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"):
        if v.optional(name):
            return _other_endpoint_url(v, name)
    return f"https://secretsmanager.{region}.{_DOMAINS.get(region.partition('-')[0], 'amazonaws.com')}"


def _other_endpoint_url(v: Variables, name: str) -> str:
    url = v.base_url(name)
    if not url.startswith(("https://", *_LOOPBACK)):
        v.problems.append(f"{name} must be https:// unless it is this very machine: secrets travel there")
    if "/" in url.partition("://")[2]:
        v.problems.append(f"{name} must have no path")
    return url
