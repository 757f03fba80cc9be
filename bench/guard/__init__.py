"""The guard: how fast a lane's claims and ends go through Redis, thirty-two clients at once.

    ping            two PINGs: what a round trip costs, on this machine, today
    slot            the slot's statements of claim_task, and the ZREM that gives it back: a limiter elsewhere
    claim, release  a task's claim (record, slot, deadline, event) and its release
    claim, finish   the same, and a finish that keeps an answer of 2,400 characters and ends the task

One round trip each way. All on one Valkey, interleaved; the clients share its machine. `slot` is what
compares with limiters elsewhere. Of the last two Valkey's processor is the limit: a claim runs 8 commands in
its script, a finish 12, and five sixths of their time go into Lua and JSON around them. How much is enough: a
thousand tasks a second of ten seconds each are ten thousand streams at once.
Run alone by `python -m bench.guard`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from statistics import median

from bench.bridge.resp import Pipe, packed
from bench.figures import Figure, Goal
from bench.guard.clients import CLIENTS, Pace, Pair, run
from bench.guard.requests import ENTER_SLOT, SLOT_KEY, Asked, Guard, task_ref
from devstack.valkey import EmbeddedValkey

ROUNDS = 3
PAIRS = 2_000
PAIRS_A_SECOND_GOAL = 10_000
P99_GOAL = 3
SENT_AT_ONCE = 200
SECTION = "guard"
SUBJECTS = ("ping", "slot", "claim, release", "claim, finish")


class Course:
    """One Valkey, and the pairs of each subject."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pipe = Pipe(port)
        self._numbers = itertools.count()
        self._guard = Guard()
        self._known: set[str] = set()

    def pace(self, subject: str) -> Pace:
        """Run one round of a subject."""
        pairs = {"ping": _pings, "slot": self._slots}.get(subject)
        ready = list(pairs() if pairs else self._claims(subject))
        self._send([packed("DEL", SLOT_KEY)])
        return run(self._port, iter(ready))

    def close(self) -> None:
        self._pipe.close()

    def _slots(self) -> Iterator[Pair]:
        self._load(Asked(ENTER_SLOT, b""))
        for number in range(PAIRS):
            holder = f"holder{number}"
            enter = packed("EVALSHA", ENTER_SLOT.sha1, 1, SLOT_KEY, holder, 64)
            yield Pair(enter, packed("ZREM", SLOT_KEY, holder), b":1\r\n".__eq__, b":1\r\n".__eq__)

    def _claims(self, subject: str) -> Iterator[Pair]:
        """Admit tasks, and give the pairs that claim and end them."""
        leave, said = {
            "claim, release": (self._guard.release, b"released"),
            "claim, finish": (self._guard.finish, b"done"),
        }[subject]
        refs = [task_ref(next(self._numbers)) for _ in range(PAIRS)]
        self._send(self._load(self._guard.admit(ref)) for ref in refs)
        for ref in refs:
            enter, ended = self._load(self._guard.claim(ref)), self._load(leave(ref))
            yield Pair(enter, ended, _says(b'"claimed"'), _says(said))

    def _load(self, asked: Asked) -> bytes:
        if asked.script.sha1 not in self._known:
            self._send([packed("SCRIPT", "LOAD", asked.script.source)])
            self._known.add(asked.script.sha1)
        return asked.command

    def _send(self, commands: Iterator[bytes] | list[bytes]) -> None:
        rest = iter(commands)
        while some := list(itertools.islice(rest, SENT_AT_ONCE)):
            self._pipe.send(some)
            self._pipe.settle()


def measure(progress: Callable[[str], None]) -> list[Figure]:
    """Measure all subjects, a round of each in turn."""
    paces: dict[str, list[Pace]] = {subject: [] for subject in SUBJECTS}
    with EmbeddedValkey() as valkey:
        course = Course(valkey.port)
        for number in range(ROUNDS):
            progress(f"round {number + 1} of {ROUNDS}, {CLIENTS} clients, {PAIRS:,} pairs each")
            for subject in SUBJECTS:
                paces[subject].append(course.pace(subject))
        course.close()
    return [figure for subject in SUBJECTS for figure in _figures(subject, paces)]


def _figures(subject: str, paces: dict[str, list[Pace]]) -> Iterator[Figure]:
    ping_ms = median(pace.p99_ms for pace in paces["ping"])
    ours = subject != "ping"
    yield Figure(
        SECTION,
        f"enter and leave, {CLIENTS} clients",
        subject,
        "pairs/s",
        tuple(pace.pairs_a_second for pace in paces[subject]),
        Goal(f"≥ {PAIRS_A_SECOND_GOAL:,}", at_least=PAIRS_A_SECOND_GOAL) if ours else None,
    )
    yield Figure(
        SECTION,
        f"enter and leave, {CLIENTS} clients, p99",
        subject,
        "ms",
        tuple(pace.p99_ms for pace in paces[subject]),
        Goal("≤ 3 × ping's", at_most=P99_GOAL * ping_ms) if ours else None,
    )


def _pings() -> Iterator[Pair]:
    ping = packed("PING")
    return itertools.repeat(Pair(ping, ping, b"+PONG\r\n".__eq__, b"+PONG\r\n".__eq__), PAIRS)


def _says(word: bytes) -> Callable[[bytes], bool]:
    return lambda reply: word in reply
