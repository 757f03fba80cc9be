"""`python -m devstack.demo`: boot, play the story, prove it, report it; 0 only if all of it held."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import uuid
from pathlib import Path

from rich.console import Console

from deployment.bundles.staging import BUILD_FOLDER, BuildError
from devstack.demo.board import Board
from devstack.demo.client import Client, Refusal
from devstack.demo.meter import CommandMeter, read_tokens
from devstack.demo.proof import Check, prove
from devstack.demo.report import Report, build_report, print_report, write_markdown
from devstack.demo.screen import screen_for
from devstack.demo.story import COINS, Story, StoryStopped
from devstack.interruption import exit_on_termination
from devstack.processes import StackError
from devstack.stack import Stack
from shared.routing import Provider

LOG_COLUMNS = 160
"""The width of a log: nobody resizes it, and a table that is not folded can be searched."""
ACCEPTANCE_FILE = BUILD_FOLDER / "acceptance.md"


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    options = _parser().parse_args(arguments)
    exit_on_termination()
    console = Console()
    if not console.is_terminal:
        console.width = LOG_COLUMNS
    try:
        report = _run(console, options)
    except (StackError, BuildError) as error:
        console.print(f"demo: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("demo: interrupted; everything it started has been ended")
        return 130
    print_report(report, console)
    write_markdown(report, options.log)
    console.print(f"acceptance log: {_short(options.log)}", highlight=False)
    return 0 if report.held else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--store", choices=("tcp", "rest"), default="tcp", help="how functions reach Redis")
    parser.add_argument("--first-token-ms", type=float, default=200, help="how long the LLM stand-in thinks")
    parser.add_argument("--tokens-per-second", type=float, default=250, help="how fast it then talks")
    parser.add_argument("--log", type=Path, default=ACCEPTANCE_FILE, help="where the acceptance log goes")
    return parser


def _run(console: Console, options: argparse.Namespace) -> Report:
    console.print("booting: Valkey, QStash and LLM stand-ins, seven functions", highlight=False)
    user_id = f"demo-{uuid.uuid4().hex[:8]}"
    with Stack(
        store=options.store,
        overrides={"INITIAL_QUOTA": str(COINS)},
        provider_environment=os.environ,
        first_token_ms=options.first_token_ms,
        tokens_per_second=options.tokens_per_second,
    ) as stack:
        board = Board(stack)
        with Client(stack.url("actions"), stack.user_token(user_id)) as client:
            meter = CommandMeter(stack.redis_url)
            story = Story(client, board, screen_for(console, board))
            with meter, board, story.screen:
                stopped = _play(story)
            checks = [*stopped, *prove(stack, client, story, user_id)]
        with contextlib.closing(stack.open_store()) as store:
            for task in board.tasks:
                task.tokens = read_tokens(store, task.task_id)
        return build_report(board, meter, checks, models=_models())


def _play(story: Story) -> list[Check]:
    """Play the story; when it breaks off, that is the first finding, and the proof is made all the same."""
    try:
        story.play()
    except (StoryStopped, Refusal) as error:
        return [Check("the story was played to its end", False, str(error))]
    return [Check("the story was played to its end", True, f"{len(story.board.tasks)} tasks")]


def _models() -> str:
    real = [provider for provider in Provider if os.environ.get(f"{provider.upper()}_API_KEY")]
    if not real:
        return "Models: the LLM stand-in; with DEEPSEEK_API_KEY and GLM_API_KEY set, the real ones."
    return f"Models: {', '.join(real)} for real" + (
        "" if len(real) == len(Provider) else ", the rest the stand-in"
    )


def _short(file: Path) -> str:
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


if __name__ == "__main__":
    sys.exit(main())
