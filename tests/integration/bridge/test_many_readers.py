"""Hundreds of connections at once: what they cost Redis, and what they live through."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack, closing

from devstack.valkey import EmbeddedValkey
from shared.state.keys import TaskRef
from shared.state.store import Store, TcpStore
from tests.integration.bridge.crowd import Crowd, Member, Speaker
from tests.integration.bridge.kit import (
    REF,
    BridgeProcess,
    Browser,
    Work,
    blocked_readers,
    commands_served,
    text_of,
    until,
)

REFS = [TaskRef(f"t{i}", f"s{i}", f"u{i}") for i in range(50)]
EACH_BY_FOUR = REFS * 4


class FrugalProcess(BridgeProcess):
    """A bridge that may open a hundred files and sockets."""

    before = ("sh", "-c", 'ulimit -n 100; exec "$@"', "sh")


def has_begun(member: Member) -> bool:
    return bool(member.frames)


def has_ended(member: Member) -> bool:
    return member.ended


def test_a_storm_of_readers_wakes_the_shared_reader_less_often_than_there_are_readers(
    start_bridge: Callable[..., Browser], make_work: Callable[..., Work], store: Store
) -> None:
    """D31: hundreds who come at once are listed by a few reads, and their commands travel together."""
    speakers = [Speaker(store, make_work(ref).ref) for ref in REFS]
    client = start_bridge()
    store.command("CONFIG", "RESETSTAT")
    with Crowd(client, EACH_BY_FOUR) as crowd:
        crowd.read_until(lambda member: len(member.frames) == 2)
        served = commands_served(store)
        assert served.get("client|unblock", 0) + served.get("xread", 0) < len(crowd.members) / 2
        for speaker in speakers:
            speaker.say("all are listed")
            speaker.end()
        crowd.read_until(has_ended)
        assert {text_of(member.frames) for member in crowd.members} == {"all are listed"}


def test_waiting_tasks_are_looked_after_by_a_few_commands_for_all(
    start_bridge: Callable[..., Browser], make_work: Callable[..., Work], store: Store
) -> None:
    """D31, D32: no command for each connection while it idles, and none for each channel."""
    for ref in REFS:
        make_work(ref)
    client = start_bridge(LEASE_SECONDS="0.2")
    with Crowd(client, EACH_BY_FOUR) as crowd:
        crowd.read_until(has_begun)
        store.command("CONFIG", "RESETSTAT")
        until(lambda: commands_served(store).get("zmscore", 0) >= 4)
        served = commands_served(store)
        assert served.get("hmget", 0) == 0
        assert sum(served.values()) - served["info"] < 2 * len(REFS)


def test_quiet_streams_are_read_apart_from_lively_ones_and_miss_nothing(
    start_bridge: Callable[..., Browser], make_work: Callable[..., Work], store: Store
) -> None:
    """D34: a stream that changes from one shared read to the other, and back, is read without a gap."""
    speakers = [Speaker(store, make_work(ref).ref) for ref in REFS[:20]]
    client = start_bridge()
    with Crowd(client, [speaker.ref for speaker in speakers]) as crowd:
        crowd.read_until(has_begun)
        until(lambda: blocked_readers(store) == 2)  # since they have been silent for a while
        for i in range(200):
            speakers[i % 7].say(f"{i} ")
        for speaker in speakers:
            speaker.say("end")
            speaker.end()
        crowd.read_until(has_ended)
    for member, speaker in zip(crowd.members, speakers, strict=True):
        assert text_of(member.frames) == speaker.said


def test_a_restart_of_redis_under_hundreds_of_connections_ends_none_and_loses_nothing() -> None:
    """D32, D34: all recover by themselves; nobody even has to come back."""
    with EmbeddedValkey(persistent=True) as valkey, ExitStack() as stack:
        store = stack.enter_context(closing(TcpStore(valkey.url)))
        speakers = [Speaker(store, stack.enter_context(Work(store, ref)).ref) for ref in REFS]
        process = stack.enter_context(BridgeProcess(valkey.url))
        client = stack.enter_context(Browser(process.url))
        crowd = stack.enter_context(Crowd(client, EACH_BY_FOUR))
        for speaker in speakers:
            speaker.say("before ")
        crowd.read_until(lambda member: "token_batch" in {frame.event for frame in member.frames})
        for speaker in speakers[::2]:
            speaker.say("just before ")
        valkey.restart()
        for speaker in speakers:
            speaker.say("after")
            speaker.end()
        crowd.read_until(has_ended)
        said = {speaker.ref: speaker.said for speaker in speakers}
        for member in crowd.members:
            assert text_of(member.frames) == said[member.ref]
            assert not member.is_told_to_resume


def test_a_redis_that_has_lost_everything_ends_every_connection_and_the_readers_learn_why() -> None:
    """D32: nobody waits for a stream that is gone."""
    with EmbeddedValkey() as valkey, ExitStack() as stack:
        store = stack.enter_context(closing(TcpStore(valkey.url)))
        for ref in REFS:
            stack.enter_context(Work(store, ref))
        process = stack.enter_context(BridgeProcess(valkey.url))
        client = stack.enter_context(Browser(process.url))
        crowd = stack.enter_context(Crowd(client, EACH_BY_FOUR))
        crowd.read_until(has_begun)
        valkey.restart()
        crowd.read_until(has_ended)
        assert all(member.is_told_to_resume for member in crowd.members)
        assert client.get(REFS[0]).status_code == 404


def test_all_are_told_to_resume_when_the_process_ends(
    valkey: EmbeddedValkey, make_work: Callable[..., Work]
) -> None:
    for ref in REFS:
        make_work(ref)
    with (
        BridgeProcess(valkey.url) as process,
        Browser(process.url) as client,
        Crowd(client, EACH_BY_FOUR) as crowd,
    ):
        crowd.read_until(has_begun)
        process.process.send_signal(signal.SIGTERM)
        crowd.read_until(has_ended)
        assert all(member.is_told_to_resume for member in crowd.members)
        pauses_ms = {ms for member in crowd.members for ms in member.retry_ms}
        assert len(pauses_ms) > len(crowd.members) / 2, "they would all come back at the same moment"
        assert "Traceback" not in process.end()
        assert process.process.returncode == 0


def test_one_channel_has_a_bound_on_its_readers_and_says_when_to_come_back(
    bridge: BridgeProcess, browser: Browser, work: Work
) -> None:
    with Crowd(browser, [REF] * 64) as crowd:
        crowd.read_until(has_begun)
        refused = browser.get()
        assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) == refused.json()["retryAfter"] > 0
    until(lambda: browser.http.head(browser.address()).status_code == 200)


def test_a_process_with_few_descriptors_holds_few_connections_and_refuses_the_rest_in_time(
    valkey: EmbeddedValkey, make_work: Callable[..., Work]
) -> None:
    """What it cannot hold is told when to come back, instead of failing in the middle."""
    for ref in REFS:
        make_work(ref)
    with FrugalProcess(valkey.url) as process, Browser(process.url) as client:
        with Crowd(client, REFS[:36]) as crowd:  # what is left is kept for everything else
            crowd.read_until(has_begun)
            refused = client.get(REFS[-1])
            assert (refused.status_code, refused.json()["error"]) == (503, "store_unavailable")
            assert int(refused.headers["retry-after"]) > 0
        until(lambda: client.http.head(client.address(REFS[-1])).status_code == 200)
