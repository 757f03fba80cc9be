"""One task for every lane, each with somebody who reads it: what the broker's faults are tried on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from devstack.frontend import JOB, RESUME, Frontend, Reader, advertisement, until
from devstack.reliability.messages import all_at_rest, sent
from devstack.reliability.tally import Kind, Problem, Tally
from devstack.reliability.verdict import examine
from devstack.stack import Stack
from shared.state.quota import grant

STEP, FAILURE = "/callbacks/step", "/callbacks/failure"
LANES = "/(paid|free)/"
TRIES = 4
"""How often QStash tries a message, all in all: TASK_RETRIES and once."""
COINS = 500
SAID = "score: 71\n\n" + " ".join(f"reason-{number}" for number in range(1, 41))
OVERRIDES = {
    "INITIAL_QUOTA": str(COINS),
    "USER_MAX_ACTIVE": "50",
    "RATE_LIMIT_READS": "100000/minute",
    "RATE_LIMIT_WRITES": "10000/minute",
}
"""What lets two users cause all of the traffic."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a user asks for, and what it takes."""

    action: str
    body: dict[str, Any]
    calls: int = 1
    """Of models, when nothing goes wrong."""
    streams: bool = False


UPLOAD = Errand("upload-resume", {"text": RESUME, "locale": "en"})
TEXT = Errand("create-service", {"jobText": JOB, "locale": "en"}, streams=True)
IMAGE = Errand("create-service", {"jobImage": advertisement(), "locale": "en"}, calls=2, streams=True)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A task under way: whose, and who reads it."""

    someone: Frontend
    errand: Errand
    accepted: dict[str, Any]
    reader: Reader

    @property
    def id(self) -> str:
        return str(self.accepted["taskId"])

    def hears(self, *types: str) -> str:
        """Wait until its reader has heard an event of one of these types, and return the first."""
        return until(lambda: next((t for t in self.reader.types if t in types), None), f"any of {types}")

    def verdict(self, *, ends: str = "done", code: str | None = None) -> list[Problem]:
        """Return what is wrong with it, once it has ended (see `verdict.examine`)."""
        said = None
        if ends == "done" and self.errand.streams:
            free = self.accepted["isFree"]
            said = self.someone.outcome(self.accepted)["result"]["text"] if free else SAID
        return examine(self.someone, self.accepted, ends=ends, code=code, said=said, readers=[self.reader])


@contextlib.contextmanager
def slowly(stack: Stack, tokens_per_second: float = 40) -> Iterator[None]:
    """Have models talk so slowly that something can be done in mid-stream; then fast again."""
    fast = stack.llm.pace.tokens_per_second
    stack.llm.pace.tokens_per_second = tokens_per_second
    try:
        yield
    finally:
        stack.llm.pace.tokens_per_second = fast


def payer(stack: Stack, name: str = "payer") -> Frontend:
    """Return a user with coins and a résumé."""
    return _with_resume(Frontend(stack, name))


def guest(stack: Stack, name: str = "guest") -> Frontend:
    """Return a user without coins, with a résumé: all of their tasks take the free lanes."""
    someone = Frontend(stack, name)
    with contextlib.closing(stack.open_store()) as store:
        grant(store, name, -COINS, "none left", initial=COINS)
    return _with_resume(someone)


def _with_resume(someone: Frontend) -> Frontend:
    """Upload a résumé unless there is one; again when it waited too long for its turn, on a busy machine."""
    while not someone.get("/resume").json()["summary"]:
        job = start(someone, UPLOAD)
        job.hears("done", "error")
        assert job.reader.all[-1].get("code") in {None, "wait_timeout", "lost"}, job.reader.all
    return someone


def find(someone: Frontend, task_id: str, errand: Errand) -> Job:
    """Return a task whose user has had no answer: its status says all that is needed to follow it."""
    status = someone.status({"taskId": task_id})
    return Job(someone, errand, status, Reader(status["streamUrl"]))


def start(someone: Frontend, errand: Errand) -> Job:
    accepted = someone.act(errand.action, errand.body)
    return Job(someone, errand, accepted, Reader(accepted["streamUrl"]))


def start_everywhere(stack: Stack) -> list[Job]:
    """Start a task for each lane of both tiers: uploads, texts, and pictures of two steps."""
    return [
        start(someone, what) for someone in (payer(stack), guest(stack)) for what in (IMAGE, TEXT, UPLOAD)
    ]


def teach(stack: Stack) -> None:
    """Make known what the paying users' matches say."""
    stack.llm.fail("says", text=SAID, model="deepseek-reasoner", times=None)


def unanswered(pool: ThreadPoolExecutor, someone: Frontend, errand: Errand, **headers: str) -> Job:
    """Ask for something that is admitted and gets no answer; return the task that came of it."""
    before = tasks_of(someone)

    def ask() -> None:
        with contextlib.suppress(httpx.HTTPError):
            someone.post(f"/actions/{errand.action}", errand.body, **headers)

    pool.submit(ask)
    task_id = until(lambda: next(iter(tasks_of(someone) - before), None), "the admission")
    return find(someone, task_id, errand)


def tasks_of(someone: Frontend) -> set[str]:
    """Return the ids of a user's newest uploads and of all their services' tasks."""
    services = someone.get("/services").json()["services"]
    pages = [someone.get(f"/services/{service['serviceId']}").json() for service in services]
    return {task_id for page in (someone.get("/resume").json(), *pages) for task_id in page["tasks"].values()}


def undeliverable(to: str, messages: int = 1) -> dict[str, object]:
    """Return the switches that keep QStash from delivering messages to a lane until it gives up on them."""
    return {"drop_delivery": TRIES * messages, "only": {"drop_delivery": to}}


def published(stack: Stack, job: Job, count: int) -> list[Problem]:
    """Return what is wrong unless QStash has had exactly `count` messages of a task."""
    had = len(sent(stack, LANES, job.id))
    kind: Kind = "lost" if had < count else "doubled"
    return [] if had == count else [Problem(kind, f"{job.id[:8]}: {had} messages, not {count}")]


@dataclass(slots=True)
class ModelCalls:
    """Counts the calls of models since it was made, of a stack at rest; judges what caused them."""

    stack: Stack
    before: int = 0

    def __post_init__(self) -> None:
        payer(self.stack)
        guest(self.stack)  # their résumés cost calls too, the first time
        teach(self.stack)
        self.before = self.stack.llm.gauges.calls

    def judge(self, tally: Tally, *jobs: Job) -> None:
        """Count the tasks, all of which must be done, and whether each step cost one call of its model.

        A task that is done has made a call for each step: so when the calls are as many as the steps, none
        ran twice.
        """
        for job in jobs:
            tally.ran(job.verdict())
        self.close(tally, sum(job.errand.calls for job in jobs))

    def close(self, tally: Tally, expected: int) -> None:
        """Wait for rest; exactly so many calls must have been made."""
        problems = all_at_rest(self.stack)
        made = self.stack.llm.gauges.calls - self.before
        if made != expected:
            kind: Kind = "doubled" if made > expected else "lost"
            problems.append(Problem(kind, f"{made} model calls, not {expected}"))
        tally.ran(problems, runs=0)
        self.stack.llm.heal()
