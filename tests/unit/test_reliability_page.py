"""docs/reliability.md, its picture and its figures belong together, and to the trials that there are.

After a change to the trials: `make reliability`. After a change to the page's words alone:
`make reliability ARGS='--redraw docs/reliability.json'`.
"""

from __future__ import annotations

import re

import pytest

from devstack.reliability.__main__ import PUBLISHED
from devstack.reliability.picture import draw
from devstack.reliability.report import page
from devstack.reliability.results import Results, SectionResult
from devstack.reliability.sections import SECTIONS
from devstack.reliability.trials import THOROUGH


@pytest.fixture
def published() -> Results:
    return Results.from_json(PUBLISHED.data.read_text(encoding="utf-8"))


def test_the_published_page_and_picture_are_drawn_from_the_published_figures(published: Results) -> None:
    assert PUBLISHED.page.read_text(encoding="utf-8") == page(published)
    assert PUBLISHED.picture.read_text(encoding="utf-8") == draw(published)
    assert PUBLISHED.data.read_text(encoding="utf-8") == published.to_json()


def test_every_trial_is_on_the_published_page_in_its_place(published: Results) -> None:
    registered = [(one.name, [trial.title for trial in one.trials]) for one in SECTIONS]
    assert [(one.name, [trial.title for trial in one.trials]) for one in published.sections] == registered


def test_what_is_published_is_a_whole_run_in_which_everything_held(published: Results) -> None:
    assert published.held
    assert published.conditions.thorough
    assert published.conditions.rounds >= THOROUGH.rounds


def test_nothing_published_names_a_machine(published: Results) -> None:
    text = published.to_json() + page(published)
    assert not re.search(r"/(?:home|root|Users|tmp|work)/", text)


def test_the_published_settings_are_those_of_the_registry(published: Results) -> None:
    for one, result in zip(SECTIONS, published.sections, strict=True):
        expected = SectionResult.of(one, ())
        assert (result.promise, result.settings, result.stand_ins) == (
            expected.promise,
            expected.settings,
            expected.stand_ins,
        )
