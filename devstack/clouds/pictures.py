"""`python -m devstack.clouds.pictures`: deploying in a terminal, as a picture for the documents.

What is on it has happened: in a copy of this checkout an environment is released, a prompt is changed, and
the commands are run; their own words and colours are drawn.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from devstack.demo.film import rows_of
from devstack.demo.svg import Frame, draw

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "images" / "deploy.svg"
COPIED = ("deployment", "devstack", "functions", "infra", "requirements", "scripts", "shared")
COLUMNS = 82
SHOWN = ("plan", "verify")
_CHANGES = 2


class Checkout:
    """A copy of this checkout, whose environments are its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        (folder / ".venv").symlink_to(ROOT / ".venv")

    def run(self, *arguments: str) -> str:
        """Run a command as on a terminal and return its results, colours included."""
        terminal = {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
        done = subprocess.run(  # noqa: S603  # our own command, no shell
            [sys.executable, "scripts/deploy.py", *arguments],
            cwd=self._folder,
            env=os.environ | terminal,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in {0, _CHANGES}:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def change_a_prompt(self) -> None:
        prompt = self._folder / "shared" / "llm" / "prompts" / "interview_prep" / "en.md"
        prompt.write_text(prompt.read_text(encoding="utf-8") + "Be kind.\n", encoding="utf-8")


def main() -> int:
    """Deploy, draw what the commands said, and remove it all again."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="sluice-pictures-") as folder:
        checkout = Checkout(Path(folder) / "checkout")
        try:
            with console.status("releasing to an environment of its own"):
                checkout.run("apply", "--env", "dev")
                checkout.change_a_prompt()
                said = [(f"scripts/deploy.py {name}", checkout.run(name, "--env", "dev")) for name in SHOWN]
        finally:
            checkout.run("destroy", "--env", "dev", "--confirm", "dev")
    FILE.write_text(picture(said), encoding="utf-8")
    console.print(f"{FILE.relative_to(ROOT)}: {FILE.stat().st_size // 1000} KB")
    return 0


def picture(said: Sequence[tuple[str, str]]) -> str:
    """Return commands, each with what it said, as they stand on a terminal one below the other."""
    shown = Text("\n").join(
        [
            Text.assemble(("$ ", "bold green"), (command, "bold"), "\n", Text.from_ansi(out))
            for command, out in said
        ]
    )
    rows = rows_of(shown, ConsoleDimensions(COLUMNS, sum(out.count("\n") + 3 for _, out in said)))
    return draw([Frame(rows, 1.0)], columns=COLUMNS, rows=len(rows), title="deploying", appearance="dark")


if __name__ == "__main__":
    sys.exit(main())
