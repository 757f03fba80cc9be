"""What a lane does before its first task, so that the task finds everything built."""

from __future__ import annotations

import subprocess
import sys

from deployment.catalogue import ROOT

PROGRAM = """
import sys
calls = []
sys.addaudithook(lambda event, args: event in {reaching} and calls.append(event))
from shared.llm.runner import warm
warm()
print(sorted({needed} - set(sys.modules)), calls)
"""


REACHING = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg"}
NEEDED = {"langchain_openai", "openai", "orjson", "shared.llm.chat"}


def test_warming_loads_the_model_s_libraries_and_calls_nobody() -> None:
    program = PROGRAM.format(reaching=REACHING, needed=NEEDED)
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=80, check=True
    )
    assert ran.stdout == "[] []\n"
