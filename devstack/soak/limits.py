"""Invariants of limits: leases, places and open tasks as Redis had them, calls as the provider saw them.

A call whose worker was frozen, or could not reach Redis, goes on after its lease has lapsed, until the worker
finds out: nobody but time could have renewed it. From that moment on it is counted apart: see
docs/internals/soak.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from devstack.llm.transcript import Call
from devstack.soak.evidence import API_KEYS, Evidence
from devstack.soak.finding import Finding, Problem
from devstack.soak.injector import Interruption
from shared.config import ConcurrencyConfig
from shared.routing import ROUTES, Lane, Model, Template

NOTICED_SECONDS = 0.1
"""A call that its worker has closed is noticed by the stand-in a moment later."""


def check_limits(evidence: Evidence) -> Iterator[Finding]:
    """Yield what there is to say of the limits."""
    seen, limits = evidence.seen, evidence.limits
    peaks = ", ".join(f"{m}:{t} {n}/{limits.slots(m, t)}" for (m, t), n in sorted(seen.leases.items()))
    told = f"{seen.samples} samples; peaks {peaks}"
    yield Finding.of("leases never exceed the slots", told, _leases(evidence))
    told = ", ".join(f"{lane} {used}/{limits.places(lane)}" for lane, used in sorted(seen.places.items()))
    yield Finding.of("queues never exceed their places", told, _places(evidence))
    found, allowed = provider_peaks(evidence.calls, evidence.interruptions), provider_limits(limits)
    apart = sum(_cut(call, evidence.interruptions) is not None for call in evidence.calls)
    told = ", ".join(f"{model} {peak}/{allowed[key, model]}" for (key, model), peak in sorted(found.items()))
    told += f"; {apart} of {len(evidence.calls)} calls counted apart from when they lost their worker"
    yield Finding.of("the providers saw no more calls than slots", told, _calls(found, allowed))


def _leases(evidence: Evidence) -> Iterator[Problem]:
    for (model, tier), peak in evidence.seen.leases.items():
        if peak > (limit := evidence.limits.slots(model, tier)):
            yield Problem(f"{model} for {tier}: {peak} leases, {limit} slots")


def _places(evidence: Evidence) -> Iterator[Problem]:
    for lane, peak in evidence.seen.places.items():
        if peak > (limit := evidence.limits.places(lane)):
            yield Problem(f"{lane}: {peak} places of {limit}")
    if evidence.seen.active > evidence.user_cap:
        yield Problem(f"a user had {evidence.seen.active} tasks open, {evidence.user_cap} are allowed")


def _calls(found: Mapping[tuple[str, str], int], allowed: Mapping[tuple[str, str], int]) -> Iterator[Problem]:
    for key, peak in found.items():
        if peak > allowed[key]:
            yield Problem(f"{key[1]} with the key {key[0]}: {peak} calls at once, {allowed[key]} slots")


def provider_limits(limits: ConcurrencyConfig) -> dict[tuple[str, str], int]:
    """Return how many calls a provider may see at once, by key and model: its slots for both tiers."""
    pairs = {(route.model, tier) for (_, tier), route in ROUTES.items()}
    allowed: dict[tuple[str, str], int] = defaultdict(int)
    for model, tier in pairs:
        allowed[API_KEYS[model.provider], model] += limits.slots(model, tier)
    return allowed


def provider_peaks(
    calls: Iterable[Call], interruptions: Sequence[Interruption]
) -> dict[tuple[str, str], int]:
    """Return how many calls were open at once, by key and model; those without a worker are left out."""
    edges: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for call in calls:
        cut = _cut(call, interruptions)
        ended_at = call.ended_at if cut is None else cut
        end = float("inf") if ended_at is None else max(call.started_at, ended_at - NOTICED_SECONDS)
        edges[call.api_key, call.model] += [(call.started_at, 1), (end, -1)]
    peaks = {}
    for key, each in edges.items():
        running = peak = 0
        for _, step in sorted(each):  # an end comes before a start of the same moment
            running += step
            peak = max(peak, running)
        peaks[key] = peak
    return peaks


def _cut(call: Call, interruptions: Sequence[Interruption]) -> float | None:
    """Return from when on a call is counted apart, if ever."""
    lanes = _lanes(call)
    ended_at = float("inf") if call.ended_at is None else call.ended_at
    moments = [
        each.at for each in interruptions if each.lanes & lanes and call.started_at <= each.at < ended_at
    ]
    return min(moments, default=None)


def _lanes(call: Call) -> frozenset[Lane]:
    """Return the lanes that a call may have come from."""
    if call.task is None:
        return frozenset()
    template, model = Template(call.task), Model(call.model)
    return frozenset(
        route.lane for (each, _), route in ROUTES.items() if each is template and route.model is model
    )
