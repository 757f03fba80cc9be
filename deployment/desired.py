"""What is wanted of an environment: files, packages, secrets and the kill switch, put together.

Nothing is decided here that stands elsewhere: which variables and secrets a function gets is the catalogue's
and the environment's, what a resource is on a provider is the provider's. A secret that a function needs and
that has no value yet is refused here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from deployment.catalogue import FunctionSpec
from deployment.environments import AwsPlace, Environment
from deployment.errors import MissingSecret
from deployment.ledger import Release
from deployment.names import secret_name
from deployment.planner import Desired
from deployment.providers.interface import Provider
from deployment.qstash import sweep_properties
from deployment.resources import Kind, Properties
from deployment.secret_store import SecretState
from deployment.states import FunctionState, SecretPin
from shared.config import get_time_settings

PRODUCER, BRIDGE = "actions", "events"


def in_order(names: Iterable[str]) -> list[str]:
    """Return the functions in the order in which they go live: workers, the bridge, the producer."""
    last = {BRIDGE: 1, PRODUCER: 2}
    return sorted(names, key=lambda name: last.get(name, 0))


def wanted(
    environment: Environment,
    specs: Mapping[str, FunctionSpec],
    provider: Provider,
    *,
    packages: Mapping[str, str],
    secrets: Mapping[str, SecretState],
    stopped: Collection[str] = (),
    urls: Mapping[str, str] | None = None,
) -> Desired:
    """Return what the files want of an environment.

    Args:
        environment: with everything supplied that only its services know.
        specs: the catalogue as it is in this environment.
        provider: where it is.
        packages: the content digest of each function's package.
        secrets: what the store has, by name.
        stopped: the functions that somebody stopped.
        urls: the addresses that are known.

    Raises:
        MissingSecret: a function needs a secret that has no value; all of them are named.
    """
    pins = _pins(environment, specs, secrets)
    return Desired(
        environment=environment.name,
        states={
            name: _state(environment, specs[name], packages[name], pins[name]) for name in in_order(specs)
        },
        resources={name: provider.resources(spec, stopped=name in stopped) for name, spec in specs.items()},
        schedule=sweep_properties(get_time_settings(environment.variables).sweep_minutes, urls),
        keep=environment.releases.keep,
        stopped=frozenset(stopped),
    )


def as_released(
    environment: Environment,
    specs: Mapping[str, FunctionSpec],
    provider: Provider,
    release: Release,
    *,
    stopped: Collection[str] = (),
) -> Desired:
    """Return what a release was: its code, its configuration, its secrets' versions, its resources.

    What was stopped since stays stopped. The schedule is none of a release's and left as it is.
    """
    resources = {
        name: {
            **{Kind(kind): properties for kind, properties in kinds.items()},
            Kind.CAPACITY: _capacity(provider, specs[name], kinds[Kind.CAPACITY], stopped=name in stopped),
        }
        for name, kinds in release.settings.items()
        if name in specs
    }
    states = {name: release.states[name] for name in in_order(specs) if name in release.states}
    return Desired(
        environment.name,
        states,
        resources,
        keep=environment.releases.keep,
        note=f"rollback to {release.number}",
        stopped=frozenset(stopped),
    )


def _capacity(provider: Provider, spec: FunctionSpec, recorded: Properties, *, stopped: bool) -> Properties:
    """Return the capacity that a release had; being stopped or not is none of a release's."""
    halted = provider.resources(spec, stopped=True)[Kind.CAPACITY]
    if stopped:
        return halted
    return provider.resources(spec, stopped=False)[Kind.CAPACITY] if recorded == halted else recorded


def as_left(target: Desired, release: Release, urls: Mapping[str, str]) -> Desired:
    """Return a release, as `as_released` has it, with the schedule that was made together with it."""
    producer = release.states.get(PRODUCER)
    if producer is None:
        return target
    minutes = get_time_settings(producer.variables).sweep_minutes
    return replace(target, schedule=sweep_properties(minutes, urls))


def with_secrets_of(target: Desired, newer: Mapping[str, FunctionState]) -> Desired:
    """Return a former release with the secrets that are in use now."""
    states = {
        name: replace(state, secrets=newer[name].secrets) if name in newer else state
        for name, state in target.states.items()
    }
    return replace(target, states=states)


def with_pins(target: Desired, specs: Mapping[str, FunctionSpec], pins: Mapping[str, SecretPin]) -> Desired:
    """Return what is wanted with other versions of some secrets, by variable, for those who get them."""
    states = {
        name: replace(
            state,
            secrets={**state.secrets, **{v: pin for v, pin in pins.items() if v in specs[name].secrets}},
        )
        for name, state in target.states.items()
    }
    return replace(target, states=states, note=f"rotation of {', '.join(sorted(pins))}")


def _pins(
    environment: Environment, specs: Mapping[str, FunctionSpec], secrets: Mapping[str, SecretState]
) -> dict[str, dict[str, SecretPin]]:
    pins: dict[str, dict[str, SecretPin]] = {}
    missing: dict[str, list[str]] = {}
    for name, spec in specs.items():
        pins[name] = {}
        for variable in environment.secrets_of(spec):
            secret = secret_name(environment, variable)
            if secret in secrets:
                pins[name][variable] = SecretPin(secret, secrets[secret].current)
            elif variable not in spec.optional_secrets:
                missing.setdefault(variable, []).append(name)
    if missing:
        raise MissingSecret(_missing_text(environment, missing))
    return pins


def _missing_text(environment: Environment, missing: Mapping[str, list[str]]) -> str:
    lines = [
        f"  {variable} ({secret_name(environment, variable)}), needed by {', '.join(functions)}"
        for variable, functions in missing.items()
    ]
    example = f"scripts/deploy.py secrets set {next(iter(missing))} --env {environment.name}"
    return "\n".join(
        [f"{len(lines)} secrets of {environment.name} have no value:", *lines, f"Give them one: {example}"]
    )


def _state(
    environment: Environment, spec: FunctionSpec, code: str, pins: Mapping[str, SecretPin]
) -> FunctionState:
    place = environment.place
    return FunctionState(
        name=spec.name,
        code=code,
        variables=environment.variables_of(spec),
        secrets=pins,
        memory_mb=spec.memory_mb,
        timeout_seconds=spec.timeout_seconds,
        concurrency=spec.concurrency,
        python=environment.target.python,
        architecture=environment.target.architecture,
        layers=(place.adapter_layer,) if isinstance(place, AwsPlace) else (),
    )
