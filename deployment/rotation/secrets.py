"""Rotating secrets that are not QStash's signing keys.

`STREAM_TOKEN_SECRET`, `AUTH_JWT_SECRET`: a function signs with the first and takes the second as well.

    begin    offered: the new one is second everywhere ─▶ signing (ours to make): the new one first, the old
             one second ─▶ both are taken
    finish   ending: the new one alone, once what the old one signed has ended

`QSTASH_TOKEN`: QStash has several at once; the new one is tried, handed out, and the old one revoked there.

Each stage is noted before it begins, so that a rotation that was broken off goes on with the same secrets:
begun anew with others, it would turn away whoever holds what the former one signed.
"""

from __future__ import annotations

import secrets as random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deployment.errors import Refused
from deployment.ledger import now_seconds
from deployment.lock import Lock, locked
from deployment.rotation.notes import Note, Stage, forget_note, read_note, write_note
from deployment.rotation.steps import Steps
from deployment.states import SecretPin
from deployment.verification import Table
from deployment.workspace import QSTASH_TOKEN, Workspace

SECOND = {"STREAM_TOKEN_SECRET": "STREAM_TOKEN_SECRET_SECOND", "AUTH_JWT_SECRET": "AUTH_JWT_SECRET_SECOND"}
OURS_TO_MAKE = frozenset({"STREAM_TOKEN_SECRET"})
"""Secrets that nobody outside needs to know: a new value is drawn here."""
TOKEN_TTL_SECONDS = 7200.0
"""How long a stream token is good where the environment does not say: the functions' own default."""
OLD, NEW = "old", "new"
_RANDOM_BYTES = 48


@dataclass(frozen=True)
class SecretRotation:
    """Rotates secrets of one environment."""

    workspace: Workspace
    tell: Callable[[str], None]
    clock: Callable[[], float] = now_seconds

    def token(self, value: str) -> Table:
        """Give `actions` another token, once QStash has taken it; the old one is QStash's to revoke.

        Raises:
            Refused: nothing has been released here yet.
            ProviderError: QStash does not take the new token; nothing was changed.
        """
        self.workspace.newest()
        with locked(self.workspace.provider.objects, f"rotate-keys --secret {QSTASH_TOKEN}") as lock:
            self.workspace.qstash(token=value).keys()
            self._steps.put({QSTASH_TOKEN: value})
            self._steps.bring(lock, [QSTASH_TOKEN])
            return self._steps.prove("with the new token")

    def begin(self, variable: str, value: str | None = None) -> Table:
        """Let a new secret be taken everywhere; one that is ours to make signs from then on.

        Args:
            variable: a key of `SECOND`.
            value: the new value, as the issuer of users' tokens has it; drawn here where it is ours to make.

        Raises:
            Refused: there is nothing to rotate, or the rotation before has not been finished.
        """
        self.workspace.newest()
        with locked(self.workspace.provider.objects, f"rotate-keys --secret {variable}") as lock:
            note = self._read_note(variable)
            if note is not None and note.stage in {Stage.BOTH, Stage.ENDING}:
                raise Refused(
                    f"Two values of {variable} are taken since {_moment(note.at)}. First let the old one go: "
                    f"rotate-keys --secret {variable} --finish"
                )
            if note is None or note.stage is not Stage.SIGNING:
                note = self._offer(lock, variable, value or random.token_urlsafe(_RANDOM_BYTES))
            if variable in OURS_TO_MAKE:
                self._sign(lock, variable, note)
            table = self._steps.prove("with both secrets")
            self._write_note(variable, Stage.BOTH, note.pins)
            return table

    def finish(self, variable: str, *, now: bool = False) -> Table:
        """Let the old secret no longer be taken.

        Raises:
            Refused: no rotation has come so far, or what the old one signed may still be in use, and `now`
                does not say to go on all the same.
        """
        self.workspace.newest()
        with locked(self.workspace.provider.objects, f"rotate-keys --secret {variable} --finish") as lock:
            note = self._finishable(variable, now=now)
            values = {SECOND[variable]: random.token_urlsafe(_RANDOM_BYTES)}  # of nobody's: releases pin one
            if variable not in OURS_TO_MAKE:
                if note.stage is not Stage.ENDING:
                    note = self._write_note(
                        variable, Stage.ENDING, {**note.pins, NEW: self._steps.pin(SECOND[variable])}
                    )
                values = {variable: self._steps.value(note.pins[NEW]), **values}
            self._steps.put(values)
            self._steps.bring(lock, [variable, SECOND[variable]])
            table = self._steps.prove("without the old secret")
            forget_note(self.workspace.provider.objects, variable)
            return table

    def _offer(self, lock: Lock, variable: str, value: str) -> Note:
        """Let the new secret be taken everywhere, while nobody signs with it."""
        old = self._steps.pin(variable)
        if value == self._steps.value(old):
            raise Refused(f"That is the {variable} which is in use already. Nothing was changed.")
        self._write_note(variable, Stage.OFFERED, {OLD: old})
        self.tell("the new secret is to be taken everywhere")
        self._steps.put({SECOND[variable]: value})
        self._steps.bring(lock, [variable, SECOND[variable]])
        return Note(variable, Stage.OFFERED, {OLD: old, NEW: self._steps.pin(SECOND[variable])})

    def _sign(self, lock: Lock, variable: str, note: Note) -> None:
        """Let the new secret sign everywhere, while the old one is still taken."""
        if note.stage is Stage.OFFERED:
            self._steps.prove("before the new secret signs")
        self._write_note(variable, Stage.SIGNING, note.pins)
        self.tell("the new secret signs from now on")
        # In this order, whoever deploys between the two hands out the old one twice, and turns nobody away.
        old, new = (self._steps.value(note.pins[name]) for name in (OLD, NEW))
        self._steps.put({SECOND[variable]: old, variable: new})
        self._steps.bring(lock, [variable, SECOND[variable]])

    def _finishable(self, variable: str, *, now: bool) -> Note:
        note = self._read_note(variable)
        if note is None:
            raise Refused(
                f"No rotation of {variable} is under way: rotate-keys --secret {variable} begins one."
            )
        if note.stage not in {Stage.BOTH, Stage.ENDING}:
            raise Refused(
                f"The rotation of {variable} was broken off before the new value was taken everywhere; "
                f"this goes on with it: rotate-keys --secret {variable}"
            )
        if variable in OURS_TO_MAKE and not now:
            self._refuse_before_tokens_end(note)
        return note

    def _refuse_before_tokens_end(self, note: Note) -> None:
        lifetime = self.workspace.environment.variables.get("STREAM_TOKEN_TTL_SECONDS", TOKEN_TTL_SECONDS)
        left_seconds = note.at + float(lifetime) - self.clock()
        if left_seconds > 0:
            raise Refused(
                f"Tokens signed with the old {note.subject} are good for another {_span(left_seconds)}. "
                "Come back then, or say --now: their readers will have to ask for a new one."
            )

    def _read_note(self, variable: str) -> Note | None:
        return read_note(self.workspace.provider.objects, variable)

    def _write_note(self, variable: str, stage: Stage, pins: Mapping[str, SecretPin]) -> Note:
        return write_note(self.workspace.provider.objects, Note(variable, stage, pins, self.clock()))

    @property
    def _steps(self) -> Steps:
        return Steps(self.workspace, self.tell)


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
