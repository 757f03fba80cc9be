"""`limits`: every limit that holds here, and the variable that sets it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from operations.words import console, print_json, table
from shared.config import ConcurrencyConfig, get_concurrency_config
from shared.routing import Lane, Provider
from shared.state.overview import MODEL_TIERS


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: what it bounds, its value here and without any variable, and which variable changes it."""

    what: str
    value: int
    default: int
    variable: str


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "limits",
        help="every limit, and the variable that sets it",
        description="Show every limit of slots, places and users as this environment's variables give it; "
        "the functions must run with the same.",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    limits = list(all_limits(get_concurrency_config()))
    if options.json:
        print_json([{name: getattr(each, name) for name in Limit.__slots__} for each in limits])
        return 0
    shown = table("limit", "here", "default", "set by", right=("here", "default"))
    for each in limits:
        here = Text(str(each.value), "bold" if each.value != each.default else "")
        shown.add_row(each.what, here, str(each.default), each.variable)
    console().print(shown)
    return 0


def all_limits(config: ConcurrencyConfig) -> Iterator[Limit]:
    """Yield every limit of a configuration."""
    plain = get_concurrency_config({})
    for model, tier in MODEL_TIERS:
        pair = f"{model}:{tier}"
        workers = "DEEPSEEK_MAX_WORKERS" if model.provider is Provider.DEEPSEEK else "GLM_MAX_WORKERS"
        variable = "MODEL_SLOTS" if pair in config.model_slots else workers
        yield Limit(f"slots of {pair}", config.slots(model, tier), plain.slots(model, tier), variable)
    for lane in Lane:
        variable = f"QUEUE_MAX_{lane.upper()}" if lane in config.queue_max else "QUEUE_MAX_SIZE"
        yield Limit(f"places of {lane}", config.places(lane), plain.places(lane), variable)
    yield Limit("open tasks of a user", config.user_max_active, plain.user_max_active, "USER_MAX_ACTIVE")
