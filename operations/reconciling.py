"""`reconcile`: compares every queue, slot, quota and ledger with the task records, and repairs on request.

    scripts/sluice reconcile             what differs; changes nothing
    scripts/sluice reconcile --repair    and mends what can be mended without inventing anything

Exact while traffic goes on: each task, slot and account is compared, and repaired, at one moment. Run it as
often as you like; stopped half-way, the next run does the rest.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from operations.opening import opened
from shared.state.reconciliation import Report, reconcile

UNITS = {
    "task": "tasks",
    "account": "accounts",
    "place": "places",
    "slot": "slots",
    "open": "open tasks",
    "active": "open tasks of users",
}


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "reconcile",
        help="does everything agree? and mend what does not",
        description="Compare every queue, slot, quota and ledger with the task records.",
        epilog="Exit status: 0 nothing differs, or all was repaired; 1 something differs; "
        "2 wrong usage or configuration; 3 no Redis.",
    )
    parser.add_argument(
        "--repair", action="store_true", help="mend what can be mended without inventing anything"
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(
        run=_run,
        after_failure="Run it again: what was not compared is not known.",
        after_interrupt="stopped; what was repaired stays repaired, the next run does the rest",
    )


def _run(options: argparse.Namespace) -> int:
    report = _reconcile(repair=options.repair)
    _print_report(report, as_json=options.json)
    return 1 if report.unrepaired else 0


def _reconcile(*, repair: bool) -> Report:
    with opened() as (store, settings):
        try:
            return reconcile(
                store,
                concurrency=settings.concurrency,
                time=settings.time,
                stream=settings.stream,
                repair=repair,
                on_progress=_show_progress if sys.stderr.isatty() else lambda _: None,
            )
        finally:
            if sys.stderr.isatty():
                print("\r\033[K", end="", file=sys.stderr, flush=True)


def _show_progress(report: Report) -> None:
    told = f"{report.checked.total()} compared, {len(report.differences)} differ"
    print(f"\r\033[K{told}", end="", file=sys.stderr, flush=True)


def _print_report(report: Report, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_as_json(report)))
        return
    for difference in report.differences:
        mark = "repaired" if difference.repaired else "differs"
        print(f"{mark:8}  {difference.kind:8}  {difference.what}")
    for count, what in (
        (report.ending, "held by attempts that are over: free within one lease"),
        (report.lapsed, "whose lease has lapsed: they do not count"),
    ):
        if count:
            print(f"{count} slot{'' if count == 1 else 's'} {what}")
    compared = ", ".join(f"{report.checked[name]} {unit}" for name, unit in UNITS.items())
    print(f"Compared {compared}.")
    print(_summary(report))


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "unrepaired": len(report.unrepaired),
        "differences": [asdict(difference) for difference in report.differences],
        "checked": {name: report.checked[name] for name in UNITS},
        "ending": report.ending,
        "lapsed": report.lapsed,
    }


def _summary(report: Report) -> str:
    number = len(report.differences)
    if not number:
        return "Nothing differs."
    repaired = number - len(report.unrepaired)
    return f"{number} difference{'' if number == 1 else 's'}, {repaired} repaired."
