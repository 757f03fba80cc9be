"""What a lane does before its first task, so that the task finds everything built."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deployment.catalogue import ROOT
from shared.routing import Lane, Template, templates_of

PROGRAM = """
import sys
calls = []
sys.addaudithook(lambda event, args: event in {reaching} and calls.append(event))
from shared.llm.runner import warm
from shared.routing import Template
warm(Template("{template}"))
print(sorted({needed} - set(sys.modules)), calls)
"""


REACHING = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg"}
NEEDED = {"langchain_openai", "openai", "orjson", "shared.llm.chat"}


@pytest.mark.parametrize("template", sorted({templates_of(lane)[0] for lane in Lane}))
def test_warming_loads_the_model_s_libraries_and_calls_nobody(template: Template) -> None:
    program = PROGRAM.format(reaching=REACHING, needed=NEEDED, template=template)
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=80, check=True
    )
    assert ran.stdout == "[] []\n"
