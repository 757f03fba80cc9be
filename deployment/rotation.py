"""Rotating keys without one refused message: what accepts a key comes before what uses it, and goes after.

Signing keys. A function knows two, `current` and `next`; QStash signs with its current one.

    both known everywhere ─▶ proven by probes ─▶ QStash rolls: next signs ─▶ (in flight ends)
        ─▶ the new pair everywhere ─▶ proven: both taken, the former refused

A roll cannot be taken back, and a second one before the first is everywhere would lock everybody out: it is
never sent. Where a rotation was broken off, the next call finishes that one, from what QStash and the store
say, and rolls nothing. Upstash: "Roll signing keys", which says the same of rolling twice.

Secrets of ours (`STREAM_TOKEN_SECRET`, `AUTH_JWT_SECRET`). A function signs with the first and takes the
second as well: the new one is second everywhere, then first, and the old one goes when what it signed ended.
"""

from __future__ import annotations

import hashlib
import secrets as random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deployment.errors import ProbeFailed, ProviderError, Refused
from deployment.ledger import now_seconds, releases
from deployment.lock import Lock, locked
from deployment.names import secret_name
from deployment.verification import Table
from deployment.workspace import QSTASH_TOKEN, SIGNING_KEYS, Workspace
from shared.settings import SigningKeys

IN_FLIGHT_SECONDS = 10.0
"""How long a delivery signed before a roll may still be on its way."""
SECOND = {"STREAM_TOKEN_SECRET": "STREAM_TOKEN_SECRET_SECOND", "AUTH_JWT_SECRET": "AUTH_JWT_SECRET_SECOND"}
OURS_TO_MAKE = frozenset({"STREAM_TOKEN_SECRET"})
"""Secrets that nobody outside needs to know: a new value is drawn here."""
FORMER_KEY = "the former key"


@dataclass(frozen=True)
class Rotation:
    """Rotates the keys of one environment."""

    workspace: Workspace
    tell: Callable[[str], None]
    in_flight_seconds: float = IN_FLIGHT_SECONDS

    def signing_keys(self) -> Table:
        """Roll QStash's signing keys, or finish a roll that was broken off; returns the final proof.

        Raises:
            LockHeld: somebody deploys or rotates now.
            ProbeFailed: not every function takes both keys; nothing was rolled.
            ProviderError: QStash refused; whether it rolled is told.
        """
        self.workspace.provider.objects.ensure()
        with locked(self.workspace.provider.objects, "rotate-keys") as lock:
            theirs, ours = self.workspace.qstash().keys(), self._stored()
            if theirs != ours:
                return self._finish(lock, theirs, ours)
            self.tell("both keys of QStash are to be known everywhere")
            self.workspace.apply_under(lock, self.workspace.with_present(SIGNING_KEYS))
            self._prove("before the roll")
            lock.check()
            rolled = self._roll(theirs)
            return self._spread(lock, rolled, former=theirs.current)

    def token(self, value: str) -> Table:
        """Give `actions` another token, once QStash has taken it; the old one is QStash's to revoke.

        Raises:
            ProviderError: QStash does not take the new token; nothing was changed.
        """
        workspace = self.workspace
        with locked(workspace.provider.objects, f"rotate-keys --secret {QSTASH_TOKEN}") as lock:
            workspace.qstash(token=value).keys()
            self._put({QSTASH_TOKEN: value})
            workspace.apply_under(lock, workspace.with_present([QSTASH_TOKEN]))
            return self._prove("with the new token")

    def begin(self, variable: str, value: str | None = None) -> Table:
        """Let a new secret be taken everywhere; one that is ours to make signs from then on.

        Args:
            variable: a key of `SECOND`.
            value: the new value, as the issuer of users' tokens has it; drawn here where it is ours to make.
        """
        workspace, second = self.workspace, SECOND[variable]
        new = value or random.token_urlsafe(48)
        with locked(workspace.provider.objects, f"rotate-keys --secret {variable}") as lock:
            old = self._read(variable)
            self.tell("the new secret is to be taken everywhere")
            self._put({second: new})
            workspace.apply_under(lock, workspace.with_present([variable, second]))
            if variable in OURS_TO_MAKE:
                self._prove("before the new secret signs")
                self.tell("the new secret signs from now on")
                self._put({variable: new, second: old})
                workspace.apply_under(lock, workspace.with_present([variable, second]))
            return self._prove("with both secrets")

    def finish(self, variable: str, *, now: bool = False) -> Table:
        """Let the old secret no longer be taken.

        Raises:
            Refused: what it signed may still be in use, and `now` does not say to go on all the same.
        """
        workspace, second = self.workspace, SECOND[variable]
        if variable in OURS_TO_MAKE and not now:
            self._refuse_before_tokens_end(variable)
        with locked(workspace.provider.objects, f"rotate-keys --secret {variable} --finish") as lock:
            nobodys = random.token_urlsafe(
                48
            )  # a value that nobody signs with: former releases pin the secret
            if variable in OURS_TO_MAKE:
                self._put({second: nobodys})
            else:
                self._put({variable: self._read(second), second: nobodys})
            workspace.apply_under(lock, workspace.with_present([variable, second]))
            return self._prove("without the old secret")

    def _finish(self, lock: Lock, theirs: SigningKeys, ours: SigningKeys) -> Table:
        """Bring QStash's present pair everywhere; it rolled, and not everybody knows it yet."""
        if theirs.current == ours.next:
            self.tell("QStash's last roll is not everywhere yet: it is finished now, and nothing is rolled")
        else:
            self.tell("QStash signs with a key that is unknown here: its keys are brought everywhere")
        return self._spread(lock, theirs, former=None)

    def _roll(self, before: SigningKeys) -> SigningKeys:
        self.tell("QStash rolls its keys")
        qstash = self.workspace.qstash()
        try:
            return qstash.rotate()
        except ProviderError as lost:
            after = qstash.keys()
            if after.current != before.next:
                lost.add_note("Nothing was rolled: QStash signs with the same key as before.")
                raise
            return after

    def _spread(self, lock: Lock, keys: SigningKeys, former: str | None) -> Table:
        self._put(dict(zip(SIGNING_KEYS, (keys.current, keys.next), strict=True)))
        self.tell(f"waiting {self.in_flight_seconds:g} s for deliveries signed with the former key")
        self.workspace.wait(self.in_flight_seconds)
        self.tell("the new pair is to be known everywhere")
        self.workspace.apply_under(lock, self.workspace.with_present(SIGNING_KEYS))
        return self._prove("after the roll", {FORMER_KEY: former} if former else None)

    def _prove(self, when: str, refused_keys: Mapping[str, str] | None = None) -> Table:
        self.tell(f"every function is asked, {when}")
        table = self.workspace.verify(refused_keys)
        if not table.ok:
            wrong = "\n".join(f"  {cell.described()}" for cell in table.wrong)
            raise ProbeFailed(f"Not every function answers as it must {when}:\n{wrong}")
        return table

    def _stored(self) -> SigningKeys:
        current, following = (self._read(name) for name in SIGNING_KEYS)
        return SigningKeys(current=current, next=following)

    def _read(self, variable: str) -> str:
        pin = self.workspace.current_pin(variable)
        if pin is None:
            raise Refused(f"{variable} has no value in {self.workspace.environment.name}: nothing to rotate.")
        return self.workspace.provider.secrets.read(pin)

    def _put(self, values: Mapping[str, str]) -> None:
        """Write new values; one that is there already is not written again, so that a retry goes on."""
        for variable, value in values.items():
            pin = self.workspace.current_pin(variable)
            if pin is not None and self.workspace.provider.secrets.read(pin) == value:
                continue
            name = secret_name(self.workspace.environment, variable)
            request = hashlib.sha256(f"{name}:{pin}:{value}".encode()).hexdigest()[:32]
            self.workspace.provider.secrets.put(name, value, request_id=request)

    def _refuse_before_tokens_end(self, variable: str) -> None:
        lifetime_seconds = float(self.workspace.environment.variables.get("STREAM_TOKEN_TTL_SECONDS", 7200))
        since = self._in_use_since(variable)
        left = since + lifetime_seconds - now_seconds()
        if left > 0:
            raise Refused(
                f"Tokens signed with the old {variable} are good for another {left / 60:.0f} minutes. "
                "Come back then, or say --now: their readers will have to ask for a new one."
            )

    def _in_use_since(self, variable: str) -> float:
        """Return when the present version of a secret went live."""
        found = releases(self.workspace.provider.objects)
        present = {state.secrets.get(variable) for state in found[0].states.values()} if found else set()
        since = found[0].at if found else 0.0
        for release in found:
            if {state.secrets.get(variable) for state in release.states.values()} != present:
                break
            since = release.at
        return since
