"""A lane that has nothing to do sends Redis nothing; that the bridge does not is held by the bridge's own tests."""

from __future__ import annotations

import threading

from shared.llm.runner import Outcome
from tests.integration.http.kit import World
from tests.integration.http.stand_ins import Running, succeed, wait_for


def threads_of_attempts() -> set[str]:
    """Return the kinds of threads that send commands on an attempt's behalf, of those that run now."""
    return {thread.name.partition("-")[0] for thread in threading.enumerate()} & {"keeper", "writer"}


def test_a_lane_that_has_answered_leaves_nothing_that_could_send_a_command(world: World) -> None:
    seen: list[set[str]] = []

    def watch(running: Running) -> Outcome:
        seen.append(threads_of_attempts())
        return succeed(running)

    world.model.acts.append(watch)
    world.finish(world.start()[1])
    assert seen == [{"keeper", "writer"}]
    wait_for(lambda: not threads_of_attempts())
    world.store.command("CONFIG", "RESETSTAT")
    for _ in range(20):
        assert world.http.get(f"{world.actions_url}/healthz").is_success
    served = world.store.command("INFO", "commandstats")
    assert {line.split(":")[0] for line in served.splitlines() if "cmdstat_" in line} == {
        "cmdstat_config|resetstat"
    }
