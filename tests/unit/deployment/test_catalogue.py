"""`infra/functions.toml`: what it declares, and that whatever is wrong with it is named by file, table and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deployment.catalogue import CATALOGUE_FILE, CatalogueError, load_catalogue
from shared.routing import Kind, Lane, Tier

CATALOGUE = load_catalogue()
LAMP = """\
[groups.common]
variables = ["SLUICE_ENV"]
secrets = ["LAMP_KEY"]
optional_secrets = ["LAMP_KEY_SECOND"]

[functions.lamp]
rooms = ["lanes"]
requirements = "base"
uses = ["common"]
memory_mb = 128
timeout_seconds = 60
concurrency = 8
min_instances = 0
max_instances = 3
reserved_concurrency = 9
log_retention_days = 7
"""


@pytest.fixture
def problems(tmp_path: Path) -> Callable[[str], list[str]]:
    """Return what a catalogue of this text is refused for, line by line, without the folder."""

    def read(text: str) -> list[str]:
        file = tmp_path / "functions.toml"
        file.write_text(text)
        with pytest.raises(CatalogueError) as refused:
            load_catalogue(file)
        return str(refused.value).replace(f"{tmp_path}/", "").splitlines()

    return read


def changed(old: str, new: str) -> str:
    assert old in LAMP
    return LAMP.replace(old, new)


def test_the_catalogue_declares_every_lane_actions_and_events() -> None:
    assert set(CATALOGUE) == {*Lane, "actions", "events"}


def test_a_function_has_what_its_groups_declare_and_its_own_numbers(tmp_path: Path) -> None:
    file = tmp_path / "functions.toml"
    file.write_text(LAMP)
    lamp = load_catalogue(file)["lamp"]
    assert lamp.variables == ("SLUICE_ENV",)
    assert lamp.secrets == ("LAMP_KEY", "LAMP_KEY_SECOND")
    assert lamp.optional_secrets == ("LAMP_KEY_SECOND",)
    assert lamp.environment_names == {"SLUICE_ENV", "LAMP_KEY", "LAMP_KEY_SECOND"}
    assert (lamp.max_instances, lamp.reserved_concurrency, lamp.log_retention_days) == (3, 9, 7)
    assert (lamp.lane, lamp.tier, lamp.kind) == (None, None, None)


def test_a_lane_s_function_knows_its_lane_tier_and_kind() -> None:
    spec = CATALOGUE["paid_vision"]
    assert (spec.lane, spec.tier, spec.kind) == (Lane.PAID_VISION, Tier.PAID, Kind.VISION)


def test_only_events_passes_its_answers_on_while_they_are_made() -> None:
    assert {spec.name for spec in CATALOGUE.values() if spec.streams} == {"events"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed("memory_mb = 128\n", ""), "[functions.lamp] memory_mb: is missing"),
        (changed("memory_mb = 128", 'memory_mb = "128"'), "[functions.lamp] memory_mb: must be a whole number"),
        (changed("memory_mb = 128", "memory_mb = true"), "[functions.lamp] memory_mb: must be a whole number"),
        (changed("memory_mb = 128", "memory_mb = 0"), "[functions.lamp] memory_mb: must be at least 1, not 0"),
        (changed("memory_mb", "memory_md"), "[functions.lamp] memory_md: is no key of this table; did you mean memory_mb?"),
        (changed('rooms = ["lanes"]', "rooms = 1"), "[functions.lamp] rooms: must be a list"),
        (changed('rooms = ["lanes"]', "rooms = [1]"), "[functions.lamp] rooms: must be text"),
        (changed("[groups.common]", "[groups.comon]"), "[functions.lamp] uses: common is not declared under [groups]; did you mean comon?"),
        (changed('secrets = ["LAMP_KEY"]', "secret = []"), "[groups.common] secret: is no key of this table; did you mean secrets?"),
        (LAMP + "\n[function.shade]\n", "function: is no key of this table; did you mean functions?"),
        (LAMP + "\n[functions]\nshade = 1\n", "[functions] shade: must be a table"),
        (LAMP + "\n[functions.lamp]\n", "is not TOML: "),
        ("[groups]\n", "functions: is missing"),
        ("groups = 1\nfunctions = []\n", "groups: must be a table"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_file_table_and_key(
    problems: Callable[[str], list[str]], text: str, said: str
) -> None:
    assert any(line.startswith(f"functions.toml: {said}") for line in problems(text)), problems(text)


def test_all_that_is_wrong_is_named_at_once(problems: Callable[[str], list[str]]) -> None:
    text = changed("memory_mb = 128", "memory_mb = -1").replace("concurrency = 8\n", "", 1)
    assert len(problems(text)) == 2


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"functions\.toml: cannot be read: No such file"):
        load_catalogue(tmp_path / "functions.toml")
    (tmp_path / "functions.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CatalogueError, match="is not UTF-8 text"):
        load_catalogue(tmp_path / "functions.toml")


def test_messages_name_a_file_of_the_repository_from_its_root(tmp_path: Path) -> None:
    wrong = CATALOGUE_FILE.parent / "no-such-catalogue.toml"
    with pytest.raises(CatalogueError, match=r"^infra/no-such-catalogue\.toml: cannot be read"):
        load_catalogue(wrong)
