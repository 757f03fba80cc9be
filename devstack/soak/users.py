"""The users: each does what the plan says in a thread of its own, over HTTP, as a well-behaved frontend.

A refusal with a time is asked again after it; a request with an idempotency key whose answer never came is
sent again under the same key; one without a key is not, because it may have been accepted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from devstack.frontend import JOB, RESUME, advertisement
from devstack.soak.book import Answered, Book, Taken
from devstack.soak.plan import Act, ActKind
from devstack.soak.reading import SoakReader
from devstack.stack import Stack

TRIES = 4
PATIENCE_SECONDS = 10.0
"""A longer Retry-After is not waited for."""
UNANSWERED_SECONDS = 1.0
NOT_YET_SECONDS = 2.0
"""After 409: the step before is not done."""
BURST = (5, 8)
ERASE_TRIES = 20


@dataclass(frozen=True, slots=True)
class Request:
    """One action, ready to be sent, and sent again."""

    path: str
    body: dict[str, Any]
    title: str
    key: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """The two moments that everybody watches: no new acts from `traffic` on, no reading from `over` on."""

    traffic: threading.Event
    over: threading.Event


class User:
    """One signed-in user. `run` returns when all acts are done, or the traffic ends."""

    def __init__(self, stack: Stack, name: str, acts: Sequence[Act], book: Book, ending: Ending) -> None:
        self.name = name
        self._acts = acts
        self._book = book
        self._ending = ending
        self._last_keyed: Request | None = None
        self._cancels: list[threading.Thread] = []
        self._http = httpx.Client(
            base_url=stack.url("actions"),
            headers=stack.authorization(name),
            timeout=httpx.Timeout(15, connect=3),
        )

    def run(self, started_at: float) -> None:
        """Do the acts at their times.

        Args:
            started_at: when the soak began, of `time.monotonic`.
        """
        with self._http:
            for number, act in enumerate(self._acts):
                if self._ending.traffic.wait(max(0.0, started_at + act.at_seconds - time.monotonic())):
                    break
                self._do(act, f"ref-{self.name.rpartition('user')[2]}x{number}")
            for cancel in self._cancels:
                cancel.join()

    def _do(self, act: Act, label: str) -> None:
        match act.kind:
            case ActKind.BURST:
                self._burst(act, label)
            case ActKind.LOOK:
                self._look()
            case ActKind.DELETE:
                self._delete()
            case _:
                request = self._request(act, label)
                if request is None:
                    self._book.count("nothing to ask for")
                    return
                if request.key is not None:
                    self._last_keyed = request
                self._ask(act, request)

    def _request(self, act: Act, label: str) -> Request | None:
        locale = act.locale
        match act.kind:
            case ActKind.RESUME:
                body = {"text": f"{RESUME}{label}", "locale": locale}
                return Request("/actions/upload-resume", body, act.kind, act.key)
            case ActKind.DETAILED:
                body = {"text": f"{RESUME}\n{RESUME}{label}", "locale": locale}
                return Request("/actions/upload-detailed-resume", body, act.kind, act.key)
            case ActKind.MATCH:
                return _match(act, label)
            case ActKind.PICTURE:
                body = {"jobImage": advertisement(), "locale": locale}
                return Request("/actions/create-service", body, act.kind, act.key)
            case ActKind.REPEAT:
                return self._last_keyed
        return self._of_service(act)

    def _of_service(self, act: Act) -> Request | None:
        """Return a request for one of the user's services, those first whose match its readers saw done."""
        services = [task for task in self._own() if task.title in {ActKind.MATCH, ActKind.PICTURE}]
        services = [task for task in services if task.state == "done"] or services
        if not services:
            return None
        chosen = services[int(act.choice * len(services))]
        path = "/actions/customize-resume" if act.kind is ActKind.CUSTOMISE else "/actions/interview-tips"
        body = {"serviceId": chosen.service_id, "locale": act.locale}
        return Request(path, body, act.kind, act.key, chosen.label)

    def _own(self) -> list[Taken]:
        return [task for task in self._book.tasks() if task.user == self.name and not task.erased]

    # -- what takes more than one request --------------------------------------------------------------------

    def _burst(self, act: Act, label: str) -> None:
        count = BURST[0] + int(act.choice * (BURST[1] - BURST[0] + 1))
        with ThreadPoolExecutor(count) as pool:
            for number in range(count):
                pool.submit(self._ask, act, _match(act, f"{label}b{number}", keyed=False))

    def _look(self) -> None:
        tasks = [f"/tasks/{task.task_id}" for task in self._own()[-2:]]
        for path in ("/resume", "/services", "/quota", *tasks):
            self._call("look", lambda path=path: self._http.get(path))  # type: ignore[misc]  # a default argument

    def _delete(self) -> None:
        """Delete the user; asked again until it is known to have happened."""
        for _ in range(ERASE_TRIES):
            answer = self._call("delete me", lambda: self._http.delete("/me"))
            self._book.erase(self.name)
            if answer is not None and answer.status_code == httpx.codes.OK:
                self._last_keyed = None
                return
            if self._ending.over.wait(UNANSWERED_SECONDS):
                return

    # -- one request -----------------------------------------------------------------------------------------

    def _ask(self, act: Act, request: Request) -> None:
        headers = {"Idempotency-Key": request.key} if request.key else {}
        for _ in range(TRIES):
            answer = self._call(
                request.title, lambda: self._http.post(request.path, json=request.body, headers=headers)
            )
            if answer is not None and answer.status_code == httpx.codes.ACCEPTED:
                self._accepted(act, request, answer.json())
                return
            pause = _pause(answer, request)
            if pause is None or self._ending.traffic.wait(pause):
                return

    def _call(self, title: str, send: Callable[[], httpx.Response]) -> httpx.Response | None:
        try:
            answer = send()
            body = answer.json()
        except (httpx.HTTPError, ValueError):
            self._book.count("no answer")
            return None
        self._book.note(
            Answered(
                self.name,
                title,
                answer.status_code,
                body.get("error") if answer.is_error else None,  # a failed task's status has an error too
                body.get("retryAfter"),
                answer.headers.get("Retry-After"),
            )
        )
        return answer

    def _accepted(self, act: Act, request: Request, accepted: dict[str, Any]) -> None:
        task = Taken(
            self.name,
            accepted["taskId"],
            accepted["serviceId"],
            request.title,
            accepted["isFree"],
            request.label,
        )
        task = self._book.take(task, request.key)
        if act.reader is not None:
            reader = SoakReader(accepted["streamUrl"], act.reader, self._ending.over)
            task.readers.append(reader)
            reader.start()
        if act.cancel_seconds is not None:
            cancel = threading.Thread(target=self._cancel, args=(task, act.cancel_seconds), daemon=True)
            self._cancels.append(cancel)
            cancel.start()

    def _cancel(self, task: Taken, after_seconds: float) -> None:
        if not self._ending.traffic.wait(after_seconds):
            self._call("cancel", lambda: self._http.post(f"/tasks/{task.task_id}/cancel"))


def _match(act: Act, label: str, *, keyed: bool = True) -> Request:
    body = {"jobText": f"{JOB}Reference: {label}", "locale": act.locale}
    return Request("/actions/create-service", body, ActKind.MATCH, act.key if keyed else None, label)


def _pause(answer: httpx.Response | None, request: Request) -> float | None:
    """Return after how many seconds a request is sent again; None when it is not."""
    if answer is None:
        return UNANSWERED_SECONDS if request.key else None
    if answer.status_code == httpx.codes.CONFLICT:
        return NOT_YET_SECONDS
    after = answer.json().get("retryAfter")
    return float(after) if after is not None and after <= PATIENCE_SECONDS else None
