"""What every sweep does beside looking after tasks: it adds the journal up, and drops holders that lapsed."""

from __future__ import annotations

from shared.state import keys
from shared.state.sums import read_sums
from tests.integration.http.kit import World, data_url
from tests.integration.http.stand_ins import Fault


def test_every_sweep_folds_the_journal_and_says_how_long_days_are_kept(world: World) -> None:
    world.change(USAGE_DAYS="3")
    _, publish = world.start()
    world.finish(publish)
    assert world.call_back("sweep").status_code == 200
    assert read_sums(world.store).ended[0].used.steps == 1
    assert world.store.command("HMGET", keys.SUMS, "usageDays") == ["3"]


def test_a_sweep_that_could_not_publish_has_folded_all_the_same(world: World) -> None:
    world.with_resume()
    _, vision = world.start("create-service", {"jobImage": data_url()})
    world.finish(vision)
    world.make_overdue(vision.message["taskId"])
    world.qstash.faults.append(Fault(400))
    assert world.call_back("sweep").status_code == 503
    assert sum(kind.used.steps for kind in read_sums(world.store).ended) == 2


def test_every_sweep_drops_the_holders_whose_lease_has_lapsed_and_no_other(world: World) -> None:
    """Nothing stays of a worker that died: here its task was cancelled, so nobody takes it over."""
    _, died = world.start()
    _, lives = world.start()
    for publish in (died, lives):
        assert world.claim(publish).status == "claimed"
    world.lapse_lease(died.message["taskId"])
    world.cancel(died.message["taskId"])
    assert world.slot_holders() == 2
    world.call_back("sweep")
    assert world.slot_holders() == 1
    assert world.record(lives.message["taskId"])["holder"]
