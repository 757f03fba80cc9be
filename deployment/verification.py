"""The verifier: the N×N table of who lets in whom, asked of the addresses that QStash and the world call.

    rows      whom a delivery was signed for, each lane and `actions`; and what must never, or always, pass:
              the next key, no signature, an unknown key, an expired one, another body
    columns   whom it was delivered to
    cells     the status that came, against the one that had to

200 on the diagonal and with the next key, 401 everywhere else. One wrong cell tells of two functions that
share an address, a lane that has another's ROUTE_URL, keys of another environment. The table is pure data;
only `verify` calls anybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
from rich.table import Table as RichTable
from rich.text import Text

from deployment.deliveries import (
    SIGNATURE_LIFETIME_SECONDS,
    Answer,
    Question,
    accepted_probe,
    ask,
    foreign_probe,
    new_key,
    new_nonce,
    probe_body,
    probe_path,
    refused_probe,
    sign,
    takes_deliveries,
)
from shared.settings import SigningKeys

WORKERS = 8
TRIES = 4
PAUSE_SECONDS = 0.25
STOPPED_STATUSES = (429, 503)
"""What a stopped function's address answers, by provider: none of its code runs."""
NEXT_KEY, UNSIGNED, UNKNOWN_KEY = "with the next key", "unsigned", "with an unknown key"
EXPIRED, OTHER_BODY = "expired", "with another body"


@dataclass(frozen=True, slots=True)
class Cell:
    """One delivery: how it was signed, to whom it went, what had to come and what came."""

    row: str
    column: str
    expected: tuple[int, ...]
    status: int | None
    """None when nothing came."""
    ok: bool
    said: str
    """The error's code or the name of the function that answered; why nothing came."""

    def described(self) -> str:
        """Return one line for people."""
        came = "nothing" if self.status is None else str(self.status)
        said = f" ({self.said})" if self.said else ""
        wanted = " or ".join(map(str, self.expected))
        return f"{self.row}, delivered to {self.column}: {came}{said} where {wanted} was expected"


@dataclass(frozen=True, slots=True)
class Table:
    """All cells, with the rows and columns in their order."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def ok(self) -> bool:
        return bool(self.cells) and not self.wrong

    @property
    def wrong(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if not cell.ok)

    def cell(self, row: str, column: str) -> Cell:
        return next(cell for cell in self.cells if (cell.row, cell.column) == (row, column))

    def to_json(self) -> dict[str, Any]:
        cells = [
            {
                "row": cell.row,
                "column": cell.column,
                "expected": list(cell.expected),
                "status": cell.status,
                "ok": cell.ok,
                "said": cell.said,
            }
            for cell in self.cells
        ]
        return {"ok": self.ok, "rows": list(self.rows), "columns": list(self.columns), "cells": cells}

    def to_text(self) -> str:
        """Return the table as plain text, wrong cells marked with `!`, and a line for each of them below."""
        grid = [["", *self.columns]]
        grid += [[row, *(_shown(self.cell(row, column)) for column in self.columns)] for row in self.rows]
        widths = [max(len(line[place]) for line in grid) for place in range(len(grid[0]))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in grid
        ]
        return "\n".join(
            [*(line.rstrip() for line in lines), *(f"! {cell.described()}" for cell in self.wrong)]
        )

    def to_rich(self) -> RichTable:
        """Return the table for a terminal; wrong cells are marked by more than their colour."""
        table = RichTable(title="delivered to", title_justify="left", header_style="bold", pad_edge=False)
        table.add_column("", no_wrap=True)
        for column in self.columns:
            table.add_column(column.replace("_", "\n"), justify="center")
        for row in self.rows:
            shown = [self.cell(row, column) for column in self.columns]
            table.add_row(row, *(Text(_shown(cell), "green" if cell.ok else "bold red") for cell in shown))
        return table


@dataclass(frozen=True, slots=True)
class Verifier:
    """Asks the functions of one environment, several at once."""

    urls: Mapping[str, str]
    """The public addresses, without a trailing slash, by function."""
    keys: SigningKeys
    client: httpx.Client
    stopped: Collection[str] = ()
    """Functions that somebody has stopped: their addresses answer for nobody."""
    refused_keys: Mapping[str, str] | None = None
    """More keys that must not be good any more, by what their rows are called."""
    workers: int = WORKERS
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time

    def verify(self) -> Table:
        """Ask every function everything and return the table."""
        columns = tuple(name for name in self.urls if takes_deliveries(name))
        asked = [(row, column, q) for column in columns for row, q in self._questions(column, columns)]
        with ThreadPoolExecutor(self.workers, thread_name_prefix="verify") as pool:
            cells = tuple(pool.map(lambda each: self._cell(*each), asked))
        rows = tuple(dict.fromkeys(row for row, _column, _question in asked))
        return Table(rows, columns, cells)

    def _cell(self, row: str, column: str, question: Question) -> Cell:
        answer = self._ask(self.urls[column], question)
        if column in self.stopped:
            stopped = answer.status in STOPPED_STATUSES
            return Cell(row, column, STOPPED_STATUSES, answer.status, stopped, answer.said)
        return Cell(row, column, (question.status,), answer.status, answer.right, answer.said)

    def _ask(self, url: str, question: Question) -> Answer:
        for _ in range(TRIES - 1):
            answer = ask(self.client, url, question)
            if answer.status is not None:
                return answer
            self.wait(PAUSE_SECONDS)
        return ask(self.client, url, question)

    def _questions(self, column: str, columns: Collection[str]) -> Iterator[tuple[str, Question]]:
        now, key = self.clock(), self.keys.current
        own = self._address(column)
        for name in columns:
            row = signed_for(name)
            if name == column:
                yield row, accepted_probe(row, column, own, key, now=now)
            else:
                yield row, foreign_probe(row, column, self._address(name), key, now=now)
        yield NEXT_KEY, accepted_probe(NEXT_KEY, column, own, self.keys.next, now=now)
        yield UNSIGNED, refused_probe(UNSIGNED, column, None)
        yield UNKNOWN_KEY, foreign_probe(UNKNOWN_KEY, column, own, new_key(), now=now)
        for row, old in (self.refused_keys or {}).items():
            yield row, foreign_probe(row, column, own, old, now=now)
        long_ago = now - 2 * SIGNATURE_LIFETIME_SECONDS
        yield EXPIRED, foreign_probe(EXPIRED, column, own, key, now=long_ago)
        signature = sign(own, probe_body(new_nonce()), key, now=now)
        yield OTHER_BODY, refused_probe(OTHER_BODY, column, signature)

    def _address(self, function: str) -> str:
        return self.urls[function] + probe_path(function)


def signed_for(function: str) -> str:
    """Return what the row of deliveries signed for `function` is called."""
    return f"signed for {function}"


def _shown(cell: Cell) -> str:
    status = "none" if cell.status is None else str(cell.status)
    return status if cell.ok else f"{status}!"
