"""The stop button: whoever waits for a provider wakes up at once, and the provider sees the connection close."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread

import pytest

from devstack.llm import LlmStandIn
from shared.errors import AttemptLost
from shared.llm.runner import Outcome
from shared.routing import Template
from tests.integration.llm_kit import Attempt, make_call, wait_until

FAR_SECONDS = 80.0
"""An idle limit that no test waits for: what ends a call here is the stop, or the test's own time limit."""


@pytest.fixture
def llm() -> Iterator[LlmStandIn]:
    with LlmStandIn() as stand_in:
        yield stand_in


class Runner(Thread):
    """Runs an attempt as a lane's request thread does."""

    def __init__(self, attempt: Attempt, template: Template) -> None:
        super().__init__(daemon=True)
        self.attempt, self.template = attempt, template
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self.attempt.run(make_call(self.template))
        except Exception as error:
            self.error = error

    def ended(self) -> bool:
        return not self.is_alive()


@pytest.mark.parametrize("template", [Template.JOB_MATCH, Template.RESUME_SUMMARY])
def test_a_stop_before_the_first_byte_ends_the_call_at_once(llm: LlmStandIn, template: Template) -> None:
    llm.fail("hang")
    runner = Runner(Attempt(llm, FAR_SECONDS), template)
    wait_until(lambda: bool(llm.state["running"]))
    lost = AttemptLost()
    runner.attempt.stop.stop(lost)
    wait_until(runner.ended)
    assert runner.error is lost
    wait_until(lambda: llm.state["closedEarly"] == 1 and not llm.state["running"])


def test_a_stop_in_mid_stream_ends_the_call_at_once(llm: LlmStandIn) -> None:
    llm.fail("silence")
    runner = Runner(Attempt(llm, FAR_SECONDS), Template.INTERVIEW_PREP)
    wait_until(lambda: len(runner.attempt.texts) == 5)
    lost = AttemptLost()
    runner.attempt.stop.stop(lost)
    wait_until(runner.ended)
    assert runner.error is lost
    assert len(runner.attempt.texts) == 5
    wait_until(lambda: llm.state["closedEarly"] == 1)


def test_the_first_reason_to_stop_stays(llm: LlmStandIn) -> None:
    llm.fail("hang")
    runner = Runner(Attempt(llm, FAR_SECONDS), Template.JOB_MATCH)
    wait_until(lambda: bool(llm.state["running"]))
    first = AttemptLost("cancelled")
    runner.attempt.stop.stop(first)
    runner.attempt.stop.stop(AttemptLost("taken over"))
    wait_until(runner.ended)
    assert runner.error is first


def test_an_attempt_stopped_before_it_began_calls_no_provider(llm: LlmStandIn) -> None:
    attempt = Attempt(llm)
    attempt.stop.stop(AttemptLost())
    with pytest.raises(AttemptLost):
        attempt.run(make_call(Template.JOB_MATCH))
    assert llm.state["calls"] == 0


def test_a_stop_that_comes_with_the_last_word_leaves_no_result(llm: LlmStandIn) -> None:
    attempt = Attempt(llm)
    attempt.on_text = lambda _: attempt.stop.stop(AttemptLost())
    with pytest.raises(AttemptLost):
        attempt.run(make_call(Template.JOB_MATCH))


def test_a_callback_that_raises_closes_the_provider_s_stream(llm: LlmStandIn) -> None:
    """A fenced write stops the model at the next token."""
    llm.pace.tokens_per_second = 50

    def refuse(_text: str) -> None:
        raise AttemptLost

    with pytest.raises(AttemptLost):
        Attempt(llm, on_text=refuse).run(make_call(Template.INTERVIEW_PREP))
    wait_until(lambda: llm.state["closedEarly"] == 1 and not llm.state["running"])


def test_stopping_one_attempt_leaves_the_others_alone(llm: LlmStandIn) -> None:
    llm.pace.tokens_per_second = 2_000
    stopped, other = (Runner(Attempt(llm), Template.INTERVIEW_PREP) for _ in range(2))
    wait_until(lambda: bool(stopped.attempt.texts and other.attempt.texts))
    stopped.attempt.stop.stop(AttemptLost())
    wait_until(lambda: stopped.ended() and other.ended(), seconds=30)
    assert isinstance(stopped.error, AttemptLost)
    assert other.outcome is not None


def test_a_stop_frees_a_socket_that_opens_later(llm: LlmStandIn) -> None:
    """The press and the connection race: whichever comes second must see the other."""
    for _ in range(20):
        llm.fail("hang")
        runner = Runner(Attempt(llm, FAR_SECONDS), Template.JOB_MATCH)
        time.sleep(0)
        runner.attempt.stop.stop(AttemptLost())
        wait_until(runner.ended)
        assert isinstance(runner.error, AttemptLost)
        llm.heal()
