"""The command `build`, and the packages that every other command deploys."""

from __future__ import annotations

from deployment.bundles.packaging import package
from deployment.bundles.staging import BUILD_FOLDER, stage
from deployment.bundles.targets import Target
from deployment.cli.console import Terminal
from deployment.environments import Platform
from deployment.workspace import Package, Workspace


def build_packages(workspace: Workspace, terminal: Terminal) -> None:
    """Make the packages of this checkout, those that are not there yet, for the environment's target.

    On this machine the staged bundles are what is deployed: they run with this interpreter's libraries.
    """
    specs = workspace.specs.values()
    with terminal.working("building the bundles"):
        if workspace.environment.provider is Platform.LOCAL:
            staged = stage(specs, BUILD_FOLDER)
            workspace.packages = {each.name: Package(each.digest, each.folder) for each in staged}
            return
        target = Target.of(workspace.environment.target.python, workspace.environment.target.architecture)
        made = package(specs, target, BUILD_FOLDER, progress=terminal.note)
    workspace.packages = {each.function: Package(each.digest, each.zip_file) for each in made}
