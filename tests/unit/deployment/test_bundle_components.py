"""What is in a bundle by others: locks and licences as they are found in the wild, and the bill of materials."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deployment.bundles.components import Component, locked_archives, read_components
from deployment.bundles.sbom import bill_of_materials
from deployment.catalogue import ROOT

ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64
LOCK = f"""\
shade-lamp[extra]==1.5 ; python_full_version < '3.13' \\
    --hash=sha256:{TWO} \\
    --hash=sha256:{ONE}
    # via other
other==2.0+cpu \\
    --hash=sha256:{THREE}
"""
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
COMPONENT = Component(
    name="shade", version="1.5", licence="MIT", spdx=True, tag="py3-none-any", archives=(ONE, TWO)
)


def installed(site: Path, headers: str, wheel: str = "Tag: py3-none-any\n") -> Component:
    """Install a distribution with these headers and return what is read of it."""
    folder = site / "shade_lamp-1.5.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Name: Shade.Lamp\nVersion: 1.5\n{headers}\n\nA description.\n")
    (folder / "WHEEL").write_text(wheel)
    lock = site / "requirements.txt"
    lock.write_text(LOCK)
    (component,) = read_components(site, lock)
    return component


def test_a_lock_gives_each_pins_hashes_by_normalised_name_and_version() -> None:
    assert locked_archives(LOCK) == {("shade-lamp", "1.5"): (ONE, TWO), ("other", "2.0+cpu"): (THREE,)}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_pin_of_our_own_locks_has_its_hashes(lock: Path) -> None:
    text = lock.read_text()
    found = locked_archives(text)
    assert len(found) == sum("==" in line and not line.startswith(" ") for line in text.splitlines())
    assert sum(len(hashes) for hashes in found.values()) == text.count("--hash=sha256:")
    assert all(found.values())


@pytest.mark.parametrize(
    ("headers", "licence", "spdx"),
    [
        ("License-Expression: MIT OR Apache-2.0", "MIT OR Apache-2.0", True),
        ("License: BSD-3-Clause\nClassifier: License :: OSI Approved :: BSD License", "BSD-3-Clause", False),
        (f"License: {'The whole text. ' * 20}", None, False),
        ("License: MIT License\n        \n        Copyright (c) 2022", "MIT License", False),
        ("License: (c) X\n        All\nClassifier: License :: OSI Approved :: ISC", "ISC", False),
        ("Classifier: License :: OSI Approved :: MIT License", "MIT License", False),
        ("Classifier: Programming Language :: Python", None, False),
    ],
)
def test_a_licence_is_the_expression_else_the_short_words_else_the_classifiers(
    tmp_path: Path, headers: str, licence: str | None, spdx: bool
) -> None:
    component = installed(tmp_path, headers)
    assert (component.licence, component.spdx) == (licence, spdx)


def test_a_component_has_the_locks_hashes_its_wheels_tags_and_a_package_url(tmp_path: Path) -> None:
    component = installed(tmp_path, "", wheel="Tag: cp313-cp313-linux\nTag: cp313-abi3-linux\n")
    assert component.archives == (ONE, TWO)
    assert component.tag == "cp313-cp313-linux.cp313-abi3-linux"
    assert component.purl == "pkg:pypi/shade-lamp@1.5"


def test_a_component_survives_its_json() -> None:
    assert Component.from_json(json.loads(json.dumps(COMPONENT.to_json()))) == COMPONENT


def test_a_bill_of_materials_is_the_same_whenever_it_is_made() -> None:
    assert bill_of_materials("lamp", ONE, [COMPONENT]) == bill_of_materials("lamp", ONE, [COMPONENT])


def test_another_package_has_another_serial_number() -> None:
    serials = {
        json.loads(bill_of_materials(name, digest, [COMPONENT]))["serialNumber"]
        for name in ("lamp", "torch")
        for digest in (ONE, TWO)
    }
    assert len(serials) == 4


def test_a_bill_of_materials_names_each_component_with_its_archives_and_licence() -> None:
    document = json.loads(bill_of_materials("lamp", ONE, [COMPONENT]))
    (component,) = document["components"]
    assert (component["purl"], component["licenses"]) == ("pkg:pypi/shade@1.5", [{"expression": "MIT"}])
    (archives,) = component["externalReferences"]
    assert [each["content"] for each in archives["hashes"]] == [ONE, TWO]
    assert document["dependencies"] == [{"ref": "lamp", "dependsOn": ["pkg:pypi/shade@1.5"]}]


@pytest.mark.parametrize(
    "component",
    [
        COMPONENT,
        replace(COMPONENT, licence="whatever they call it", spdx=False, version="1.5+cpu"),
        replace(COMPONENT, licence=None, spdx=False, archives=(ONE,)),
    ],
)
def test_a_bill_of_materials_is_valid_by_cyclonedxs_own_schema(component: Component) -> None:
    # Its grammars of addresses are compiled when it is imported: seconds, for this test alone.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(bill_of_materials("lamp", ONE, [component])) is None
