"""A tiny repository with one function, and a wheel of its own that is installed from a folder."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from deployment.catalogue import FunctionSpec

WHEEL = "shade-1.5-py3-none-any.whl"
WHEEL_FILES = {
    "shade/__init__.py": "COLOURS = {'red', 'green', 'blue'}\n",
    "shade/__init__.pyi": "COLOURS: set[str]\n",
    "shade/tests/test_shade.py": "import nothing_that_there_is\n",
    "shade-1.5.data/scripts/shade": "#!python\nprint('shade')\n",
    "shade-nspkg.pth": "import shade\n",
    "shade-1.5.dist-info/METADATA": (
        "Metadata-Version: 2.4\nName: Shade\nVersion: 1.5\nLicense-Expression: MIT\n"
    ),
    "shade-1.5.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
BUDGETS = "[budgets.base]\nzip_bytes = 1_000_000\nunzipped_bytes = 1_000_000\nmodules = 400\n"


def spec(
    name: str = "lamp", *, rooms: tuple[str, ...] = ("lanes",), requirements: str = "base"
) -> FunctionSpec:
    """Return a function that needs no variable."""
    return FunctionSpec(
        name=name,
        rooms=rooms,
        requirements=requirements,
        variables=(),
        secrets=(),
        memory_mb=128,
        timeout_seconds=60,
        concurrency=8,
        min_instances=0,
    )


def repository(folder: Path, *, backwards: bool = False) -> Path:
    """Make the repository; `backwards` writes its files in the other order."""
    wheels = folder / "wheels"
    wheel_sha256 = write_wheel(wheels)
    files = {
        "functions/lamp/main.py": "import shade\nimport shared\n\ndef lamp(request):\n    return 'on'\n",
        "functions/torch/main.py": "import shade\n",
        "functions/lamp/notes.md": "not for the bundle\n",
        "infra/budgets.toml": BUDGETS,
        "requirements/base.txt": lock(wheels, wheel_sha256),
        "shared/__init__.py": "",
        "shared/lanes/__init__.py": "KINDS = {'a', 'b', 'c', 'd'}\n",
        "shared/lanes/prompt.md": "hello\n",
        "shared/lanes/__pycache__/worker.cpython-311.pyc": "compiled",
        "shared/actions/__init__.py": "",
    }
    for name, text in sorted(files.items(), reverse=backwards):
        path = folder / "repository" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "repository"


def lock(wheels: Path, sha256: str) -> str:
    """Return a lock that takes the wheel from its folder and asks no index."""
    return f"--no-index\n--find-links {wheels}\nshade==1.5 \\\n    --hash=sha256:{sha256}\n"


def write_wheel(folder: Path) -> str:
    """Write the wheel and return its sha256; the same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        for name, text in WHEEL_FILES.items():
            wheel.writestr(zipfile.ZipInfo(name), text)
        wheel.writestr(
            zipfile.ZipInfo("shade-1.5.dist-info/RECORD"), "".join(f"{name},,\n" for name in WHEEL_FILES)
        )
    return hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()
