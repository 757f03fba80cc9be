"""The picture of deploying shows commands and their own words, in their colours."""

from __future__ import annotations

from devstack.clouds.pictures import picture


def test_commands_stand_below_each_other_with_what_they_said() -> None:
    drawn = picture([("deploy plan", "\x1b[32m+\x1b[0m revision\n"), ("deploy verify", "200  401\n")])
    words = ["deploy plan", "+", "revision", "deploy verify", "200  401"]
    places = [drawn.index(f">{word}<") for word in words]
    assert len(set(places)) == len(words)


def test_a_colour_of_the_terminal_is_one_of_the_picture() -> None:
    assert picture([("x", "\x1b[31mno\x1b[0m\n")]) != picture([("x", "\x1b[32mno\x1b[0m\n")])
