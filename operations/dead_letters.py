"""`dlq`: QStash's dead-letter queue, as `actions` sees it; and taking a letter out of it for good."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from operations.calling import Actions, add_name, calling, confirmed
from operations.changing import login_name
from operations.words import clock_time, console, print_json, table


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "dlq",
        help="dead letters: messages that QStash gave up on",
        description="List the messages that QStash gave up on, with what replaying each would do; or take "
        "one away. Takes ACTIONS_URL and OPS_TOKEN from the environment: only actions may ask QStash.",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=_list, by=login_name())
    orders = parser.add_subparsers(dest="order", metavar="")
    delete = orders.add_parser(
        "delete",
        help="take a letter away for good",
        description="Take a dead letter out of the queue for good; its task stays as it is.",
    )
    delete.add_argument("letter_id", metavar="ID", help="the letter's id")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    add_name(delete)
    delete.set_defaults(run=_delete)


def _list(options: argparse.Namespace) -> int:
    with calling(options) as actions:
        letters = list(all_letters(actions))
    if options.json:
        print_json(letters)
        return 0
    if not letters:
        print("There are no dead letters.")
        return 0
    shown = table("letter", "published (UTC)", "about", "task", "state", "why", "replay")
    for letter in letters:
        shown.add_row(
            letter["dlqId"],
            clock_time(letter["at"]),
            _about(letter),
            letter["taskId"] or "",
            letter["taskState"] or ("not kept" if letter["taskId"] else ""),
            f"{letter['status'] or 'no answer'} {letter['code'] or ''}".strip(),
            letter["replay"] or "no",
        )
    console().print(shown)
    return 0


def all_letters(actions: Actions) -> Iterator[dict[str, Any]]:
    """Yield every dead letter, page by page."""
    query: dict[str, str] | None = None
    while True:
        page = actions.ask("GET", "dead-letters", query=query)
        yield from page["deadLetters"]
        if not page["cursor"]:
            return
        query = {"cursor": page["cursor"]}


def _about(letter: dict[str, Any]) -> str:
    if letter["kind"] == "task":
        return f"{letter['templateId']} in {letter['queueId']}"
    return f"{letter['kind']} {letter['path']}"


def _delete(options: argparse.Namespace) -> int:
    with calling(options) as actions:
        if not confirmed(options, f"Delete dead letter {options.letter_id} for good?"):
            return 1
        actions.ask("DELETE", f"dead-letters/{quote(options.letter_id, safe='')}")
    print(f"Deleted {options.letter_id}; its task stays as it is.")
    return 0
