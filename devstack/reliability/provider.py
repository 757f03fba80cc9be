"""The provider fails in every way there is: what passes is tried again, what stays ends the task, refunded.

A case is one fault. Each is tried with a streamed and with a structured task, each of a user of its own,
whose calls alone it spoils: a row's cases run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import cycle, islice
from typing import Any

from devstack.llm.pieces import split_pieces
from devstack.reliability.cancels import CANCELS
from devstack.reliability.provider_cases import (
    BROKEN,
    FAILING,
    FINAL,
    LASTING,
    LIMITED,
    SILENT,
    Case,
)
from devstack.reliability.subjects import Started, Subject, all_at_once
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import Effort, Section, Trial
from devstack.reliability.verdict import at_rest
from devstack.stack import Stack
from shared.llm.templates import SPECS
from shared.routing import Template

TIME_SCALE = 0.1
ATTEMPTS = 4
"""TASK_RETRIES and the first."""
HURRIED = 50_000
"""Tokens per second, so that an output cap is reached soon."""
KINDS = (True, False)
"""A streamed task, a structured one."""


# -- one task ------------------------------------------------------------------------------------------------


def _subject(stack: Stack, case: Case, *, streams: bool) -> Subject:
    subject = Subject(stack, case.kind)
    return subject.prepared() if streams else subject


def passes(stack: Stack, case: Case, *, streams: bool) -> list[Problem]:
    """Fail one attempt: the reader hears when the next comes, which is then the whole text's."""
    subject = _subject(stack, case, streams=streams)
    case.arm(subject, streams=streams)
    task = subject.start(streams=streams)
    problems = task.examine(said=subject.text if streams else None)
    return [*problems, *_retried(task, case), *_in_time(task)]


def ends(stack: Stack, case: Case, *, streams: bool) -> list[Problem]:
    """Fail one attempt for good: there is no second."""
    subject = _subject(stack, case, streams=streams)
    case.arm(subject, streams=streams)
    task = subject.start(streams=streams)
    return [*task.examine(ends="error", code=case.code), *_wanted("attempts", task.attempts, [1])]


def goes_on(stack: Stack, case: Case, *, streams: bool) -> list[Problem]:
    """Fail every attempt: the last one ends the task."""
    subject = _subject(stack, case, streams=streams)
    case.arm(subject, streams=streams, attempts=ATTEMPTS)
    task = subject.start(streams=streams)
    problems = task.examine(ends="error", code=case.code)
    every = list(range(1, ATTEMPTS + 1))
    return [*problems, *_wanted("attempts", task.attempts, every), *_in_time(task)]


def _retried(task: Started, case: Case) -> Iterator[Problem]:
    yield from _wanted("attempts", task.attempts, [1, 2])
    yield from _wanted("reasons", [event["reason"] for event in task.retrying], [case.code])
    for event in task.retrying:
        if event["retryAfter"] not in case.delay:
            yield Problem("wrong", f"{case}: to be retried after {event['retryAfter']} s")


def _in_time(task: Started) -> Iterator[Problem]:
    """Yield what came sooner than the provider, and then the reader, was told."""
    told = None
    for event in task.reader.all:
        if told and event["type"] == "start":
            waited_ms, asked_ms = event["at"] - told["at"], told["retryAfter"] * 1000 * TIME_SCALE
            if waited_ms < asked_ms:
                yield Problem("wrong", f"tried again after {waited_ms} of {asked_ms} ms")
        told = event if event["type"] == "retrying" else None


def _wanted(what: str, found: Any, wanted: Any) -> list[Problem]:
    return [] if found == wanted else [Problem("wrong", f"{what}: {found}, not {wanted}")]


# -- the trials ----------------------------------------------------------------------------------------------

One = Callable[..., list[Problem]]


def _each(one: One, cases: tuple[Case, ...]) -> Callable[[Stack, Tally, Effort], None]:
    def run(stack: Stack, tally: Tally, effort: Effort) -> None:
        for _ in range(effort.rounds):
            runs = [partial(one, stack, case, streams=streams) for case in cases for streams in KINDS]
            all_at_once(tally, runs)
            _rest(stack, tally)

    return run


def _rest(stack: Stack, tally: Tally) -> None:
    stack.llm.heal()
    tally.problems += at_rest(stack)


def run_away(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Let nobody listen, and then nobody accept, until both readers have heard that it is retried."""
    for _ in range(effort.rounds):
        for away, code in (
            (stack.llm.refusing, "provider_disconnected"),
            (stack.llm.out_of_reach, "provider_timeout"),
        ):
            subjects = [Subject(stack, "away") for _ in KINDS]
            subjects[0].prepared()
            _away(tally, away, code, subjects)
            _rest(stack, tally)


def _away(
    tally: Tally, away: Callable[[], AbstractContextManager[None]], code: str, subjects: list[Subject]
) -> None:
    with away():
        tasks = [subject.start(streams=streams) for subject, streams in zip(subjects, KINDS, strict=True)]
        reasons = [task.reader.wait_for("retrying")["reason"] for task in tasks]
    for task, reason in zip(tasks, reasons, strict=True):
        problems = task.examine(said=task.owner.text if task.streams else None)
        tally.ran([*problems, *_wanted("reason", reason, code), *_in_time(task)])


def run_endless(stack: Stack, tally: Tally, effort: Effort) -> None:
    """A text is cut at the output cap, and is what was said up to it; a loop and a cut object are refused."""
    usual, stack.llm.pace.tokens_per_second = stack.llm.pace.tokens_per_second, HURRIED
    try:
        for _ in range(effort.rounds):
            all_at_once(tally, [partial(one, stack) for one in (_endless_text, _endless_object, _loop)])
            _rest(stack, tally)
    finally:
        stack.llm.pace.tokens_per_second = usual


def _endless_text(stack: Stack) -> list[Problem]:
    subject = Subject(stack, "endless").prepared()
    subject.fails("endless", streams=True, text=subject.text)
    said = islice(cycle(split_pieces(subject.text)), SPECS[Template.JOB_MATCH].max_tokens)
    return subject.start(streams=True).examine(said="".join(said))


def _endless_object(stack: Stack) -> list[Problem]:
    return ends(stack, Case("endless", "invalid_output", {"text": '{"header": '}, calls=2), streams=False)


def _loop(stack: Stack) -> list[Problem]:
    return ends(stack, Case("loop", "invalid_output", {"text": "and so on, "}), streams=True)


SECTION = Section(
    name="provider",
    promise="A provider's fault that passes is tried again after the provider's own delay and shows the new"
    " text alone; one that stays ends the task at once, refunded; a cancel closes the provider's call.",
    stack={
        "overrides": {
            "LEASE_SECONDS": "1",
            "MODEL_IDLE_SECONDS": "1",
            "WORKER_TIMEOUT_SECONDS": "20",
            "MAX_WAIT_SECONDS_STREAM": "60",
            "MAX_WAIT_SECONDS_BATCH": "60",
            "TASK_RETRIES": str(ATTEMPTS - 1),
            "MODEL_SLOTS": '{"deepseek-reasoner:paid": 30, "deepseek-chat:paid": 30}',
        },
        "first_token_ms": 50,
        "tokens_per_second": 2_000,
        "qstash_time_scale": TIME_SCALE,
    },
    trials=(
        Trial("429 with a Retry-After in seconds, as a date, absurd, or without one", _each(passes, LIMITED)),
        Trial("408, 500, 502, 503, 529, with a Retry-After and without", _each(passes, FAILING)),
        Trial("Connection refused; connect time-out", run_away),
        Trial("No answer; silence before the first token and in mid-stream", _each(passes, SILENT)),
        Trial(
            "Stream cut, unfinished, garbled, no UTF-8, or reporting an error, at once and in mid-stream",
            _each(passes, BROKEN),
        ),
        Trial("Endless stream, endless object, endless loop", run_endless),
        Trial(
            "Tool call, empty answer, content filter, 400, 401, 403, away for a day",
            _each(ends, FINAL),
        ),
        Trial("429, 5xx, no answer, silence, cut, garbled, in every attempt", _each(goes_on, LASTING)),
        CANCELS,
    ),
)
