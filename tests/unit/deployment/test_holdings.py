"""Who holds what, said in three places: the table in the documentation, the one in code, and the catalogue."""

from __future__ import annotations

import re

import pytest

from deployment.catalogue import ROOT, load_catalogue
from deployment.holdings import HOLDINGS, REDIS, Blobs, Holding, holding_of
from shared.config import reads_blobs
from shared.routing import Lane, models_of

CATALOGUE = load_catalogue()


def documented() -> dict[str, Holding]:
    """Return the table of docs/configuration.md."""
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    section = text.split("## Who holds what\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| \*\*(\w+)\*\* \| (.+?) \| (\w+) \|$", section, re.MULTILINE)
    return {name: _holding(secrets, images) for name, secrets, images in rows}


def _holding(secrets: str, images: str) -> Holding:
    names = [part.strip() for part in secrets.split(",")]
    optional = {name.strip("*").strip("`") for name in names if name.endswith("*")}
    firsts = {name.strip("`") for name in names if not name.endswith("*")} - {"Redis"}
    return Holding(
        frozenset(firsts) | (REDIS if "Redis" in names else frozenset()), Blobs(images), frozenset(optional)
    )


def test_the_documentation_says_what_each_function_holds() -> None:
    assert documented() == HOLDINGS


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue_hands_over_what_the_table_says_and_nothing_else(name: str) -> None:
    spec, holding = CATALOGUE[name], HOLDINGS[name]
    assert set(spec.secrets) == holding.all_secrets
    assert set(spec.optional_secrets) == holding.optional
    assert ("BLOB_URL" in spec.variables) is (holding.blobs is not Blobs.NONE)


@pytest.mark.parametrize("lane", list(Lane))
def test_a_lane_holds_the_key_of_the_provider_that_it_calls_and_no_other(lane: Lane) -> None:
    keys = {secret for secret in HOLDINGS[lane].secrets if secret.endswith("_API_KEY")}
    assert keys == {f"{model.provider.upper()}_API_KEY" for model in models_of(lane)}
    assert (HOLDINGS[lane].blobs is Blobs.READS) is reads_blobs(lane)


def test_only_the_producer_can_publish_and_only_it_checks_users() -> None:
    holders: dict[str, set[str]] = {}
    for name, holding in HOLDINGS.items():
        for secret in holding.all_secrets:
            holders.setdefault(secret, set()).add(name)
    assert holders["QSTASH_TOKEN"] == holders["AUTH_JWT_SECRET"] == {"actions"}
    assert holders["STREAM_TOKEN_SECRET"] == {"actions", "events"}
    assert holders["OPS_TOKEN"] == {"actions"}
    assert holders["QSTASH_CURRENT_SIGNING_KEY"] == {*Lane, "actions"}


def test_who_is_not_in_the_table_holds_nothing() -> None:
    assert holding_of("lamp") == Holding(frozenset())
