"""Where things lie in the folder of an environment on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of one environment, such as `build/environments/dev`; for this user alone."""

    folder: Path

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def artefacts(self) -> Path:
        return self.folder / "artefacts"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def services(self) -> Path:
        """What the world around the environment keeps."""
        return self.folder / "services"

    @property
    def supervisor_log(self) -> Path:
        return self.logs / "supervisor.log"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.folder / "supervisor.lock"

    @property
    def endpoint(self) -> Path:
        """Where the supervisor is to be reached, and with which token."""
        return self.folder / "supervisor.json"

    def bundle(self, code: str) -> Path:
        return self.artefacts / code

    def log(self, function: str) -> Path:
        return self.logs / f"{function}.log"
