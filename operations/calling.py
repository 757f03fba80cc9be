"""A command's way to `actions`, for what it alone may do: publish, and ask QStash about its messages.

`ACTIONS_URL` says where it is, `OPS_TOKEN` opens it. Whoever runs the command is named by `--by`, or else by
their name on this machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from operations.changing import login_name
from shared.config import load_operator
from shared.errors import ConfigError, SluiceError
from shared.settings import OperatorSettings

TIMEOUT_SECONDS = 30.0
NAME_HEADER = "Sluice-Operator"


class NoAnswer(SluiceError):
    """`actions` did not answer."""


class NotDone(Exception):
    """`actions` refused; the text says why."""


@dataclass(frozen=True, slots=True)
class Actions:
    """The operators' JSON of a running `actions`."""

    http: httpx.Client
    base_url: str

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the answer to one call.

        Raises:
            NotDone: it was refused.
            ConfigError: the address or the token is not the right one.
            NoAnswer: there was none, or one that says to come back later.
        """
        try:
            answer = self.http.request(method, f"{self.base_url}/ops/api/{path}", params=query, json=body)
        except httpx.HTTPError as error:
            raise NoAnswer(f"{self.base_url} did not answer: {type(error).__name__}.") from None
        return _read(answer, self.base_url)


def _read(answer: httpx.Response, base_url: str) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or "ok" not in body:
        raise ConfigError(
            f"ACTIONS_URL: what answers at {base_url} is not actions (status {answer.status_code})"
        )
    if body["ok"]:
        return body
    reason = str(body.get("message", "no reason was given"))
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise ConfigError(f"OPS_TOKEN: it is not the token of {base_url}")
    if reason == "There is no such address.":
        raise ConfigError(
            f"{base_url} has no operators' access: it runs without OPS_TOKEN, or is an older release"
        )
    after = f" Come back in {body['retryAfter']} s." if "retryAfter" in body else ""
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise NoAnswer(f"{reason}{after}")
    raise NotDone(f"{reason}{after}")


@contextmanager
def calling(options: argparse.Namespace) -> Iterator[Actions]:
    """Give a way to `actions`, as the environment says.

    Raises:
        ConfigError: ACTIONS_URL or OPS_TOKEN is missing.
    """
    settings: OperatorSettings = load_operator()
    headers = {"Authorization": f"Bearer {settings.ops_token}", NAME_HEADER: quote(options.by)}
    with httpx.Client(headers=headers, timeout=TIMEOUT_SECONDS) as http:
        yield Actions(http, settings.actions_url)


def add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--by",
        default=login_name(),
        metavar="NAME",
        help="who does it; your login name unless given",
    )


def confirmed(options: argparse.Namespace, question: str) -> bool:
    """Ask whether to go on, unless `--yes` has answered; where nobody can be asked, the answer is no."""
    if options.yes:
        return True
    if not sys.stdin.isatty():
        print(f"{options.command}: nobody can be asked here: add --yes", file=sys.stderr)
        return False
    return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
