"""The steps of a plan: frozen records that tests compare, files hold and the executor performs one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deployment.resources import Kind, Properties
from deployment.states import FunctionState, SecretPin


@dataclass(frozen=True, slots=True)
class Change:
    """One property that a step changes; `before` is None where there was nothing."""

    property: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Ensure:
    """Make a resource of a function, or make it as it should be."""

    function: str
    kind: Kind
    properties: Properties
    changes: tuple[Change, ...]
    creates: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """Put a package into the environment's store."""

    function: str
    code: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Make the revision of a state; its references are resolved when the step is performed."""

    function: str
    state: FunctionState
    changes: tuple[Change, ...] = ()
    """What differs from the revision that is live now; for people."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask a revision, at its candidate address, whether it works and lets in whom it should."""

    function: str
    state: FunctionState


@dataclass(frozen=True, slots=True)
class Shift:
    """Lead a part of a function's calls to the revision of a state, the rest to where all went before."""

    function: str
    state: FunctionState
    percent: int
    before: Mapping[str, int]
    """The weights of before the first shift of this plan: what a failure goes back to."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Wait between two parts of a canary, then probe what is live."""

    seconds: float
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnsureSchedule:
    """Make QStash call the sweep regularly."""

    properties: Properties
    changes: tuple[Change, ...]
    creates: bool


@dataclass(frozen=True, slots=True)
class Record:
    """Write the release into the ledger."""

    number: int
    states: Mapping[str, FunctionState]
    settings: Mapping[str, Mapping[str, Properties]]
    """By function and kind: the resources as this release has them."""
    note: str
    """What it was: `apply`, or `rollback to 3`."""
    secrets: tuple[SecretPin, ...] = ()
    """Every version that this release and the kept ones pin: what nothing pins any more may go."""


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove a revision that neither takes calls nor belongs to a kept release."""

    function: str
    revision_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ForgetArtefact:
    """Remove a package that no kept revision or release is made of."""

    code: str


Step = Ensure | Upload | Publish | Probe | Shift | Settle | EnsureSchedule | Record | Prune | ForgetArtefact
_STEPS: Mapping[str, type] = {
    step.__name__: step
    for step in (Ensure, Upload, Publish, Probe, Shift, Settle, EnsureSchedule, Record, Prune, ForgetArtefact)
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in order, and from which state of the world it was computed."""

    environment: str
    steps: tuple[Step, ...]
    observed_digest: str
    warnings: tuple[str, ...] = field(default=())

    @property
    def empty(self) -> bool:
        return not self.steps


def step_to_json(step: Step) -> dict[str, Any]:
    """Return a step as JSON-able values that `step_from_json` reads."""
    document = _with_state(step) if isinstance(step, Publish | Probe | Shift) else asdict(step)
    if isinstance(step, Record):
        document["states"] = {name: state.to_json() for name, state in step.states.items()}
    return {"step": type(step).__name__, **document}


def step_from_json(document: Mapping[str, Any]) -> Step:
    """Return the step that `step_to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is no step of this version.
    """
    fields = dict(document)
    kind = _STEPS[fields.pop("step")]
    if "state" in fields:
        fields["state"] = FunctionState.from_json(fields["state"])
    if "states" in fields:
        fields["states"] = {n: FunctionState.from_json(state) for n, state in fields["states"].items()}
    if "changes" in fields:
        fields["changes"] = tuple(Change(**change) for change in fields["changes"])
    if kind is Record:
        fields["secrets"] = tuple(SecretPin(**pin) for pin in fields["secrets"])
    if kind is Ensure:
        fields["kind"] = Kind(fields["kind"])
    if kind is Settle:
        fields["functions"] = tuple(fields["functions"])
    step: Step = kind(**fields)
    return step


def _with_state(step: Publish | Probe | Shift) -> dict[str, Any]:
    document = {name: getattr(step, name) for name in step.__dataclass_fields__}
    document["state"] = step.state.to_json()
    if isinstance(step, Publish):
        document["changes"] = [asdict(change) for change in step.changes]
    return document
