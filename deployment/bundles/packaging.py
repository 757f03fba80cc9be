"""Packaging a function: its staged bundle and its dependencies in one zip that runs on the target as it is.

    stage ─▶ dependencies (shared by all with the same lock) ─▶ own sources, compiled ─▶ merge, digest
          ─▶ does it start? what does it load? ─▶ budget ─▶ zip, SBOM, manifest, in this order

`build/packages/<function>-<digest>.{zip,sbom.json,manifest.json}`: the manifest comes last, so that what has
one is whole. The same sources, lock and tools make the same bytes; what was built from them before is not
built again. A build that is killed leaves nothing that another would take for a package.
"""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deployment.bundles.archives import Member, deflate, write_archive
from deployment.bundles.budgets import BUDGETS_FILE, Budget, check_budget, load_budgets
from deployment.bundles.compiling import compile_folder
from deployment.bundles.dependencies import Dependencies, Recipe, find_uv, gather_dependencies
from deployment.bundles.exclusion import exclusive
from deployment.bundles.importing import modules_at_start
from deployment.bundles.manifests import Manifest, PackagedFile, Source, package_digest, read_source
from deployment.bundles.sbom import bill_of_materials
from deployment.bundles.staging import BUILD_FOLDER, BuildError, Bundle, stage
from deployment.bundles.targets import Interpreter, Target, find_interpreter
from deployment.bundles.unpacking import unpack
from deployment.catalogue import ROOT, FunctionSpec

_FORMAT = "1"
_NOT_PACKAGED = "requirements.txt"  # a platform that finds it installs everything once more
PACKAGES, UNPACKED = "packages", "unpacked"
"""Folders below the build folder."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Package:
    """A package on this machine."""

    folder: Path
    manifest: Manifest

    @property
    def function(self) -> str:
        return self.manifest.function

    @property
    def digest(self) -> str:
        """Return the identity: what `FunctionState.code` holds."""
        return self.manifest.digest

    @property
    def zip_file(self) -> Path:
        return self.folder / f"{self.manifest.stem}.zip"

    @property
    def sbom_file(self) -> Path:
        return self.folder / f"{self.manifest.stem}.sbom.json"

    @property
    def manifest_file(self) -> Path:
        return self.folder / f"{self.manifest.stem}.manifest.json"

    def unpack(self, folder: Path) -> Path:
        """Return the package's unpacked tree below `folder`; it is made if need be, and is read-only."""
        return unpack(self.zip_file, self.manifest.files, folder / self.manifest.stem)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all packages of one run are made with."""

    target: Target
    interpreter: Interpreter | None
    bytecode: bool
    uv_version: str
    budgets: Mapping[str, Budget]
    source: Source | None
    folder: Path
    unpacked: Path
    progress: Progress


def package(
    specs: Iterable[FunctionSpec],
    target: Target,
    build_folder: Path = BUILD_FOLDER,
    *,
    root: Path = ROOT,
    bytecode: bool = True,
    progress: Progress = lambda _: None,
) -> list[Package]:
    """Stage and package functions; several processes may build in the same folder at once.

    Args:
        specs: the functions to build.
        target: where they will run.
        build_folder: the packages go to `packages/` below it, their trees to `unpacked/`.
        root: the repository to build from.
        bytecode: whether to compile for the target, which needs its Python on this machine.
        progress: told what is being done, a line at a time.

    Raises:
        BuildError: a package cannot be made, does not start, or is beyond its budget.
        FilesRefused: the file of budgets is wrong.
    """
    wanted = list(specs)
    bundles = stage(wanted, build_folder, root=root)
    shop = _open_workshop(target, build_folder, root, bytecode=bytecode, progress=progress)
    waiting = f"waiting for another build in {shop.folder}"
    with exclusive(shop.folder, lambda: progress(waiting)):
        return [_package(spec, bundle, shop) for spec, bundle in zip(wanted, bundles, strict=True)]


def _open_workshop(
    target: Target, build_folder: Path, root: Path, *, bytecode: bool, progress: Progress
) -> Workshop:
    interpreter = find_interpreter(target.python) if bytecode or target.runs_here else None
    return Workshop(
        target=target,
        interpreter=interpreter,
        bytecode=bytecode,
        uv_version=find_uv()[1],
        budgets=load_budgets(root / BUDGETS_FILE),
        source=read_source(root),
        folder=build_folder / PACKAGES,
        unpacked=build_folder / UNPACKED,
        progress=progress,
    )


def _package(spec: FunctionSpec, bundle: Bundle, shop: Workshop) -> Package:
    budget = shop.budgets.get(spec.requirements)
    if budget is None:
        raise BuildError(f"{spec.name}: {BUDGETS_FILE} has no [budgets.{spec.requirements}].")
    recipe = Recipe(
        requirements=bundle.folder / "requirements.txt",
        target=shop.target,
        interpreter=shop.interpreter if shop.bytecode else None,
        uv_version=shop.uv_version,
    )
    identity = hashlib.sha256(f"{_FORMAT}\n{spec.name}\n{bundle.digest}\n{recipe.key}".encode()).hexdigest()
    if (kept := _find(spec.name, identity, shop.folder)) is not None:
        check_budget(kept.manifest, budget, spec.requirements)
        return kept
    work = shop.folder / ".work"
    shutil.rmtree(work, ignore_errors=True)  # a killed build's
    work.mkdir()
    try:
        made = _make(spec, bundle, recipe, shop, work)
        manifest = replace(made, recipe=identity, modules_at_start=_start(made, spec, shop, work))
        check_budget(manifest, budget, spec.requirements)
        return _publish(manifest, work, shop.folder)
    finally:
        shutil.rmtree(work)


def _find(name: str, recipe: str, folder: Path) -> Package | None:
    """Return the package that was made by a recipe, if it is there unharmed."""
    for file in sorted(folder.glob(f"{name}-*.manifest.json")):
        manifest = Manifest.from_text(file.read_text(encoding="utf-8"))
        if manifest is not None and manifest.recipe == recipe:
            found = Package(folder, manifest)
            whole = (found.zip_file, manifest.zip_sha256), (found.sbom_file, manifest.sbom_sha256)
            if all(path.is_file() and _sha256(path) == sha256 for path, sha256 in whole):
                return found
    return None


def _make(spec: FunctionSpec, bundle: Bundle, recipe: Recipe, shop: Workshop, work: Path) -> Manifest:
    """Make a package's files in `work` and return its manifest, but for what is known only later."""

    def progress(text: str) -> None:
        shop.progress(f"{spec.name}: {text}")

    dependencies = gather_dependencies(recipe, shop.folder / ".dependencies", progress)
    progress("packaging")
    members = _merge(dependencies, _own_members(bundle, recipe.interpreter, work / "own"), spec.name)
    write_archive(members, work / "package.zip")
    digest = package_digest(members, shop.target, bytecode=shop.bytecode)
    (work / "sbom.json").write_text(
        bill_of_materials(spec.name, digest, dependencies.components), encoding="utf-8"
    )
    return Manifest(
        function=spec.name,
        digest=digest,
        recipe="",
        python=shop.target.python,
        platform=shop.target.platform,
        bytecode=shop.bytecode,
        zip_sha256=_sha256(work / "package.zip"),
        zip_bytes=(work / "package.zip").stat().st_size,
        unzipped_bytes=sum(member.size_bytes for member in members),
        sbom_sha256=_sha256(work / "sbom.json"),
        lock_sha256=_sha256(recipe.requirements),
        modules_at_start=None,
        tools={
            "compiler": f"Python {recipe.interpreter.version}" if recipe.interpreter else None,
            "uv": shop.uv_version,
            "zlib": zlib.ZLIB_RUNTIME_VERSION,
        },
        source=shop.source,
        files=tuple(
            PackagedFile(m.path, f"{m.mode:o}", m.sha256, m.size_bytes, len(m.deflated)) for m in members
        ),
    )


def _own_members(bundle: Bundle, interpreter: Interpreter | None, folder: Path) -> list[Member]:
    # Compiled in a copy: what runs from the staged tree would never look at its sources again.
    shutil.copytree(
        bundle.folder, folder, ignore=shutil.ignore_patterns(_NOT_PACKAGED, "__pycache__", "*.pyc")
    )
    if interpreter:
        compile_folder(folder, interpreter)
    paths = (path for path in folder.rglob("*") if path.is_file())
    return [
        deflate(path.relative_to(folder).as_posix(), path.read_bytes(), executable=path.name == "run.sh")
        for path in paths
    ]


def _merge(dependencies: Dependencies, own: Sequence[Member], name: str) -> list[Member]:
    taken = {member.path.split("/")[0] for member in dependencies.members}
    if clash := sorted(taken & {member.path.split("/")[0] for member in own} - {"__pycache__"}):
        raise BuildError(f"{name}: a dependency brings its own {', '.join(clash)}.")
    return sorted([*dependencies.members, *own], key=lambda member: member.path)


def _start(made: Manifest, spec: FunctionSpec, shop: Workshop, work: Path) -> tuple[str, ...] | None:
    """Start the package and return what that loads; None where its platform is not this machine's."""
    if shop.interpreter is None or not shop.target.runs_here:
        return None
    tree = unpack(work / "package.zip", made.files, shop.unpacked / made.stem)
    return modules_at_start(tree, spec, shop.interpreter)


def _publish(manifest: Manifest, work: Path, folder: Path) -> Package:
    made = Package(folder, manifest)
    made.manifest_file.unlink(missing_ok=True)  # of a damaged one: it must not vouch for what comes now
    (work / "package.zip").replace(made.zip_file)
    (work / "sbom.json").replace(made.sbom_file)
    (work / "manifest.json").write_text(manifest.to_text(), encoding="utf-8")
    (work / "manifest.json").replace(made.manifest_file)
    return made


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
