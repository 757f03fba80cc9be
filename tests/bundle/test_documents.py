"""The bundle of `actions` reads files with nothing but itself and its own requirements."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deployment.bundles.staging import stage
from deployment.catalogue import load_catalogue
from tests.documents_kit import CHINESE, docx_of, pdf_of, photo

READ = """
import sys
from shared.actions.uploads import checked_image, text_of_file
data = sys.stdin.buffer.read()
if sys.argv[1] == "image":
    print(checked_image(data, field_name="image").media_type)
else:
    print(text_of_file(data, field_name="file"))
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return a built bundle, and a folder of links to exactly what it requires."""
    folder = tmp_path_factory.mktemp("actions")
    [bundle] = stage([load_catalogue()["actions"]], folder / "build")
    installed = folder / "installed"
    installed.mkdir()
    for line in (bundle.folder / "requirements.txt").read_text().splitlines():
        if re.match(r"[A-Za-z]", line):
            requirement = Requirement(line.removesuffix("\\"))
            if requirement.marker is None or requirement.marker.evaluate():
                link(requirement.name, installed)
    return [str(bundle.folder), str(installed)]


def link(name: str, folder: Path) -> None:
    """Link all that a package has installed at the top."""
    distribution = metadata.distribution(name)
    for top in {
        file.parts[0] for file in distribution.files or () if file.parts[0] not in {"..", "__pycache__"}
    }:
        if not (folder / top).exists():
            (folder / top).symlink_to(Path(str(distribution.locate_file(top))))


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("file", pdf_of(CHINESE), "\n\n".join(CHINESE)),
        ("file", docx_of(CHINESE), "\n".join(CHINESE)),
        ("image", photo(6), "image/jpeg"),
    ],
    ids=["PDF", "DOCX", "photo"],
)
def test_the_bundle_reads_a_file_elsewhere_and_without_any_variable(
    paths: list[str], kind: str, data: bytes, expected: str
) -> None:
    program = (
        f"import sys; sys.path[:] = [*{paths!r}, *(p for p in sys.path if 'site-packages' not in p)]\n{READ}"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", program, kind],
        input=data,
        cwd="/",
        env={},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout.decode().strip() == expected
