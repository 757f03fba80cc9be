"""The loader of the Lua scripts in `lua/`: one file, one transition.

A line `-- uses: lib_task …` names files whose functions are put in front of the script, so that what
transitions share is written once. A library is no script of its own.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from shared.state.store import Script

__all__ = ["LUA_FOLDER", "Script", "load_script"]

LUA_FOLDER = Path(__file__).with_name("lua")
_USES = re.compile(r"^-- uses:(.*)$", re.MULTILINE)


@functools.cache
def load_script(name: str) -> Script:
    """Return the script of `lua/{name}.lua` with the libraries it uses; each file is read once.

    Raises:
        FileNotFoundError: there is no such script, or it uses a library that is not there.
    """
    text = _read(name)
    libraries = [library for line in _USES.findall(text) for library in line.split()]
    return Script(name, "\n".join([*map(_read, libraries), text]))


def _read(name: str) -> str:
    return (LUA_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
