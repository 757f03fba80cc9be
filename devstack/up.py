"""`make up`: the dev stack and its page until Ctrl-C, with all that is needed to talk to it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from deployment.bundles.staging import BUILD_FOLDER, BuildError
from deployment.catalogue import load_catalogue
from devstack.following import Follower
from devstack.interruption import exit_on_termination
from devstack.llm.local import VARIABLES, LocalModel
from devstack.llm.local_setup import prepare
from devstack.page.server import PageServer
from devstack.processes import StackError, free_ports
from devstack.stack import Stack
from shared.routing import Provider

EXAMPLE_USER = "dev"
ENDPOINT, TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
QUICK_RECOVERY = {"LEASE_SECONDS": "6", "MODEL_IDLE_SECONDS": "8"}
"""So that whoever breaks something on the page sees it mended soon; only where the stand-in answers."""
_HOW_TO_TALK = """to talk to it as the user "{user}", paste these lines into another terminal, or say . {file}
{lines}
docs/api.md has every call, ready to paste after them.

Ctrl-C ends everything.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the stack until it is interrupted and return the exit status."""
    options = _parser().parse_args(arguments)
    exit_on_termination()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    port = options.port or free_ports(1)[0]
    origins = tuple(f"http://{host}:{port}" for host in ("127.0.0.1", "localhost"))
    has_stand_in = options.llm == "stand-in" and not any(
        os.environ.get(f"{provider.upper()}_API_KEY") for provider in Provider
    )
    try:
        with (
            _local_model(options, console) as model,
            Stack(
                store=options.store,
                proxied=True,
                fronted=("events",),
                overrides={
                    "LOG_FORMAT": "human",
                    **(QUICK_RECOVERY if has_stand_in else {}),
                    **(VARIABLES if model else {}),
                    **telemetry_of(os.environ),
                    **dict(options.set),
                },
                provider_environment=model.provider_environment if model else os.environ,
                allowed_origins=origins,
                first_token_ms=options.first_token_ms,
                tokens_per_second=options.tokens_per_second,
                build_folder=options.build_folder,
            ) as stack,
            PageServer(stack, port, has_stand_in=has_stand_in) as page,
        ):
            traces = traces_line(telemetry_of(os.environ) | dict(options.set))
            console.print(describe(stack, page.url, model.base_url if model else stack.llm.base_url, traces))
            with exports(stack, options.build_folder / "up.env") as lines:
                console.print(lines)
                logs = [stack.log_folder / f"{name}.log" for name in stack.functions]
                with Follower(logs, console.print) if options.logs else contextlib.nullcontext():
                    threading.Event().wait()
    except (StackError, BuildError) as error:
        console.print(f"up: {error}", style="red")
        return 1
    except KeyboardInterrupt:
        console.print("\nended, with everything that was started")
    return 0


@contextlib.contextmanager
def _local_model(options: argparse.Namespace, console: Console) -> Iterator[LocalModel | None]:
    """Run the local model while the stack runs, if it was asked for."""
    with contextlib.ExitStack() as running:
        model = None
        if options.llm == "local":
            log_file = options.build_folder / "logs" / "local_llm.log"
            model = running.enter_context(LocalModel(prepare(console.print), log_file, console.print))
        console.print("booting: Valkey, QStash and LLM stand-ins, seven functions …")
        yield model


def telemetry_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what an environment says of where traces and metrics go, by the functions' own variables."""
    known = {name for spec in load_catalogue().values() for name in spec.environment_names}
    return {
        name: value
        for name, value in environ.items()
        if name in known and name.startswith(("OTEL_", "TELEMETRY_"))
    }


def traces_line(variables: Mapping[str, str]) -> str:
    """Say where traces go, or how to have them."""
    endpoint = variables.get(ENDPOINT) or variables.get(TRACES_ENDPOINT)
    return endpoint or f"nowhere; {ENDPOINT}=http://127.0.0.1:4318 make up sends them there"


def describe(stack: Stack, page_url: str, llm_url: str, traces: str) -> str:
    """Return what a developer needs to know about a running stack."""
    functions = "\n".join(f"  {name:<12} {stack.url(name)}" for name in stack.functions)
    return f"""
page           {page_url}
operators      {stack.url("actions")}/ops   token {stack.ops_token}

functions (their logs are in {stack.log_folder})
{functions}
Redis          {stack.redis_url}
QStash         {stack.qstash.url}   token {stack.qstash.token}
LLM            {llm_url}
traces         {traces}
"""


@contextlib.contextmanager
def exports(stack: Stack, file: Path) -> Iterator[str]:
    """Keep what a terminal needs to talk to the stack in a file, while the stack runs.

    Yields the lines for a developer to paste. The file holds a token, so only its owner may read it.
    """
    variables = {
        "ACTIONS": stack.url("actions"),
        "TOKEN": stack.user_token(EXAMPLE_USER),
        "REDIS_URL": stack.redis_url,
        "ACTIONS_URL": stack.url("actions"),
        "OPS_TOKEN": stack.ops_token,
    }
    lines = "\n".join(f"export {name}={value}" for name, value in variables.items())
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    try:
        file.write_text(f"{lines}\n", encoding="utf-8")
        yield _HOW_TO_TALK.format(user=EXAMPLE_USER, file=file, lines=lines)
    finally:
        file.unlink(missing_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make up", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the page's port (default: a free one)")
    parser.add_argument("--store", choices=("tcp", "rest"), default="tcp", help="how functions reach Redis")
    parser.add_argument(
        "--llm",
        choices=("stand-in", "local"),
        default="stand-in",
        help="who answers: the stand-in, or a real small model on this machine, slow and simple "
        "(make up LLM=local; the first time it is compiled, which needs gcc and g++ and takes minutes: "
        "docs/local-model.md)",
    )
    parser.add_argument("--logs", action="store_true", help="show what the functions log, as they log it")
    parser.add_argument("--first-token-ms", type=float, default=400, help="how long the LLM stand-in thinks")
    parser.add_argument("--tokens-per-second", type=float, default=50, help="how fast it then talks")
    parser.add_argument("--build-folder", type=Path, default=BUILD_FOLDER, help="where bundles and logs go")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help="a variable of docs/configuration.md with another value, for example LEASE_SECONDS=5",
    )
    return parser


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
