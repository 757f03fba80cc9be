"""The emulated Google Cloud as a whole: finds who answers a call, lets faults happen, and keeps a record."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from devstack.clouds.gcp.api.iam import Accounts
from devstack.clouds.gcp.api.requests import Answer, ApiError, Request, Route, not_found
from devstack.clouds.gcp.api.run import Run
from devstack.clouds.gcp.api.run_revisions import Ground
from devstack.clouds.gcp.api.secret_manager import SecretManager
from devstack.clouds.gcp.api.storage import Storage
from devstack.clouds.gcp.api.world import Pace, World
from devstack.clouds.gcp.faults import Fault
from devstack.clouds.recorder import Recorded, Recorder

REGION = "europe-west3"
_UPLOADED = re.compile(rb'"name": ?"([^"]+)"')


@dataclass
class Cloud:
    """All services of one project, in one region; calls come one after the other."""

    region: str = REGION
    pace: Pace = field(default_factory=Pace)
    recorder: Recorder = field(default_factory=Recorder)
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        world = World(self.pace)
        secrets, storage = SecretManager(world), Storage(world)
        self._serve(Run(Ground(world, secrets, storage), self.region))

    def remember(self) -> Run:
        """Return all there is now, for `restore`."""
        return copy.deepcopy(self.run)

    def restore(self, remembered: Run) -> None:
        """Bring everything back to what `remember` returned."""
        self._serve(copy.deepcopy(remembered))

    def _serve(self, run: Run) -> None:
        self.run = run
        self.world, self.secrets, self.storage = run.ground.world, run.ground.secrets, run.ground.storage
        services = {
            "run": run.routes(),
            "secretmanager": self.secrets.routes(),
            "iam": Accounts(self.world).routes(),
            "storage": self.storage.routes(),
        }
        self._routes = [(service, each) for service, routes in services.items() for each in routes]

    def answer(self, request: Request) -> Answer:
        """Return the answer to a call.

        Raises:
            Unanswered: a fault breaks the connection.
        """
        try:
            service, found, parts = self._find(request)
            call = Recorded(service, found.operation, _subject(request), _writes(found, request))
            self.recorder.add(call)
            numbers = [(fault, fault.number(call)) for fault in self.faults]
            for fault, number in numbers:
                fault.before(call, number)
            answer = _carried_out(found, request, parts)
            for fault, number in numbers:
                fault.after(call, number)
        except ApiError as error:
            return error.answer
        return answer

    def _find(self, request: Request) -> tuple[str, Route, dict[str, str]]:
        for service, each in self._routes:
            if each.method != request.method:
                continue
            if match := each.pattern.fullmatch(request.path):
                return service, each, {name: unquote(part) for name, part in match.groupdict().items()}
        raise not_found(f"{request.method} {request.path}")


def _carried_out(found: Route, request: Request, parts: dict[str, str]) -> Answer:
    """Carry a call out; a refusal is an answer like any other, that can be lost."""
    try:
        return found.handler(request, **parts)
    except ApiError as error:
        return error.answer


def _writes(found: Route, request: Request) -> bool:
    return found.writes and not request.validates_only


def _subject(request: Request) -> str:
    path = unquote(request.path)
    named = request.query.get("serviceId") or request.query.get("secretId") or request.query.get("name")
    if request.query.get("uploadType") == "multipart" and (found := _UPLOADED.search(request.body)):
        named = found[1].decode()  # the first part of the body describes the object
    _, _, after = path.partition("/projects/")
    if not after:
        after = path.partition("/b/")[2]
    return "/".join(filter(None, (after, named)))
