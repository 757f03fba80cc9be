"""Rotating QStash's signing keys. A function knows two, `current` and `next`; QStash signs with the first.

    both known everywhere ─▶ proven by probes ─▶ QStash rolls: next signs ─▶ noted ─▶ (in flight ends)
        ─▶ the new pair everywhere ─▶ proven: both taken, the former refused ─▶ the note goes

A roll cannot be taken back, and a second one before the first is everywhere would lock everybody out: it is
never sent. Where a rotation was broken off, the next call finishes that one, from what QStash, the store and
the note say, and rolls nothing. (Upstash, "Roll signing keys", says the same of rolling twice.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployment.errors import MissingSecret, ProviderError
from deployment.lock import Lock, locked
from deployment.rotation.notes import Note, Stage, forget_note, read_note, write_note
from deployment.rotation.steps import Steps
from deployment.verification import Table
from deployment.workspace import SIGNING_KEYS, Workspace
from shared.settings import SigningKeys

IN_FLIGHT_SECONDS = 10.0
"""How long a delivery signed before a roll may still be on its way."""
SUBJECT = "signing-keys"
CURRENT, NEXT = "current", "next"


@dataclass(frozen=True)
class SigningKeyRotation:
    """Rotates the signing keys of one environment."""

    workspace: Workspace
    tell: Callable[[str], None]
    in_flight_seconds: float = IN_FLIGHT_SECONDS

    def rotate(self) -> Table:
        """Roll QStash's signing keys, or finish a roll that was broken off; returns the final proof.

        Raises:
            Refused: nothing has been released here yet.
            LockHeld: somebody deploys or rotates now.
            ProbeFailed: not every function answers as it must; before the roll, nothing was rolled.
            ProviderError: QStash refused; whether it rolled is told.
        """
        self.workspace.newest()
        objects = self.workspace.provider.objects
        with locked(objects, "rotate-keys") as lock:
            note, theirs = read_note(objects, SUBJECT), self.workspace.qstash().keys()
            if note is None and theirs == self._stored():
                self._roll(lock, theirs)
                theirs = self.workspace.qstash().keys()
            else:
                self._tell_of_former(theirs, note)
            # From a roll until here the store tells of it: it has another pair than QStash.
            return self._spread(lock, theirs, note or self._write_note())

    def _roll(self, lock: Lock, theirs: SigningKeys) -> None:
        """Have QStash sign with the next key, once everybody takes it."""
        self.tell("both keys of QStash are to be known everywhere")
        self._put(theirs)
        self._steps.bring(lock, SIGNING_KEYS)
        self._steps.prove("before the roll")
        lock.renew()  # what cannot be taken back is done by the lock's holder of this very moment
        lock.check()
        self.tell("QStash rolls its keys")
        try:
            self.workspace.qstash().rotate()
        except ProviderError as failed:
            self._refuse_unless_rolled(theirs, failed)

    def _refuse_unless_rolled(self, before: SigningKeys, failed: ProviderError) -> None:
        """Return when the roll took place although its answer was lost."""
        try:
            after = self.workspace.qstash().keys()
        except ProviderError:
            failed.add_note("Whether it rolled is unknown. rotate-keys finds out, and rolls no second time.")
            raise failed from None
        if after == before:
            failed.add_note("Nothing was rolled: QStash signs with the same key as before.")
            raise failed

    def _spread(self, lock: Lock, keys: SigningKeys, note: Note) -> Table:
        """Bring QStash's present pair everywhere, and prove it."""
        known = self.workspace.pinned_keys()
        self._put(keys)
        if keys.current in {
            known.current,
            known.next,
        }:  # else it is refused as it is, and waiting helps nobody
            self.tell(f"waiting {self.in_flight_seconds:g} s for deliveries signed with the former key")
            self.workspace.wait(self.in_flight_seconds)
        self.tell("the new pair is to be known everywhere")
        self._steps.bring(lock, SIGNING_KEYS)
        table = self._steps.prove("after the roll", _gone(self._noted(note), keys))
        forget_note(self.workspace.provider.objects, SUBJECT)
        return table

    def _tell_of_former(self, theirs: SigningKeys, note: Note | None) -> None:
        former = self._noted(note) if note else self._stored()
        if former is not None and theirs.current == former.next:
            self.tell("QStash's last roll is not everywhere yet: it is finished now, and nothing is rolled")
        else:
            self.tell(
                "QStash signs with a key that is unknown here: its keys are brought everywhere, "
                "and nothing is rolled"
            )

    def _write_note(self) -> Note:
        """Note the store's present pair, from which the functions are led away."""
        current, following = (self._steps.pin(name) for name in SIGNING_KEYS)
        pins = {CURRENT: current, NEXT: following}
        return write_note(self.workspace.provider.objects, Note(SUBJECT, Stage.ROLLING, pins))

    def _noted(self, note: Note) -> SigningKeys | None:
        """Return the pair that a note names; None when its versions are gone."""
        try:
            current, following = (self._steps.value(note.pins[name]) for name in (CURRENT, NEXT))
        except MissingSecret:
            return None
        return SigningKeys(current=current, next=following)

    def _stored(self) -> SigningKeys:
        current, following = (self._steps.value(self._steps.pin(name)) for name in SIGNING_KEYS)
        return SigningKeys(current=current, next=following)

    def _put(self, keys: SigningKeys) -> None:
        # The one that signs first: a deploy between the two must not lose it.
        self._steps.put(dict(zip(SIGNING_KEYS, (keys.current, keys.next), strict=True)))

    @property
    def _steps(self) -> Steps:
        return Steps(self.workspace, self.tell)


def _gone(former: SigningKeys | None, keys: SigningKeys) -> dict[str, str]:
    """Return the keys that must not be taken any more, by what they were."""
    were = {"former": former.current, "former next": former.next} if former else {}
    return {f"with the {what} key": key for what, key in were.items() if key not in {keys.current, keys.next}}
