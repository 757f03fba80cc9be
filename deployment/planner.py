"""The planner: what is wanted and what there is, compared, make a list of frozen steps. Pure: calls nothing.

    identities, logs, addresses ─▶ packages, revisions ─▶ probes ─▶ lanes, events, actions go live
        ─▶ capacity, schedule ─▶ the release ─▶ what is old goes

Nothing is live before every candidate has answered its probe, so that one that fails leaves the
environment as it was. Workers go first: the producer never sends what a worker does not know yet. Each
comparison is of one property, so that what is as it should be makes no step: the plan of an environment
just deployed is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deployment.errors import ForeignResource
from deployment.resources import Kind, Observed, ObservedFunction, ObservedResource, Properties
from deployment.states import CODE_CHARACTERS, FunctionState
from deployment.steps import (
    Change,
    Ensure,
    EnsureSchedule,
    ForgetArtefact,
    Plan,
    Probe,
    Prune,
    Publish,
    Record,
    Settle,
    Shift,
    Step,
    Upload,
)

WHOLE = 100
"""All calls of a function, in per cent."""


@dataclass(frozen=True, slots=True)
class Canary:
    """How a release goes live: at once, or in parts with a wait and a probe between them."""

    percents: tuple[int, ...] = (WHOLE,)
    wait_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Past:
    """What the ledger knows: which releases were, and of what they were made."""

    latest: int = 0
    """The number of the newest release, 0 before the first."""
    states: Mapping[str, FunctionState] = field(default_factory=dict)
    """The newest release's functions."""
    settings: Mapping[str, Mapping[str, Properties]] = field(default_factory=dict)
    """The newest release's resources, by function and kind."""
    kept: tuple[Mapping[str, FunctionState], ...] = ()
    """The functions of the releases that can be rolled back to, the newest first."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What is wanted of an environment."""

    environment: str
    states: Mapping[str, FunctionState]
    """By function, in the order in which they go live."""
    resources: Mapping[str, Mapping[Kind, Properties]]
    schedule: Properties | None = None
    """The sweep's schedule; None where there is none to make."""
    keep: int = 5
    """Revisions of each function, and releases, that are kept to roll back to."""
    note: str = "apply"
    stopped: frozenset[str] = frozenset()
    """The functions that take no calls, and so no probe either."""


def make_plan(desired: Desired, observed: Observed, past: Past, canary: Canary | None = None) -> Plan:
    """Return what leads from `observed` to `desired`.

    Raises:
        ForeignResource: something of a wanted name is there without our tags.
    """
    _refuse_foreign(desired, observed)
    found = {name: observed.functions.get(name, ObservedFunction()) for name in desired.states}
    states = {name: state.resolved(observed.urls) for name, state in desired.states.items()}
    steps: list[Step] = []
    for name in states:
        steps += _ensure(name, desired, found[name], (Kind.IDENTITY, Kind.LOGS, Kind.ADDRESS))
    for name, state in states.items():
        steps += _publish(state, found[name], observed, past)
    steps += _go_live(states, found, canary or Canary(), desired.stopped)
    for name in states:
        steps += _ensure(name, desired, found[name], (Kind.CAPACITY,))
    steps += _schedule(desired, observed)
    steps += _record(desired, states, past)
    steps += _clean(desired, states, observed, past)
    return Plan(desired.environment, tuple(steps), world_digest(observed, past))


def world_digest(observed: Observed, past: Past) -> str:
    """Return a digest of all that a plan is computed from, apart from what is wanted."""
    return f"{observed.digest}:{past.latest}"


def changes_between(before: Properties, after: Properties) -> tuple[Change, ...]:
    """Return the properties in which two sets differ, in the order of their names."""
    names = sorted(before.keys() | after.keys())
    return tuple(
        Change(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


def state_changes(before: FunctionState | None, after: FunctionState) -> tuple[Change, ...]:
    """Return in what two states differ, variable by variable and secret by secret (their versions)."""
    return changes_between(_flat(before) if before else {}, _flat(after))


def _flat(state: FunctionState) -> Properties:
    document = state.to_json()
    variables, secrets = document.pop("variables"), document.pop("secrets")
    document.pop("name")
    return (
        document
        | {f"variables.{name}": value for name, value in variables.items()}
        | {f"secrets.{name}": f"{pin['name']}@{pin['version']}" for name, pin in secrets.items()}
    )


def _refuse_foreign(desired: Desired, observed: Observed) -> None:
    foreign = [
        f"{name}/{kind}"
        for name in desired.states
        for kind, resource in observed.functions.get(name, ObservedFunction()).resources.items()
        if not resource.ours
    ]
    if foreign:
        raise ForeignResource(
            f"{', '.join(foreign)}: there already, and without the tags of the environment "
            f"{desired.environment}. Nothing was changed. Remove it, or choose another name or account."
        )


def _ensure(name: str, desired: Desired, found: ObservedFunction, kinds: Sequence[Kind]) -> Iterator[Ensure]:
    for kind in kinds:
        wanted = desired.resources[name].get(kind)
        there = found.resources.get(kind)
        if wanted is None or (there and there.properties == wanted):
            continue
        changes = changes_between(there.properties if there else {}, wanted)
        yield Ensure(name, kind, wanted, changes, creates=there is None)


def _publish(
    state: FunctionState, found: ObservedFunction, observed: Observed, past: Past
) -> Iterator[Upload | Publish]:
    if state.fingerprint is not None and state.fingerprint in {r.fingerprint for r in found.revisions}:
        return
    if state.code not in observed.artefacts:
        yield Upload(state.name, state.code)
    yield Publish(state.name, state, state_changes(past.states.get(state.name), state))


def _go_live(
    states: Mapping[str, FunctionState],
    found: Mapping[str, ObservedFunction],
    canary: Canary,
    stopped: frozenset[str],
) -> Iterator[Step]:
    moving = [
        state
        for name, state in states.items()
        if state.fingerprint is None or found[name].live != {state.fingerprint: WHOLE}
    ]
    yield from (Probe(state.name, state) for state in moving if state.name not in stopped)
    for percent in canary.percents:
        # What never served has nothing to be compared with: it goes live whole, in the last part.
        part = [state for state in moving if percent == WHOLE or found[state.name].live]
        yield from (Shift(state.name, state, percent, dict(found[state.name].live)) for state in part)
        if part and percent != WHOLE:
            asked = tuple(state.name for state in part if state.name not in stopped)
            yield Settle(canary.wait_seconds, asked)


def _schedule(desired: Desired, observed: Observed) -> Iterator[EnsureSchedule]:
    there: ObservedResource | None = observed.schedule
    if desired.schedule is None or (there and there.properties == desired.schedule):
        return
    changes = changes_between(there.properties if there else {}, desired.schedule)
    yield EnsureSchedule(desired.schedule, changes, creates=there is None)


def _record(desired: Desired, states: Mapping[str, FunctionState], past: Past) -> Iterator[Record]:
    settings = {
        name: {str(kind): properties for kind, properties in kinds.items()}
        for name, kinds in desired.resources.items()
    }
    if dict(past.states) != dict(states) or past.settings != settings:
        kept = [states, *past.kept][: desired.keep]
        pins = {pin for release in kept for state in release.values() for pin in state.secrets.values()}
        yield Record(past.latest + 1, states, settings, desired.note, tuple(sorted(pins)))


def _clean(
    desired: Desired, states: Mapping[str, FunctionState], observed: Observed, past: Past
) -> Iterator[Prune | ForgetArtefact]:
    """Yield what nothing needs any more, as it will be once everything before has been done."""
    releases = past.kept if dict(past.states) == dict(states) else (states, *past.kept)
    needed = {state.fingerprint for release in releases[: desired.keep] for state in release.values()}
    codes = {
        state.code[:CODE_CHARACTERS] for release in releases[: desired.keep] for state in release.values()
    }
    codes |= {state.code[:CODE_CHARACTERS] for state in states.values()}
    for name, state in states.items():
        there = observed.functions.get(name, ObservedFunction()).revisions
        coming = state.fingerprint not in {revision.fingerprint for revision in there}
        for age, revision in enumerate(sorted(there, key=lambda each: -each.number), start=int(coming)):
            if age < desired.keep or revision.fingerprint in needed | {state.fingerprint}:
                codes.add(revision.fingerprint.partition("-")[0])
            else:
                yield Prune(name, revision.id, revision.fingerprint)
    for code in sorted(observed.artefacts):
        if code[:CODE_CHARACTERS] not in codes:
            yield ForgetArtefact(code)
