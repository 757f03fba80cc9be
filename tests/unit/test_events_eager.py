"""A coroutine that is run at once: no task where there is nothing to wait for, and a task's manners where there is."""

from __future__ import annotations

import asyncio

import pytest

from shared.stream.eager import run_eagerly


def test_what_waits_for_nothing_is_over_when_the_call_returns_and_no_task_was_made() -> None:
    async def main() -> None:
        done: list[str] = []

        async def write() -> None:
            done.append("written")

        assert run_eagerly(write()) is None
        assert done == ["written"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_what_waits_goes_on_in_a_task_through_every_wait() -> None:
    async def main() -> None:
        gates = [asyncio.Event() for _ in range(3)]
        passed: list[int] = []

        async def write() -> None:
            for number, gate in enumerate(gates):
                await gate.wait()
                passed.append(number)

        task = run_eagerly(write())
        assert task is not None
        assert passed == []
        for gate in gates:
            gate.set()
        await task
        assert passed == [0, 1, 2]

    asyncio.run(main())


async def _broken(gate: asyncio.Event) -> None:
    await gate.wait()
    raise ValueError("broken")


def test_an_error_reaches_whoever_started_it() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        gate.set()
        with pytest.raises(ValueError, match="broken"):
            run_eagerly(_broken(gate))

    asyncio.run(main())


def test_an_error_after_a_wait_reaches_whoever_awaits_the_task() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        task = run_eagerly(_broken(gate))
        assert task is not None
        gate.set()
        with pytest.raises(ValueError, match="broken"):
            await task

    asyncio.run(main())


def test_an_error_that_it_waits_into_is_thrown_where_it_waits() -> None:
    async def main() -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        met: list[str] = []

        async def write() -> None:
            try:
                await answer
            except OSError as error:
                met.append(str(error))

        task = run_eagerly(write())
        answer.set_exception(OSError("gone"))
        assert task is not None
        await task
        assert met == ["gone"]

    asyncio.run(main())


def test_a_cancellation_meets_it_where_it_waits_so_that_it_can_tidy_up() -> None:
    async def main() -> None:
        tidied: list[str] = []

        async def write() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                tidied.append("tidy")

        task = run_eagerly(write())
        assert task is not None
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert tidied == ["tidy"]

    asyncio.run(main())


def test_a_task_cancelled_before_it_has_run_leaves_nothing_half_done() -> None:
    async def main() -> None:
        tidied: list[str] = []

        async def write() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                tidied.append("tidy")

        task = run_eagerly(write())
        assert task is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert tidied == ["tidy"]

    asyncio.run(main())
