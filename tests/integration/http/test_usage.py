"""What an attempt used reaches the journal, whichever way it ended."""

from __future__ import annotations

from shared.errors import PermanentTaskError, RetryableTaskError, TaskError
from shared.state.journal import StepEnd, ended_steps
from tests.integration.http.kit import World
from tests.integration.http.stand_ins import failing

USED = {"promptTokens": 1000, "completionTokens": 10, "cost": 0.5, "currency": "CNY"}


def with_usage(error: TaskError) -> TaskError:
    error.usage = USED
    return error


def only_end(world: World) -> StepEnd:
    (end,) = ended_steps(world.store)
    return end


def test_what_a_repeated_attempt_used_counts_with_the_one_that_finished(world: World) -> None:
    world.model.acts.append(failing(with_usage(RetryableTaskError("provider_error", "It broke."))))
    _, publish = world.start()
    assert world.deliver(publish).status_code == 503
    world.finish(publish)
    end = only_end(world)
    assert (end.state, end.attempts) == ("done", 2)
    assert (end.tokens_in, end.tokens_out, end.cost_micros) == (1007, 15, 500_020)


def test_what_an_attempt_used_that_failed_for_good_is_counted(world: World) -> None:
    world.model.acts.append(failing(with_usage(PermanentTaskError("invalid_output", "Of no use."))))
    _, publish = world.start()
    assert world.deliver(publish).status_code == 489
    end = only_end(world)
    assert (end.code, end.tokens_in, end.cost_micros) == ("invalid_output", 1000, 500_000)


def test_an_attempt_whose_provider_is_away_for_too_long_still_tells_what_it_used(world: World) -> None:
    error = RetryableTaskError("provider_error", "Tomorrow.", retry_after_seconds=86_400)
    world.model.acts.append(failing(with_usage(error)))
    _, publish = world.start()
    assert world.deliver(publish).status_code == 489
    assert only_end(world).tokens_in == 1000
