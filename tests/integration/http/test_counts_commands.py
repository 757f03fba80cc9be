"""What a task costs in Redis, of each kind and tier: round trips, commands sent, commands that Upstash bills.

Walked over Upstash's REST protocol, whose stand-in counts all three. Batches of text are left out: how many there are
is the model's pace and STREAM_FLUSH_INTERVAL_MS, and each is one round trip, one command, one billed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devstack.upstash.server import UpstashStandIn
from shared.llm.runner import Outcome
from shared.routing import Template, Tier
from shared.state import keys
from shared.state.store import Store
from shared.stream.events import EventType
from tests.counts_kit import hold, settle_clock
from tests.integration.http.kit import JOB, RESUME, World, data_url
from tests.integration.http.stand_ins import Published, Running, succeed
from tests.integration.transitions_kit import Bench

TEXT_SECONDS = 10
FLUSHES_PER_SECOND = 10
NUMBERS = ("roundTrips", "sent", "billed")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of task, and what its user has done before."""

    name: str
    action: str
    body: Mapping[str, Any]
    needs_match: bool = False
    streams: bool = False


KINDS = (
    Kind("upload a résumé", "upload-resume", {"text": RESUME}),
    Kind("upload a detailed résumé", "upload-detailed-resume", {"text": RESUME}),
    Kind("match an advertisement's text", "create-service", {"jobText": JOB}, streams=True),
    Kind("match an advertisement's image", "create-service", {"jobImage": data_url()}),
    Kind("customise a résumé", "customize-resume", {}, needs_match=True),
    Kind("prepare an interview", "interview-tips", {}, needs_match=True, streams=True),
)


@pytest.fixture
def metered(upstash: UpstashStandIn, tmp_path: Path) -> Iterator[World]:
    """`actions` and the lanes on Upstash's REST."""
    rest = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": upstash.token}
    with World("", tmp_path, {**rest, "INITIAL_QUOTA": "100"}) as made:
        made.model.acts.extend([_unhurried] * 100)
        yield made


def _unhurried(running: Running) -> Outcome:
    """Answer in another millisecond than the one in which the attempt began."""
    settle_clock()
    return succeed(running)


class Walk:
    """Walks tasks of one user from the request to the end, and notes what each stretch costs beside its text."""

    def __init__(self, world: World, upstash: UpstashStandIn, user: str) -> None:
        self._world = world
        self._meter = upstash.api.meter
        self._user = user
        self._costs: dict[str, dict[str, int]] = {}

    def _prepare(self, kind: Kind, tier: Tier) -> dict[str, Any]:
        """Give the user what the kind needs, and take the coins of one who is to be served for nothing."""
        body = dict(kind.body)
        if kind.needs_match:
            body["serviceId"] = self._world.with_match(self._user)
        else:
            self._world.with_resume(self._user)
        self._begin_window()
        if tier is Tier.FREE:
            self._world.store.command("HSET", keys.quota(self._user), "balance", 0)
        return body

    def task(self, kind: Kind, tier: Tier) -> dict[str, Any]:
        """Walk one task to its end; returns what each stretch and the whole of it cost."""
        body = self._prepare(kind, tier)
        self._meter.reset()
        accepted, publish = self._world.start(kind.action, body, user=self._user)
        assert accepted["isFree"] == (tier is Tier.FREE)
        self._note("accept")
        self._deliver(publish)
        if publish.message["templateId"] == Template.JOB_VISION_SUMMARY:
            assert self._world.report("step", publish).json()["status"] == "published"
            self._note("publish the next step")
            self._deliver(self._world.qstash.published[-1])
        whole = {name: sum(cost[name] for cost in self._costs.values()) for name in NUMBERS}
        return {**self._costs, "whole task": whole}

    def _deliver(self, publish: Published) -> None:
        self._world.finish(publish)
        self._note(f"run {publish.message['templateId']}")
        text = self._world.event_types(publish.message["taskId"]).count(EventType.TOKEN_BATCH)
        for number in NUMBERS:
            self._costs[f"run {publish.message['templateId']}"][number] -= text
        self._meter.reset()

    def _note(self, stretch: str) -> None:
        bill = self._meter.read()
        numbers = (bill.round_trips, sum(bill.sent.values()), bill.billed)
        self._costs[stretch] = dict(zip(NUMBERS, numbers, strict=True))
        settle_clock()
        self._meter.reset()

    def _begin_window(self) -> None:
        """Begin a new window of counted requests, whose first costs one command more than the others."""
        self._world.store.command("DEL", keys.rate(self._user, "writes"))


def test_a_task_of_each_kind_and_tier_costs_exactly_these_commands(
    metered: World, upstash: UpstashStandIn
) -> None:
    hold(
        "commands",
        {
            f"{kind.name}, {tier}": Walk(metered, upstash, f"user-{number}-{tier}").task(kind, tier)
            for number, kind in enumerate(KINDS)
            for tier in Tier
        },
    )


def test_an_answer_of_500_tokens_in_10_seconds_stays_within_130_commands_and_170_billed(
    metered: World, upstash: UpstashStandIn
) -> None:
    """Text at the default interval is 101 of them: all else, a renewal included, has what is left."""
    text = TEXT_SECONDS * FLUSHES_PER_SECOND + 1
    renewal = _cost_of_renewal(metered.store, upstash)
    for number, kind in enumerate(kind for kind in KINDS if kind.streams):
        cost = Walk(metered, upstash, f"reader-{number}").task(kind, Tier.PAID)["whole task"]
        assert text + cost["sent"] + renewal["sent"] <= 130
        assert text + cost["billed"] + renewal["billed"] <= 170


def _cost_of_renewal(store: Store, upstash: UpstashStandIn) -> dict[str, int]:
    """Return what the one renewal costs that an attempt of ten seconds under a lease of thirty needs."""
    bench = Bench(store)
    attempt = bench.run(bench.admit())
    upstash.api.meter.reset()
    assert bench.tasks.renew(attempt)
    bill = upstash.api.meter.read()
    assert bill.round_trips == 1
    return {"sent": sum(bill.sent.values()), "billed": bill.billed}


def test_over_tcp_a_task_runs_the_same_commands_as_over_rest(
    metered: World, upstash: UpstashStandIn, redis_url: str, tmp_path: Path
) -> None:
    kind = KINDS[0]
    over_rest = Walk(metered, upstash, "over-rest").task(kind, Tier.PAID)["whole task"]
    with World(redis_url, tmp_path) as world:
        walk = Walk(world, upstash, "over-tcp")
        walk.task(kind, Tier.PAID)  # Redis knows the scripts from now on
        assert walk.task(kind, Tier.PAID)["whole task"]["billed"] == over_rest["billed"]
