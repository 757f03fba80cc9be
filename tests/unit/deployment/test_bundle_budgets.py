"""Budgets: beyond one, the message says by how much and what is largest; the file names what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployment.bundles.budgets import BUDGETS_FILE, Budget, BudgetExceeded, check_budget, load_budgets
from deployment.bundles.manifests import Manifest, PackagedFile
from deployment.catalogue import ROOT, load_catalogue
from deployment.problems import FilesRefused

BUDGET = Budget(
    zip_bytes=2_000_000, unzipped_bytes=9_000_000, modules=3, not_loaded=("glass",), not_inside=("oil",)
)
MANIFEST = Manifest(
    function="lamp",
    digest="d" * 64,
    recipe="r" * 64,
    python="3.13",
    platform="x86_64-manylinux_2_28",
    bytecode=True,
    zip_sha256="0" * 64,
    zip_bytes=2_000_000,
    unzipped_bytes=9_000_000,
    sbom_sha256="0" * 64,
    lock_sha256="0" * 64,
    modules_at_start=("main", "shade", "shade.cloth"),
    tools={},
    source=None,
    files=(
        PackagedFile("shade/cloth.py", "644", "0" * 64, 6_000_000, 500_000),
        PackagedFile("bulb.abi3.so", "644", "0" * 64, 3_000_000, 1_500_000),
    ),
)


def refusal(manifest: Manifest, budget: Budget = BUDGET) -> str:
    with pytest.raises(BudgetExceeded) as refused:
        check_budget(manifest, budget, "llm")
    return str(refused.value)


def test_a_package_may_be_exactly_as_large_as_its_budget() -> None:
    check_budget(MANIFEST, BUDGET, "llm")


def test_a_zip_beyond_its_budget_says_by_how_much_and_what_is_largest() -> None:
    said = refusal(replace(MANIFEST, zip_bytes=2_300_000))
    assert said == (
        "lamp: the zip has 2.3 MB, 0.3 MB above 2.0 MB (largest: bulb.abi3.so 1.5 MB, shade 0.5 MB); "
        "its budget (infra/budgets.toml, [budgets.llm])"
    )


def test_an_unzipped_package_beyond_its_budget_is_measured_by_unzipped_sizes() -> None:
    assert "(largest: shade 6.0 MB, bulb.abi3.so 3.0 MB)" in refusal(
        replace(MANIFEST, unzipped_bytes=9_000_001)
    )


def test_too_many_modules_say_whose_they_are() -> None:
    said = refusal(replace(MANIFEST, modules_at_start=(*(MANIFEST.modules_at_start or ()), "shade.wire")))
    assert "its start loads 4 modules, 1 more than 3 (most of shade 3, main 1)" in said


def test_a_module_that_a_start_must_not_load_is_named() -> None:
    assert "its start loads glass" in refusal(replace(MANIFEST, modules_at_start=("glass", "glass.pane")))


@pytest.mark.parametrize("path", ["oil/can.py", "oil.py", "oil.cpython-313-x86_64-linux-gnu.so"])
def test_a_module_that_must_not_be_inside_is_named_however_it_comes(path: str) -> None:
    held = (*MANIFEST.files, PackagedFile(path, "644", "0" * 64, 1, 1))
    assert "it holds oil" in refusal(replace(MANIFEST, files=held))


def test_everything_that_is_too_much_is_said_at_once() -> None:
    assert len(refusal(replace(MANIFEST, zip_bytes=10**9, unzipped_bytes=10**9)).splitlines()) == 2


def test_a_package_that_was_not_started_is_held_to_its_sizes_alone() -> None:
    check_budget(replace(MANIFEST, modules_at_start=None), BUDGET, "llm")


def test_a_wrong_file_of_budgets_names_file_table_and_key(tmp_path: Path) -> None:
    file = tmp_path / "budgets.toml"
    file.write_text("[budgets.llm]\nzip_bytes = 0\nunzipped_bytes = 1\nmodles = 3\n")
    with pytest.raises(FilesRefused) as refused:
        load_budgets(file)
    assert str(refused.value).splitlines() == [
        f"{file}: [budgets.llm] zip_bytes: must be at least 1, not 0",
        f"{file}: [budgets.llm] modules: is missing",
        f"{file}: [budgets.llm] modles: is no key of this table; did you mean modules?",
    ]


def test_every_list_of_requirements_of_the_catalogue_has_a_budget_and_no_other() -> None:
    assert set(load_budgets(ROOT / BUDGETS_FILE)) == {spec.requirements for spec in load_catalogue().values()}


def test_a_manifest_survives_its_text_and_shows_lambdas_own_digest() -> None:
    assert Manifest.from_text(MANIFEST.to_text()) == MANIFEST
    assert MANIFEST.code_sha256 == "A" * 43 + "="


def test_a_manifest_of_another_format_is_none() -> None:
    assert Manifest.from_text(MANIFEST.to_text().replace('"format": 1', '"format": 0')) is None
