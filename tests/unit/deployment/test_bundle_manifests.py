"""A package's identity is what is in it and what for; bytecode, sizes and order play no part."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployment.bundles.archives import Member, deflate
from deployment.bundles.manifests import package_digest
from deployment.bundles.targets import PLATFORMS, Target

TARGET = Target("3.13", PLATFORMS[0])
MEMBERS = [deflate("main.py", b"import shade\n"), deflate("run.sh", b"#!/bin/sh\n", executable=True)]


def digest(*members: Member, target: Target = TARGET, bytecode: bool = True) -> str:
    return package_digest(members, target, bytecode=bytecode)


def test_order_plays_no_part() -> None:
    assert digest(*MEMBERS) == digest(*reversed(MEMBERS))


def test_bytecode_and_how_well_it_is_deflated_play_no_part() -> None:
    compiled = deflate("__pycache__/main.cpython-313.pyc", b"anything")
    pressed = [replace(member, deflated=b"otherwise") for member in MEMBERS]
    assert digest(*pressed, compiled) == digest(*MEMBERS)


@pytest.mark.parametrize(
    "other",
    [
        deflate("main.py", b"import shade \n"),
        deflate("main.py", b"import shade\n", executable=True),
        deflate("maim.py", b"import shade\n"),
    ],
    ids=["content", "mode", "path"],
)
def test_path_mode_and_content_of_every_file_are_part_of_it(other: Member) -> None:
    assert digest(other, MEMBERS[1]) != digest(*MEMBERS)


def test_what_it_is_for_is_part_of_it() -> None:
    others = [Target("3.12", PLATFORMS[0]), Target("3.13", PLATFORMS[1])]
    digests = {digest(*MEMBERS), digest(*MEMBERS, bytecode=False)}
    assert len(digests | {digest(*MEMBERS, target=other) for other in others}) == 4
