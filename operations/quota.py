"""`quota`: support staff's command: a user's coins with every line that led to them, and granting some.

scripts/sluice quota show USER                          each grant, debit and refund; checks that they add up
scripts/sluice quota grant USER 5 --reference CASE-17   once for this reference, however often it is sent
scripts/sluice quota grant USER -5 --take-back          never more than there are
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from shared.auth import MAX_USER_ID_CHARACTERS, is_user_id
from shared.config import LedgerSettings, load_ledger
from shared.errors import SluiceError
from shared.state.quota import Granted, Quota, grant, read_quota
from shared.state.store import Store, open_store

MAX_COINS = 1_000_000
MAX_REFERENCE_CHARACTERS = 200
HEADINGS = ("time (UTC)", "kind", "coins", "balance", "task or reference")


def _run(options: argparse.Namespace) -> int:
    if options.verb == "grant" and (options.coins < 0) != options.take_back:
        options.wrong_usage("COINS below 0 and --take-back belong together")
    try:
        return _answer(options, load_ledger())
    except (ValueError, KeyError, TypeError, OverflowError):
        return _fail(1, f"the ledger of {options.user} holds a line that is none")


def _answer(options: argparse.Namespace, settings: LedgerSettings) -> int:
    store = open_store(settings.redis)
    try:
        if options.verb == "show":
            return _show(store, options, settings.initial_quota)
        return _grant(store, options, settings.initial_quota)
    finally:
        store.close()


def _show(store: Store, options: argparse.Namespace, initial: int) -> int:
    quota = read_quota(store, options.user, initial=initial)
    if options.json:
        print(json.dumps({"user": options.user, **asdict(quota), "unexplained": quota.unexplained}))
    else:
        _print_quota(options.user, quota)
    if quota.unexplained:
        return _fail(1, f"the ledger adds up to {quota.balance - quota.unexplained}, not to {quota.balance}")
    return 0


def _print_quota(user: str, quota: Quota) -> None:
    if not quota.known:
        print(f"{user} was never seen; a first task would find {_coins(quota.balance)}.")
    if quota.ledger:
        _print_table([HEADINGS, *map(_row, quota.ledger)])
    if quota.known:
        print(f"{user} has {_coins(quota.balance)}.")


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    time = datetime.fromtimestamp(line["at"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    about = [line.get("action"), line.get("taskId"), line.get("reference")]
    return (time, line["kind"], f"{line['delta']:+d}", str(line["balance"]), " ".join(filter(None, about)))


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for time, kind, coins, balance, about in rows:
        cells = (
            time.ljust(widths[0]),
            kind.ljust(widths[1]),
            coins.rjust(widths[2]),
            balance.rjust(widths[3]),
            about,
        )
        print("  ".join(cells).rstrip())


def _grant(store: Store, options: argparse.Namespace, initial: int) -> int:
    reference = options.reference or f"grant-{uuid.uuid4()}"
    try:
        granted = grant(store, options.user, options.coins, reference, initial=initial)
    except SluiceError:
        # Whether it has been done is not known; under the same reference asking again is safe.
        print(f"quota: not known to be done; try again with --reference {reference}", file=sys.stderr)
        raise
    if options.json:
        print(json.dumps({"user": options.user, "reference": reference, **asdict(granted)}))
    if granted.status in {"mismatch", "short"}:
        return _fail(1, _refusal(options, reference, granted))
    if not options.json:
        done = "granted" if granted.status == "granted" else "granted before, nothing changed"
        print(f"{options.user}: {granted.coins:+d} {done}; has {_coins(granted.balance)}.")
        print(f"Reference: {reference}")
    return 0


def _refusal(options: argparse.Namespace, reference: str, granted: Granted) -> str:
    if granted.status == "short":
        return f"{options.user} has only {_coins(granted.balance)}; nothing changed"
    return f"{reference} stands for {granted.coins:+d}, not for {options.coins:+d}; nothing changed"


def _coins(number: int) -> str:
    return f"{number} coin{'' if number == 1 else 's'}"


def _fail(status: int, message: str) -> int:
    print(f"quota: {message}", file=sys.stderr)
    return status


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "quota",
        help="a user's coins: show them, grant some",
        description="Show a user's coins with every line that led to them, or grant some.",
    )
    parser.set_defaults(run=_run)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="show|grant")
    show = verbs.add_parser(
        "show",
        help="a user's balance and ledger",
        description="Show each grant, debit and refund, and check that they add up to the balance.",
    )
    _add_shared(show)
    granting = verbs.add_parser(
        "grant",
        help="give a user coins",
        description="Give a user coins. Sent again with the same reference, it changes nothing.",
    )
    _add_shared(granting)
    granting.add_argument("coins", metavar="COINS", type=_coin_count, help=f"how many, at most {MAX_COINS}")
    granting.add_argument(
        "--reference",
        metavar="TEXT",
        type=_reference,
        help="what the grant is for; the user sees it (default: a new one, printed)",
    )
    granting.add_argument(
        "--take-back",
        action="store_true",
        help="allow COINS below 0: a correction, never below an empty balance",
    )
    for verb in (show, granting):
        verb.set_defaults(wrong_usage=verb.error)


def _add_shared(command: argparse.ArgumentParser) -> None:
    command.add_argument("user", metavar="USER", type=_user, help="the `sub` of the user's token")
    command.add_argument("--json", action="store_true", help="answer as JSON")


def _user(text: str) -> str:
    if not is_user_id(text):
        raise argparse.ArgumentTypeError(f"no user id: 1 to {MAX_USER_ID_CHARACTERS} visible characters")
    return text


def _reference(text: str) -> str:
    if not (0 < len(text) <= MAX_REFERENCE_CHARACTERS and text.isprintable()):
        raise argparse.ArgumentTypeError(f"must be 1 to {MAX_REFERENCE_CHARACTERS} visible characters")
    return text


def _coin_count(text: str) -> int:
    coins = int(text)
    if coins == 0 or abs(coins) > MAX_COINS:
        raise argparse.ArgumentTypeError(f"must be from 1 to {MAX_COINS}, or below 0 with --take-back")
    return coins
