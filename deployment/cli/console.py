"""What the command says: results on standard output, progress and errors on standard error.

On a terminal a step that is under way turns; in a log there is one line for each, when it begins. With
`--json` standard output holds one JSON document and nothing else.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.status import Status
from rich.text import Text

from deployment.rendering import Line, lines_of, progress_text, summary_of
from deployment.steps import Plan, Step

LOG_WIDTH = 200
"""Characters of a line where nobody's screen sets a limit."""
SIGN_STYLES = {"+": "green", "~": "yellow", "-": "red", ">": "cyan"}


class Terminal:
    """Where the command speaks; implements `deployment.execution.Progress`."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        out: Console | None = None,
        err: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.as_json = as_json
        self.out = out or _console(stderr=False)
        self.err = err or _console(stderr=True)
        self._clock = clock
        self._began = clock()
        self._status: Status | None = None

    def say(self, what: RenderableType = "") -> None:
        """Say something to people; nothing when a machine listens."""
        if not self.as_json:
            self.out.print(what, markup=False)

    def answer(self, document: Any) -> None:
        """Give a machine its document."""
        sys.stdout.write(json.dumps(document, indent=1, sort_keys=True) + "\n")

    def note(self, text: str) -> None:
        """Say something beside the result."""
        self._stop()
        self.err.print(text, markup=False)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that something takes its time."""
        self._start(text)
        try:
            yield
        finally:
            self._stop()

    def show_plan(self, plan: Plan) -> None:
        """Show a plan, function by function."""
        subject = None
        for line in lines_of(plan):
            if line.subject != subject:
                subject = line.subject
                self.say()
                self.say(Text(f"  {subject}", "bold"))
            self._show_line(line)
        if not plan.empty:
            self.say()
        self.say(f"{plan.environment}: {summary_of(plan)}.")

    def begin(self, number: int, total: int, step: Step) -> None:
        self._began = self._clock()
        self._start(f"[{number}/{total}] {progress_text(step)}")

    def done(self, step: Step) -> None:
        self._stop()
        if self.err.is_terminal:
            took = self._clock() - self._began
            self.err.print(Text.assemble(("  ✓ ", "green"), progress_text(step), (f"  {took:.1f} s", "dim")))

    def going_back(self, why: BaseException) -> None:
        self._stop()
        reason = "interrupted" if isinstance(why, KeyboardInterrupt) else "a step failed"
        self.err.print(Text(f"  {reason}: every function is led back to what was live before", "bold yellow"))

    def _show_line(self, line: Line) -> None:
        self.say(Text.assemble(("    " + line.sign + " ", SIGN_STYLES[line.sign]), line.text))
        for detail in line.details:
            self.say(Text("        " + detail, "dim"))

    def _start(self, text: str) -> None:
        self._stop()
        if self.err.is_terminal:
            self._status = self.err.status(Text(text))
            self._status.start()
        else:
            self.err.print(text, markup=False)

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def _console(*, stderr: bool) -> Console:
    """Return a console; in a log, lines are as long as they are."""
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    return console
