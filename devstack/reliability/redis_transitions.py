"""Redis takes a transition, or its connection breaks: each has the effect of once, whoever is told nothing.

What is lost is lost for good: it happens until the store gives up and says so, not only to its first try.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from devstack.frontend import Reader, advertisement
from devstack.proxy import Fault, RedisProxy
from devstack.proxy.faults import When
from devstack.reliability.midstream import heal, proxy_of
from devstack.reliability.subjects import Started, Subject, all_at_once
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import Effort, Trial
from devstack.stack import Stack
from shared.routing import Model

LOST_FOR_GOOD = 2
"""How often a connection must break until the store says so."""
ADVERTISEMENT = {
    "extractedText": "Senior Platform Engineer at Fabrikam: five years with Python and Redis.",
    "language": "en",
    "confidence": 0.9,
    "jobTitle": "Senior Platform Engineer",
    "company": "Fabrikam",
}
"""What the model sees in a picture, in few words."""
UNNOTICED = frozenset({"confirm_publish", "XADD", "renew_lease"})
"""What is sent again, or made up for, within the attempt."""
Break = Callable[..., Fault]


@dataclass(frozen=True, slots=True)
class Lost:
    """A script or command that is lost on a task's way, and how that task ends all the same."""

    script: str
    streams: bool = True
    nth: int = 1
    status: int | None = None
    """What the provider answers, for scripts that follow upon its failure."""
    ends: str = "done"

    def arm(self, subject: Subject) -> None:
        if self.status is not None:
            times = 1 if self.ends == "done" else None
            subject.fails("status", streams=self.streams, times=times, status=self.status)
        if self.script == "renew_lease" and not self.streams:
            subject.fails("says", streams=False, text=subject.long_summary)


ON_THE_WAY = (
    *(Lost(script, streams) for script in ("confirm_publish", "claim_task") for streams in (True, False)),
    *(Lost("XADD", nth=nth) for nth in (1, 2, 4)),
    *(Lost(script, streams) for script in ("renew_lease", "finish_task") for streams in (True, False)),
    Lost("release_attempt", status=500),
    Lost("fail_task", status=401, ends="error"),
)


def _walks(stack: Stack, break_: Break, lost: Lost) -> list[Problem]:
    """Let one task lose what it is about to send, and examine it at its end."""
    task, fault = _met(stack, break_, lost)
    return [*_expected(task, lost), *_hit(fault)]


def _met(stack: Stack, break_: Break, lost: Lost) -> tuple[Started, Fault]:
    subject = Subject(stack, lost.script)
    if lost.streams:
        subject.prepared()
    lost.arm(subject)
    fault = break_(lost.script, nth=lost.nth, times=LOST_FOR_GOOD, about=subject.user)
    return subject.start(streams=lost.streams), fault


def _expected(task: Started, lost: Lost) -> list[Problem]:
    said = task.owner.text if lost.streams and lost.ends == "done" else None
    problems = task.examine(said=said, ends=lost.ends)
    if lost.script in UNNOTICED and task.attempts != [1]:
        problems.append(Problem("wrong", f"{lost.script}: attempts {task.attempts}, not [1]"))
    return problems


def _hit(fault: Fault) -> list[Problem]:
    missed = fault.hits < LOST_FOR_GOOD
    return [Problem("wrong", f"{fault.on} broke {fault.hits} times, so nobody noticed")] if missed else []


# -- what a frontend asks for again --------------------------------------------------------------------------


def _admission(stack: Stack, break_: Break) -> list[Problem]:
    """The caller is told 503, and asks again under the same key: one task, one debit."""
    subject = Subject(stack, "admit_task")
    subject.speaks(streams=False)
    fault = break_("admit_task", times=LOST_FOR_GOOD, about=subject.user)
    refused, accepted = (
        subject.post("/actions/upload-resume", subject.resume, Idempotency_Key="k") for _ in range(2)
    )
    assert (refused.status_code, accepted.status_code) == (503, 202), (refused.text, accepted.text)
    task = Started(subject, accepted.json(), Reader(accepted.json()["streamUrl"]), streams=False)
    return [*task.examine(), *_hit(fault)]


def _cancel(stack: Stack, break_: Break) -> list[Problem]:
    """The caller is told 503, and asks again: cancelled once, refunded once."""
    subject = Subject(stack, "cancel_task").prepared()
    subject.fails("silence", streams=True)
    task = subject.start(streams=True)
    task.reader.wait_for("token_batch")
    fault = break_("cancel_task", times=LOST_FOR_GOOD, about=subject.user)
    answers = [subject.post(f"/tasks/{task.accepted['taskId']}/cancel").status_code for _ in range(2)]
    assert answers == [503, 200], answers
    return [*task.examine(ends="cancelled"), *_hit(fault)]


def _next_step(stack: Stack, break_: Break) -> list[Problem]:
    """QStash calls back again, and the step that follows is published once."""
    subject = Subject(stack, "begin_publish").prepared()
    fault = break_("begin_publish", times=LOST_FOR_GOOD, about=subject.user)
    subject.speaks(streams=True)
    stack.llm.fail("says", model=Model.GLM_VISION, times=None, text=json.dumps(ADVERTISEMENT))
    accepted = subject.act("create-service", {"jobImage": advertisement(), "locale": "en"})
    task = Started(subject, accepted, Reader(accepted["streamUrl"]), streams=True)
    return [*task.examine(said=subject.text), *_hit(fault)]


# -- the trials ----------------------------------------------------------------------------------------------


def _run_cut(when: When) -> Callable[[Stack, Tally, Effort], None]:
    def run(stack: Stack, tally: Tally, effort: Effort) -> None:
        break_ = partial(proxy_of(stack).cut, when=when)
        for _ in range(effort.rounds):
            asked_again = [partial(one, stack, break_) for one in (_admission, _cancel, _next_step)]
            on_the_way = [partial(_walks, stack, break_, lost) for lost in ON_THE_WAY]
            all_at_once(tally, [*asked_again, *on_the_way])
            heal(stack, tally)

    return run


def run_late(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Keep commands back, and deliver them while some of the tasks still run, and when all have ended."""
    proxy = proxy_of(stack)
    for _ in range(effort.rounds):
        met: list[tuple[Lost, Started, Fault]] = []
        all_at_once(tally, [partial(_ended, stack, proxy, lost, met) for lost in ON_THE_WAY])
        proxy.deliver_late()
        for lost, task, fault in met:
            tally.problems += [*_expected(task, lost), *_hit(fault)]
        heal(stack, tally)


def _ended(
    stack: Stack, proxy: RedisProxy, lost: Lost, met: list[tuple[Lost, Started, Fault]]
) -> list[Problem]:
    task, fault = _met(stack, proxy.keep_back, lost)
    met.append((lost, task, fault))
    task.reader.wait()
    if len(met) % 2:
        proxy.deliver_late()
    return []


TRIALS = (
    Trial("Connection cut for good before a transition or an event is sent", _run_cut("before")),
    Trial("Connection cut for good before the reply to a transition or an event", _run_cut("after")),
    Trial("Connection cut, and the command delivered late", run_late),
)
