"""What every rotation does: read a secret, write a new version, bring it everywhere, prove that it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from deployment.errors import ProbeFailed, Refused
from deployment.lock import Lock
from deployment.names import secret_name
from deployment.states import SecretPin
from deployment.verification import Table
from deployment.workspace import Workspace


@dataclass(frozen=True)
class Steps:
    """The steps of rotations, in one environment."""

    workspace: Workspace
    tell: Callable[[str], None]

    def pin(self, variable: str) -> SecretPin:
        """Return the present version of a secret.

        Raises:
            Refused: it has none.
        """
        pin = self.workspace.current_pin(variable)
        if pin is None:
            raise Refused(f"{variable} has no value in {self.workspace.environment.name}: nothing to rotate.")
        return pin

    def value(self, pin: SecretPin) -> str:
        return self.workspace.provider.secrets.read(pin)

    def put(self, values: Mapping[str, str]) -> None:
        """Write new values in this order; one that is there already is not written again, for a retry's sake.

        Whoever deploys between two of them hands on what was written so far.
        """
        for variable, value in values.items():
            pin = self.workspace.current_pin(variable)
            if pin is not None and self.value(pin) == value:
                continue
            name = secret_name(self.workspace.environment, variable)
            request = hashlib.sha256(f"{name}:{pin}:{value}".encode()).hexdigest()[:32]
            self.workspace.provider.secrets.put(name, value, request_id=request)

    def bring(self, lock: Lock, variables: Collection[str]) -> None:
        """Bring the present versions of some secrets everywhere, and change nothing else."""
        self.workspace.apply_under(lock, self.workspace.with_present(variables))

    def prove(self, when: str, refused_keys: Mapping[str, str] | None = None) -> Table:
        """Ask every function everything.

        Raises:
            ProbeFailed: one does not answer as it must; every wrong answer is told.
        """
        self.tell(f"every function is asked, {when}")
        table = self.workspace.verify(refused_keys)
        if not table.ok:
            wrong = "\n".join(f"  {cell.described()}" for cell in table.wrong)
            raise ProbeFailed(f"Not every function answers as it must {when}:\n{wrong}")
        return table
