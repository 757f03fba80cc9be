"""The start of a function whose secrets are kept elsewhere: fetch them, then become the Functions Framework.

    python3 -m shared.starting --source main.py --target paid_stream --host 127.0.0.1 --port 8080

    SLUICE_SECRETS ─▶ fetch ─▶ environment ─▶ functions_framework, in this process, with the same arguments

Without `SLUICE_SECRETS` the framework runs at once. What runs afterwards finds its variables as if they had
been configured, and nothing of where they came from. A value that is not to be had ends the process with one
line that names its variable and its secret.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence

from shared.config import hold_secrets, load_references
from shared.errors import ConfigError
from shared.secrets_manager import SecretsManager

FRAMEWORK = "functions_framework"


def main(arguments: Sequence[str]) -> None:
    """Run the function that `arguments` name; returns, or exits, when it ends."""
    parser = argparse.ArgumentParser(
        prog="python3 -m shared.starting",
        description="Fetch the secrets that SLUICE_SECRETS names, then run functions_framework.",
        epilog="Every other argument is the Functions Framework's: --source, --host, --port.",
        allow_abbrev=False,
    )
    parser.add_argument("--target", required=True, help="the function's name")
    target = parser.parse_known_args(arguments)[0].target
    try:
        references = load_references()
        if references is not None:
            hold_secrets(SecretsManager(references).fetch())
    except ConfigError as error:
        sys.exit(f"{target} does not start: {error}")
    sys.argv = [FRAMEWORK, *arguments]
    runpy.run_module(FRAMEWORK, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
