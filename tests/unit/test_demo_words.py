"""The demo's phrases: whatever is said in one language can be said in the other, of the same facts."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import pytest

from devstack.demo.arguments import parse
from devstack.demo.words import Words
from shared.routing import Template

ROOT = Path(__file__).parents[2]


def places(phrases: dict[str, Any], prefix: str = "") -> dict[str, set[str]]:
    """Return the places to fill of every phrase, by its name."""
    found: dict[str, set[str]] = {}
    for name, phrase in phrases.items():
        if isinstance(phrase, dict):
            found |= places(phrase, f"{prefix}{name}.")
        else:
            found[prefix + name] = {place for _, place, _, _ in string.Formatter().parse(phrase) if place}
    return found


def test_both_languages_have_the_same_phrases_with_the_same_places_to_fill() -> None:
    assert places(Words("en")._phrases) == places(Words("zh")._phrases)


def test_every_phrase_is_said_somewhere_and_every_phrase_that_is_said_is_there() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "devstack" / "demo").glob("*.py"))
    names, known = set(re.findall(r"\w+", source)), places(Words("en")._phrases)
    assert {name for name in known if name.rpartition(".")[2] not in names} <= {
        f"doing.{t}" for t in Template
    }
    assert set(re.findall(r"words\(\s*[\"']([a-z_.]+)[\"']", source)) <= known.keys()


def test_every_structured_template_has_words_for_what_is_done() -> None:
    for template in Template:
        assert template.streams or Words("en")(f"doing.{template}")


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_whatever_a_failed_claim_says_to_look_at_is_there(locale: str) -> None:
    for hint in Words(locale)._phrases["look"].values():  # type: ignore[arg-type]
        for path in re.findall(r"(?:docs|scripts)/[\w/]+\.\w+", hint):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize(("told", "locale"), [("en", "en"), ("zh-CN", "zh"), ("zh", "zh"), ("ZH_cn", "zh")])
def test_a_language_is_known_by_its_usual_names(told: str, locale: str) -> None:
    assert parse(["--locale", told]).locale == locale


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--locale", "de"], "'de' is no language of the demo: en, zh-CN"),
        (["--tokens-per-second", "0"], "0 is not from 20 to 500"),
        (["--tokens-per-second", "fast"], "'fast' is no number"),
        (["--first-token-ms", "nan"], "nan is not from 0 to 10000"),
        (["--store", "disk"], "'tcp', 'rest'"),
        (["--kill"], "--kill"),
    ],
)
def test_a_wrong_argument_is_named_with_what_there_is(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.replace("choose from tcp, rest", "'tcp', 'rest'")
