"""The demo's arguments: a wrong one is named, with what there is instead."""

from __future__ import annotations

import argparse
from pathlib import Path

from deployment.bundles.staging import BUILD_FOLDER
from devstack.demo.words import LOCALES, Locale

MIN_TOKENS_PER_SECOND, MAX_TOKENS_PER_SECOND = 20.0, 500.0
"""Slower would try anybody's patience; faster, a text is written before anything can happen to it."""
MAX_FIRST_TOKEN_MS = 10_000.0
_DESCRIPTION = """
Boots the whole stack on free ports, plays one user's afternoon through all five lanes, breaks a few things on
the way, and proves that every task, coin, place and letter is accounted for. It takes about a minute.
"""
_EXIT_STATUS = "Exit status: 0 if all of it held, 1 if not, 2 for a wrong argument, 130 after Ctrl-C."


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the arguments; a wrong one ends the program with exit status 2."""
    parser = argparse.ArgumentParser(
        prog="make demo",
        usage="make demo [ARGS='OPTION …']",
        description=_DESCRIPTION,
        epilog=_EXIT_STATUS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--locale",
        type=_locale,
        default="en",
        metavar="LOCALE",
        help="the user's language, and the demo's own: en or zh-CN",
    )
    add("--store", choices=("tcp", "rest"), default="tcp", help="how the functions reach Redis: tcp or rest")
    add(
        "--first-token-ms",
        type=_milliseconds,
        default=200.0,
        metavar="MS",
        help="how long the LLM stand-in thinks, 200 unless told",
    )
    add(
        "--tokens-per-second",
        type=_pace,
        default=250.0,
        metavar="N",
        help="how fast it then writes, 250 unless told",
    )
    add(
        "--build",
        type=Path,
        default=BUILD_FOLDER,
        metavar="FOLDER",
        help="for bundles and logs, build unless told",
    )
    add(
        "--log",
        type=Path,
        metavar="FILE",
        help="the acceptance log, acceptance.md in that folder unless told",
    )
    options = parser.parse_args(arguments)
    options.log = options.log or options.build / "acceptance.md"
    return options


def _locale(text: str) -> Locale:
    if text.lower() not in LOCALES:
        raise argparse.ArgumentTypeError(f"{text!r} is no language of the demo: en, zh-CN")
    return LOCALES[text.lower()]


def _pace(text: str) -> float:
    return _number(text, MIN_TOKENS_PER_SECOND, MAX_TOKENS_PER_SECOND)


def _milliseconds(text: str) -> float:
    return _number(text, 0.0, MAX_FIRST_TOKEN_MS)


def _number(text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text} is not from {least:g} to {most:g}")
    return number
