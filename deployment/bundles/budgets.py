"""`infra/budgets.toml`: what a package may weigh and load. Beyond it, the build fails and says why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from deployment.bundles.manifests import Manifest
from deployment.bundles.staging import BuildError
from deployment.catalogue import Count
from deployment.problems import FilesRefused, problems_of, read_toml

BUDGETS_FILE = Path("infra/budgets.toml")
"""Below the repository's root."""
_LARGEST_SHOWN = 5


class BudgetExceeded(BuildError):
    """A package weighs or loads more than it may."""


class Budget(BaseModel):
    """What one package may weigh and load."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zip_bytes: Count
    unzipped_bytes: Count
    modules: Count
    """After `import main`."""
    not_loaded: tuple[str, ...] = ()
    """Modules that a start must not load."""
    not_inside: tuple[str, ...] = ()
    """Modules that the package must not even hold."""


class _Budgets(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    budgets: dict[str, Budget]


def load_budgets(file: Path) -> dict[str, Budget]:
    """Return the budgets, by the name of the list of requirements.

    Raises:
        FilesRefused: the file cannot be read, or is wrong; every problem is named.
    """
    try:
        return _Budgets.model_validate(read_toml(file)).budgets
    except ValidationError as error:
        raise FilesRefused(problems_of(error, file, _Budgets)) from error


def check_budget(manifest: Manifest, budget: Budget, name: str) -> None:
    """Return when a package is within its budget.

    Args:
        manifest: the package's.
        budget: what it may weigh.
        name: the budget's name, for the message.

    Raises:
        BudgetExceeded: it is not; the text names everything that is too much, by how much.
    """
    problems = [*_sizes(manifest, budget), *_modules(manifest, budget)]
    if problems:
        where = f"its budget ({BUDGETS_FILE}, [budgets.{name}])"
        raise BudgetExceeded("\n".join(f"{manifest.function}: {text} {where}" for text in problems))


def _sizes(manifest: Manifest, budget: Budget) -> list[str]:
    sizes = (
        ("the zip", manifest.zip_bytes, budget.zip_bytes, _largest(manifest, zipped=True)),
        ("unzipped, it", manifest.unzipped_bytes, budget.unzipped_bytes, _largest(manifest, zipped=False)),
    )
    return [
        f"{what} has {_mb(size)}, {_mb(size - most)} above {_mb(most)} (largest: {largest});"
        for what, size, most, largest in sizes
        if size > most
    ]


def _modules(manifest: Manifest, budget: Budget) -> list[str]:
    problems = []
    inside = {part for file in manifest.files for part in [Path(file.path).parts[0].split(".")[0]]}
    if held := sorted(inside & set(budget.not_inside)):
        problems.append(f"it holds {', '.join(held)}, which are barred by")
    loaded = manifest.modules_at_start or ()
    if early := sorted(set(loaded) & set(budget.not_loaded)):
        problems.append(f"its start loads {', '.join(early)}, which are barred by")
    if len(loaded) > budget.modules:
        most = Counter(name.split(".")[0] for name in loaded).most_common(_LARGEST_SHOWN)
        largest = ", ".join(f"{name} {count}" for name, count in most)
        over = len(loaded) - budget.modules
        problems.append(
            f"its start loads {len(loaded)} modules, {over} more than {budget.modules} (most of {largest});"
        )
    return problems


def _largest(manifest: Manifest, *, zipped: bool) -> str:
    sizes: Counter[str] = Counter()
    for file in manifest.files:
        sizes[file.path.split("/")[0]] += file.zipped_bytes if zipped else file.size_bytes
    return ", ".join(f"{name} {_mb(size)}" for name, size in sizes.most_common(_LARGEST_SHOWN))


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:.1f} MB"
