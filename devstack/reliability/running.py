"""Runs sections of trials, each on a stack of its own; whatever a trial does, the others are run."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from deployment.bundles.staging import BUILD_FOLDER
from devstack.reliability.results import SectionResult, TrialResult
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import Effort, Section, Trial
from devstack.stack import Stack

TRIALS_FOLDER = BUILD_FOLDER / "reliability"
"""Bundles and logs of these runs; a stack that runs beside them has its own."""
_ROOT = Path(__file__).parents[2]

OpenStack = Callable[[Section], AbstractContextManager[Stack]]


class Watcher(Protocol):
    """Told how the run goes on."""

    def booting(self, section: Section) -> None: ...
    def began(self, section: Section, trial: Trial, tally: Tally) -> None: ...
    def ended(self, section: Section, result: TrialResult) -> None: ...


def open_stack(section: Section) -> AbstractContextManager[Stack]:
    """Boot the stack that a section's trials share."""
    return Stack(build_folder=TRIALS_FOLDER, **section.stack)


def run_sections(
    sections: Sequence[Section], effort: Effort, watcher: Watcher, opened: OpenStack = open_stack
) -> Iterator[SectionResult]:
    """Run sections one after another, and yield each as it ends."""
    for section in sections:
        yield SectionResult.of(section, _SectionRun(section, effort, watcher, opened).run())


class _SectionRun:
    """One section's run. A stack on which a trial did not hold is left: the next trial gets a fresh one."""

    def __init__(self, section: Section, effort: Effort, watcher: Watcher, opened: OpenStack) -> None:
        self._section = section
        self._effort = effort
        self._watcher = watcher
        self._opened = opened

    def run(self) -> list[TrialResult]:
        results: list[TrialResult] = []
        left = list(self._section.trials)
        while left:
            self._watcher.booting(self._section)
            results += self._on_one_stack(left)
        return results

    def _on_one_stack(self, left: list[Trial]) -> list[TrialResult]:
        results: list[TrialResult] = []
        try:
            with self._opened(self._section) as stack:
                while left and (not results or results[-1].held):
                    results.append(self._run_trial(stack, left.pop(0)))
        except Exception as error:  # noqa: BLE001 - a stack that does not boot or end is a finding of its trial
            if results:
                results[-1] = results[-1].with_problem(f"the stack did not end: {_told(error)}")
            else:
                results.append(self._end(left.pop(0), Tally(), 0.0, f"no stack: {_told(error)}"))
        return results

    def _run_trial(self, stack: Stack, trial: Trial) -> TrialResult:
        tally, started, broke_off = Tally(), time.monotonic(), None
        self._watcher.began(self._section, trial, tally)
        try:
            with _broken_threads() as broken:
                trial.run(stack, tally, self._effort)
        except Exception as error:  # noqa: BLE001 - a trial that breaks off is a row, and the others go on
            broke_off = _told(error)
        tally.problems += [Problem("wrong", f"a thread broke off: {_told(error)}") for error in broken]
        result = self._end(trial, tally, time.monotonic() - started, broke_off)
        if not result.held:
            self._keep_logs(stack.log_folder, trial)
        return result

    def _end(self, trial: Trial, tally: Tally, seconds: float, broke_off: str | None) -> TrialResult:
        result = TrialResult.of(trial.title, tally, seconds=seconds, broke_off=broke_off)
        self._watcher.ended(self._section, result)
        return result

    def _keep_logs(self, logs: Path, trial: Trial) -> None:
        """Copy the functions' logs to where the next stack does not empty them."""
        number = self._section.trials.index(trial) + 1
        kept = logs.parent / "failed" / f"{self._section.name}-{number}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(logs, kept)


@contextlib.contextmanager
def _broken_threads() -> Iterator[list[BaseException]]:
    """Collect what threads end with, such as a reader whose request failed; nothing of it is printed."""
    broken: list[BaseException] = []
    usual = threading.excepthook

    def collect(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None:
            broken.append(ended.exc_value)

    threading.excepthook = collect
    try:
        yield broken
    finally:
        threading.excepthook = usual


def _told(error: BaseException) -> str:
    """Return an error and where it was raised, without a path outside the project."""
    inside = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_ours(frame.filename)]
    place = f" ({Path(inside[-1].filename).relative_to(_ROOT)}:{inside[-1].lineno})" if inside else ""
    text = str(error).replace(str(_ROOT), ".").replace(str(Path.home()), "~")
    return f"{type(error).__name__}: {text}{place}"


def _is_ours(filename: str) -> bool:
    path = Path(filename)
    return path.is_relative_to(_ROOT) and ".venv" not in path.parts
