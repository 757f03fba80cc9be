"""What readers notice while Redis is away."""

from __future__ import annotations

from devstack.valkey import EmbeddedValkey
from shared.state.keys import TaskRef
from shared.state.store import TcpStore
from shared.stream.events import TokenBatch, encode
from tests.integration.bridge.kit import (
    BridgeProcess,
    Browser,
    Work,
)


def test_while_redis_is_away_connections_stay_and_go_on_from_their_place(own_valkey: EmbeddedValkey) -> None:
    """D32: nobody is cut off, nothing is lost, and a newcomer is told when to come back."""
    store = TcpStore(own_valkey.url)
    work = Work(store)
    attempt = work.claim()
    with BridgeProcess(own_valkey.url, HEARTBEAT_SECONDS="0.05", LEASE_SECONDS="600") as process:
        client, other = Browser(process.url), Browser(process.url)
        with client.read() as reader:
            reader.take(2)
            work.say(attempt, "before ")
            assert reader.next().data["text"] == "before "
            dump = {key: store.command("XRANGE", key, "-", "+") for key in (work.key,)}
            own_valkey.kill()
            refused = other.get()
            assert (refused.status_code, refused.json()["error"]) == (503, "store_unavailable")
            assert other.get(TaskRef("nobody", "probe", "probe")).status_code == 503  # not 404: nobody knows
            assert int(refused.headers["retry-after"]) == refused.json()["retryAfter"] > 0
            reader.comments.clear()
            assert next(line for line in reader._lines if line == ": hb")
            own_valkey.restart()
            for id_, fields in dump[work.key]:
                store.command("XADD", work.key, id_, *fields)
            after = encode(TokenBatch(step=0, text="after", offset=7, count=1), task_id="t1", attempt=1)
            store.command("XADD", work.key, f"{attempt.epoch}-2", "e", after)
            assert reader.next().data["text"] == "after"
        client.http.close()
        other.http.close()
    store.close()


def test_a_redis_that_hangs_is_noticed_and_a_newcomer_is_told(own_valkey: EmbeddedValkey) -> None:
    store = TcpStore(own_valkey.url)
    Work(store)
    store.close()
    with BridgeProcess(own_valkey.url) as process:
        client = Browser(process.url)
        own_valkey.pause()
        answer = client.get()
        own_valkey.resume()
        assert answer.status_code == 503
        client.http.close()
