#!/usr/bin/env python3
"""The operator's command: compares every queue, slot, quota and ledger with the task records.

    scripts/reconcile.py                what differs; changes nothing
    scripts/reconcile.py --repair       and mends what can be mended without inventing anything

Exact while traffic goes on: each task, slot and account is compared, and repaired, at one moment. Run it as
often as you like; stopped half-way, the next run does the rest.

Takes from the environment REDIS_URL or Upstash's pair of REST variables, and the limits and durations that
the functions run with, where these are not the defaults.

Exit status: 0 nothing differs, or all of it was repaired; 1 something differs; 2 wrong usage or
configuration; 3 no Redis.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a file, not as a module: let `shared` be found
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.config import ReconciliationSettings, load_reconciliation
from shared.errors import ConfigError, SluiceError
from shared.state.reconciliation import Report, reconcile
from shared.state.store import open_store

UNITS = {
    "task": "tasks",
    "account": "accounts",
    "place": "places",
    "slot": "slots",
    "open": "open tasks",
    "active": "open tasks of users",
}


def main(arguments: list[str] | None = None) -> int:
    """Compare, print what differs, and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        report = _reconcile(load_reconciliation(), repair=options.repair)
    except ConfigError as error:
        return _fail(2, str(error))
    except SluiceError as error:
        return _fail(3, f"{error} Run it again: what was not compared is not known.")
    except KeyboardInterrupt:
        return _fail(130, "stopped; what was repaired stays repaired, the next run does the rest")
    _print_report(report, as_json=options.json)
    return 1 if report.unrepaired else 0


def _reconcile(settings: ReconciliationSettings, *, repair: bool) -> Report:
    store = open_store(settings.redis)
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
        store.close()
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


def _fail(status: int, message: str) -> int:
    print(f"reconcile: {message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/reconcile.py",
        description="Compare every queue, slot, quota and ledger with the task records.",
        epilog="Exit status: 0 nothing differs, or all was repaired; 1 something differs; "
        "2 wrong usage or configuration; 3 no Redis.",
    )
    parser.add_argument(
        "--repair", action="store_true", help="mend what can be mended without inventing anything"
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
