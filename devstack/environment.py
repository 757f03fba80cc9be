"""What each function of the dev stack finds in its environment: what the catalogue gives it, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployment.catalogue import FunctionSpec
from deployment.providers.local.processes import plain_environment
from shared.config import ConcurrencyConfig, SigningKeys, get_concurrency_config
from shared.routing import Lane, Provider, models_of

WITHOUT_FOLDER = Path(__file__).with_name("without")
"""Hides what the function's own list does not install."""
SPARE_THREADS = 6
"""Threads of a lane above its slots: a delivery that finds no slot is refused at once, not kept waiting."""


@dataclass(frozen=True, slots=True)
class Rest:
    """How to reach Redis by Upstash's REST protocol."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where everything listens in one run of the stack, and its secrets."""

    redis_url: str
    rest: Rest | None
    qstash_url: str
    qstash_token: str = field(repr=False)
    signing_keys: SigningKeys
    llm_base_url: str
    ports: Mapping[str, int]
    blob_folder: Path
    jwt_secret: str = field(repr=False)
    stream_token_secret: str = field(repr=False)
    ops_token: str = field(repr=False)
    allowed_origins: Sequence[str]
    provider_environment: Mapping[str, str] = field(repr=False)
    overrides: Mapping[str, str]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"


def environment_of(spec: FunctionSpec, wiring: Wiring, home: Path) -> dict[str, str]:
    """Return all that a function's process gets: its variables, and what any process needs to run.

    Args:
        spec: the function.
        wiring: what there is to know in this run.
        home: a folder of the function's own: the web server keeps a control socket in its home.
    """
    everything = _everything(wiring)
    given = {name: value for name, value in everything.items() if name in spec.environment_names}
    if "UPSTASH_REDIS_REST_URL" in given:
        del given["REDIS_URL"]  # exactly one of the two ways is configured
    if "ROUTE_URL" in spec.environment_names:
        given["ROUTE_URL"] = wiring.url(spec.name)
    sends = any(name.startswith("OTEL_EXPORTER_OTLP_") for name in given)
    hidden = {} if sends else {"PYTHONPATH": str(WITHOUT_FOLDER)}
    return given | plain_environment(home, _threads(spec, get_concurrency_config(wiring.overrides))) | hidden


def _everything(wiring: Wiring) -> dict[str, str]:
    rest = wiring.rest
    return {
        "SLUICE_ENV": "dev",
        "REDIS_URL": wiring.redis_url,
        **({"UPSTASH_REDIS_REST_URL": rest.url, "UPSTASH_REDIS_REST_TOKEN": rest.token} if rest else {}),
        "QSTASH_URL": wiring.qstash_url,
        "QSTASH_TOKEN": wiring.qstash_token,
        "QSTASH_CURRENT_SIGNING_KEY": wiring.signing_keys.current,
        "QSTASH_NEXT_SIGNING_KEY": wiring.signing_keys.next,
        **{f"{name.upper()}_URL": wiring.url(name) for name in wiring.ports},
        **_provider_variables(wiring),
        "AUTH_JWT_SECRET": wiring.jwt_secret,
        "STREAM_TOKEN_SECRET": wiring.stream_token_secret,
        "OPS_TOKEN": wiring.ops_token,
        "ALLOWED_ORIGINS": ",".join(wiring.allowed_origins),
        "BLOB_URL": f"file://{wiring.blob_folder}",
        **wiring.overrides,
    }


def _provider_variables(wiring: Wiring) -> dict[str, str]:
    """Return each provider's key and address: the caller's own where it has a key, else the stand-in's."""
    variables: dict[str, str] = {}
    for provider in Provider:
        key, base_url = f"{provider.upper()}_API_KEY", f"{provider.upper()}_BASE_URL"
        if own := wiring.provider_environment.get(key):
            variables[key] = own
            if address := wiring.provider_environment.get(base_url):
                variables[base_url] = address
        else:
            variables |= {key: f"dev-{provider}-key", base_url: wiring.llm_base_url}
    return variables


def _threads(spec: FunctionSpec, limits: ConcurrencyConfig) -> int:
    if spec.name not in set(Lane):
        return spec.concurrency
    lane = Lane(spec.name)
    slots = sum(limits.slots(model, lane.tier) for model in models_of(lane))
    return max(spec.concurrency, slots + SPARE_THREADS)
