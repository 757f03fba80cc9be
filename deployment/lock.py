"""The environment's lock: one object in the store, taken, renewed and given back by conditional writes.

    free ──take──▶ held(id, token n, expires) ──renew──▶ held ──release──▶ free(token n)
                        │ expired: taken over as n+1; `unlock --id` frees it

Only whoever wrote the version that is there can write the next one, so exactly one of several takers
wins. The fencing token grows with every taking and the object is never removed: a holder that slept
through its lease finds a greater token before its next write and stops. (Kleppmann, "How to do
distributed locking", 2016.)
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

from deployment.errors import DeployError, LockHeld, LockLost, Refused
from deployment.objects import Condition, Conflict, ObjectStore

LOCK_KEY = "lock.json"
LEASE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock, since when and until when, in seconds since the epoch."""

    id: str
    owner: str
    host: str
    pid: int
    command: str
    token: int
    taken_at: float
    expires_at: float
    held: bool = True

    def described(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.taken_at))
        return f"{self.owner} on {self.host} (pid {self.pid}) runs `{self.command}` since {since}"


@dataclass
class Lock:
    """A held lock; `check` before every write."""

    objects: ObjectStore
    holder: Holder
    version: str
    clock: Callable[[], float] = time.time
    lost: str | None = None
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def token(self) -> int:
        """Return the fencing token: greater than that of every holder before."""
        return self.holder.token

    def check(self) -> None:
        """Return while the lock is ours.

        Raises:
            LockLost: it was taken over, freed by `unlock`, or could not be renewed in time.
        """
        if self.lost is None and self.clock() > self.holder.expires_at:
            self.lost = "its lease could not be renewed in time"
        if self.lost is not None:
            raise LockLost(
                f"The lock of this environment is no longer ours: {self.lost}. Nothing more was written."
            )

    def renew(self, lease_seconds: float = LEASE_SECONDS) -> None:
        """Prolong the lease; what goes wrong is told by the next `check`."""
        with self._mutex:
            renewed = replace(self.holder, expires_at=self.clock() + lease_seconds)
            try:
                self.version = self.objects.put(LOCK_KEY, _written(renewed), only_if=self.version)
            except Conflict:
                self.lost = "somebody else took it or freed it"
            except DeployError:
                return  # the store is away for the moment: the lease itself says for how long that may be
            else:
                self.holder = renewed

    def release(self) -> None:
        """Give it back; one that was lost is somebody else's and left alone."""
        with self._mutex:
            try:
                self.objects.put(LOCK_KEY, _written(replace(self.holder, held=False)), only_if=self.version)
            except Conflict:
                return


def read_lock(objects: ObjectStore) -> Holder | None:
    """Return who holds the lock, None when nobody does."""
    stored = objects.get(LOCK_KEY)
    holder = _read(stored.content) if stored else None
    return holder if holder and holder.held else None


@contextmanager
def locked(
    objects: ObjectStore,
    command: str,
    *,
    lease_seconds: float = LEASE_SECONDS,
    clock: Callable[[], float] = time.time,
) -> Iterator[Lock]:
    """Hold the environment's lock, renewed in the background every third of its lease.

    Raises:
        LockHeld: somebody else holds it; the text says who, and how to free it.
    """
    lock = _take(objects, command, lease_seconds, clock)
    stop = threading.Event()
    renewal = threading.Thread(target=_keep, args=(lock, stop, lease_seconds), name="lock", daemon=True)
    renewal.start()
    try:
        yield lock
    except Exception:
        _end(lock, stop, renewal)
        raise
    except BaseException as ended:
        if isinstance(ended, KeyboardInterrupt | SystemExit):
            _end(lock, stop, renewal)
        stop.set()
        raise
    else:
        _end(lock, stop, renewal)


def unlock(objects: ObjectStore, lock_id: str) -> Holder:
    """Free a lock whose holder is gone, and return who held it.

    Raises:
        Refused: nobody holds it, or somebody with another id.
    """
    stored = objects.get(LOCK_KEY)
    holder = _read(stored.content) if stored else None
    if stored is None or holder is None or not holder.held:
        raise Refused("The environment is not locked.")
    if holder.id != lock_id:
        raise Refused(f"The lock has the id {holder.id}, not {lock_id}: {holder.described()}.")
    try:
        objects.put(LOCK_KEY, _written(replace(holder, held=False)), only_if=stored.version)
    except Conflict as moved:
        raise Refused(
            "The lock has just been renewed or given back: its holder lives. Look again."
        ) from moved
    return holder


def _take(objects: ObjectStore, command: str, lease_seconds: float, clock: Callable[[], float]) -> Lock:
    stored = objects.get(LOCK_KEY)
    before = _read(stored.content) if stored else None
    if before is not None and before.held and before.expires_at > clock():
        raise _held(before)
    now = clock()
    holder = Holder(
        id=uuid.uuid4().hex[:12],
        owner=_owner(),
        host=socket.gethostname(),
        pid=os.getpid(),
        command=command,
        token=(before.token if before else 0) + 1,
        taken_at=now,
        expires_at=now + lease_seconds,
    )
    try:
        version = objects.put(
            LOCK_KEY, _written(holder), only_if=stored.version if stored else Condition.ABSENT
        )
    except Conflict as moved:
        winner = read_lock(objects)
        if winner is not None and winner.id == holder.id:  # our own write, whose answer was lost
            again = objects.get(LOCK_KEY)
            return Lock(objects, holder, again.version if again else "", clock)
        raise _held(winner) from moved
    return Lock(objects, holder, version, clock)


def _held(holder: Holder | None) -> LockHeld:
    if holder is None:
        return LockHeld("Somebody else has just locked this environment. Try again in a moment.")
    return LockHeld(
        f"This environment is locked: {holder.described()}. Wait for it, or, if that process is gone, "
        f"free it with: unlock --id {holder.id}"
    )


def _keep(lock: Lock, stop: threading.Event, lease_seconds: float) -> None:
    while not stop.wait(lease_seconds / 3) and lock.lost is None:
        lock.renew(lease_seconds)


def _end(lock: Lock, stop: threading.Event, renewal: threading.Thread) -> None:
    stop.set()
    renewal.join()
    lock.release()


def _owner() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        return f"uid {os.getuid()}"


def _written(holder: Holder) -> bytes:
    return json.dumps(asdict(holder), indent=1).encode()


def _read(content: bytes) -> Holder:
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise Refused(f"{LOCK_KEY} in the environment's store is no lock of this version: {error}") from error
