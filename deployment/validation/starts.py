"""Whether every function would start with what it is given: its own loader of settings is asked.

No rule about a variable is written twice: `shared.config` knows what is required and what is well-formed, and
is asked with stand-ins for what is not known yet, which are secrets, addresses and what services will say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from deployment.catalogue import FunctionSpec
from deployment.environments import OWN_ADDRESS, Environment, addressed_by
from deployment.problems import Problem
from deployment.validation.subject import Subject
from shared.config import load_actions, load_events, load_lane
from shared.errors import ConfigError
from shared.settings import ActionsSettings, EventsSettings, LaneSettings

Settings = LaneSettings | ActionsSettings | EventsSettings
_REFERENCE = re.compile(r"\$\{url:(\w+)\}")
_STAND_INS = {
    "REDIS_URL": "rediss://redis.invalid:6379",
    "UPSTASH_REDIS_REST_URL": "https://redis.invalid",
    "BLOB_URL": "file:///images",
    "ALLOWED_ORIGINS": "http://127.0.0.1",
}
_PROBLEM = re.compile(r"([A-Z][A-Z0-9_]+):? (.*)", re.DOTALL)
_BETWEEN = re.compile(r"; (?=[A-Z][A-Z0-9_]+:? )")


def problems(subject: Subject) -> Iterator[Problem]:
    """Yield what would keep functions from starting, each once, with the functions that it concerns."""
    concerned: dict[tuple[str, str], list[FunctionSpec]] = {}
    for spec in subject.specs.values():
        for wrong in start_problems(spec, _given(subject.environment, spec)):
            concerned.setdefault(wrong, []).append(spec)
    for (variable, text), specs in concerned.items():
        declaring = [spec.name for spec in specs if variable in spec.variables]
        if declaring and not _is_address(variable):  # addresses stand in [urls], and are judged there
            yield subject.here("variables", variable, f"{text} ({', '.join(declaring)})")
        for spec in specs:
            if spec.name not in declaring:
                yield subject.of(spec.name, "uses", f"{variable} {text}")


def start_problems(spec: FunctionSpec, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return why a function would not start with `environ`: variable and text, never a secret's value.

    It is asked with stand-ins before anything is called, and can be asked again with the true values.
    """
    loader = _loader(spec)
    if loader is None:
        return []
    try:
        loader(environ)
    except ConfigError as error:
        parts = _BETWEEN.split(str(error).removeprefix("configuration: "))
        return [_split(part) for part in parts]
    return []


def settings_of(subject: Subject, spec: FunctionSpec) -> Settings | None:
    """Return the settings with which a function would start; None when it would not."""
    loader = _loader(spec)
    try:
        return loader(_given(subject.environment, spec)) if loader else None
    except ConfigError:
        return None


def _loader(spec: FunctionSpec) -> Callable[[Mapping[str, str]], Settings] | None:
    if spec.lane:
        return partial(load_lane, spec.lane)
    others: Mapping[str, Callable[[Mapping[str, str]], Settings]] = {
        "actions": load_actions,
        "events": load_events,
    }
    return others.get(spec.name)


def _split(part: str) -> tuple[str, str]:
    found = _PROBLEM.fullmatch(part)
    return (found[1], found[2]) if found else ("", part)


def _is_address(variable: str) -> bool:
    return variable == OWN_ADDRESS or addressed_by(variable) is not None


def _given(environment: Environment, spec: FunctionSpec) -> dict[str, str]:
    """Return what a function will find, with stand-ins for what is not known yet."""
    by_services = environment.services.variables if environment.services else ()
    stand_ins = {name: _stand_in(name) for name in by_services if name in spec.variables}
    secrets = set(environment.secrets_of(spec)) - set(spec.optional_secrets)
    variables = {
        name: _REFERENCE.sub(lambda found: f"https://{found[1].replace('_', '-')}.invalid", value)
        for name, value in environment.variables_of(spec).items()
    }
    return stand_ins | {name: _stand_in(name) for name in secrets} | variables


def _stand_in(name: str) -> str:
    """Return a value that passes for the real one: an address, or a secret that is long enough."""
    if name in _STAND_INS:
        return _STAND_INS[name]
    return "http://127.0.0.1" if name.endswith("_URL") else f"stand-in for a secret: {name}, {'-' * 32}"
