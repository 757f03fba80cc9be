"""QStash as deploying sees it: its signing keys, and the one schedule that calls the sweep.

A small client of QStash's management API. Reads are asked again when the network fails; rolling the keys
never is, because a lost answer may have been a success: whoever rolls looks at the keys afterwards. The
token is sent in a header, and is in no message.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from deployment.errors import ProviderError
from deployment.resources import ObservedResource, Properties
from deployment.states import url_reference
from shared.settings import SigningKeys

TIMEOUT_SECONDS = 15.0
TRIES = 4
PAUSE_SECONDS = 0.5
SWEEP_PATH = "/callbacks/sweep"
SWEEP_RETRIES = 3
_MINUTES_OF_AN_HOUR = 60
_HOURS_OF_A_DAY = 24
_UNAUTHORIZED = 401
_NOT_FOUND = 404


class Unreachable(ProviderError):
    """Nobody answers at QStash's address."""


@dataclass(frozen=True, slots=True)
class QStash:
    """QStash's management API with one account's token."""

    url: str
    token: str = field(repr=False)
    client: httpx.Client
    wait: Callable[[float], None] = time.sleep

    def keys(self) -> SigningKeys:
        """Return the keys that QStash signs with now and after the next roll.

        Raises:
            ProviderError: it refused, or cannot be reached.
        """
        return _keys(self._read("/v2/keys"))

    def rotate(self) -> SigningKeys:
        """Roll the keys, once, and return the new pair.

        Raises:
            ProviderError: it refused, or its answer was lost: then `keys` tells whether they were rolled.
        """
        return _keys(self._call("POST", "/v2/keys/rotate").json())

    def schedule(self, schedule_id: str) -> Mapping[str, Any] | None:
        """Return a schedule as QStash describes it; None when there is none."""
        found: Mapping[str, Any] | None = self._read(f"/v2/schedules/{schedule_id}", or_none=True)
        return found

    def put_schedule(self, schedule_id: str, destination: str, cron: str, retries: int) -> None:
        """Make the schedule of that id, or make it as it should be."""
        headers = {
            "Upstash-Schedule-Id": schedule_id,
            "Upstash-Cron": cron,
            "Upstash-Retries": str(retries),
        }
        self._retried("POST", f"/v2/schedules/{destination}", headers)

    def resume_schedule(self, schedule_id: str) -> None:
        self._retried("POST", f"/v2/schedules/{schedule_id}/resume")

    def remove_schedule(self, schedule_id: str) -> None:
        """Remove a schedule; one that is not there is no error."""
        self._retried("DELETE", f"/v2/schedules/{schedule_id}", missing_is_fine=True)

    def _read(self, path: str, *, or_none: bool = False) -> Any:
        response = self._retried("GET", path, missing_is_fine=or_none)
        return None if response.status_code == _NOT_FOUND else _json(response)

    def _retried(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        missing_is_fine: bool = False,
    ) -> httpx.Response:
        for _ in range(TRIES - 1):
            try:
                return self._call(method, path, headers, missing_is_fine=missing_is_fine)
            except Unreachable:
                self.wait(PAUSE_SECONDS)
        return self._call(method, path, headers, missing_is_fine=missing_is_fine)

    def _call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        missing_is_fine: bool = False,
    ) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        try:
            response = self.client.request(
                method, f"{self.url}{path}", headers=sent, timeout=TIMEOUT_SECONDS, follow_redirects=False
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"QStash does not answer at {self.url} ({type(error).__name__}).") from error
        if response.is_success or (missing_is_fine and response.status_code == _NOT_FOUND):
            return response
        raise _refusal(method, path, response, self.token)


@dataclass(frozen=True, slots=True)
class SweepSchedule:
    """The schedule at QStash by which one environment's `/callbacks/sweep` is called; a `Scheduler`."""

    qstash: QStash
    environment: str
    absent_when_unreachable: bool = False
    """For a QStash that the environment itself starts: before its first start it has no schedule."""

    @property
    def id(self) -> str:
        return f"sluice-{self.environment}-sweep"

    def observe(self) -> ObservedResource | None:
        """Return the schedule as it is, with the properties that `sweep_properties` makes; reads only."""
        try:
            found = self.qstash.schedule(self.id)
        except Unreachable:
            if self.absent_when_unreachable:
                return None
            raise
        if found is None:
            return None
        properties = {
            "destination": str(found.get("destination", "")),
            "cron": str(found.get("cron", "")),
            "retries": str(found.get("retries", SWEEP_RETRIES)),
            "paused": _yes_or_no(found.get("isPaused")),
        }
        return ObservedResource(properties)

    def ensure(self, properties: Properties) -> None:
        """Make the schedule, or make it as it should be; writes nothing when it is.

        Raises:
            ProviderError: QStash refused, or cannot be reached.
        """
        there = self.observe()
        if there is not None and there.properties == properties:
            return
        self.qstash.put_schedule(
            self.id, str(properties["destination"]), str(properties["cron"]), int(properties["retries"])
        )
        if there is not None and there.properties["paused"] != properties["paused"]:
            self.qstash.resume_schedule(self.id)

    def remove(self) -> None:
        """Remove it; one that is not there is no error."""
        self.qstash.remove_schedule(self.id)


def sweep_properties(sweep_minutes: float, urls: Mapping[str, str] | None = None) -> Properties:
    """Return what the schedule should be.

    Args:
        sweep_minutes: how often the sweep is called.
        urls: the addresses that are known; a reference stands where that of `actions` is not.
    """
    base = (urls or {}).get("actions") or url_reference("actions")
    return {
        "destination": f"{base}{SWEEP_PATH}",
        "cron": cron_of(sweep_minutes),
        "retries": str(SWEEP_RETRIES),
        "paused": _yes_or_no(value=False),
    }


def cron_of(minutes: float) -> str:
    """Return the expression that fires at least every so many minutes; a minute and a day are its ends."""
    whole = max(1, math.floor(minutes))
    if whole < _MINUTES_OF_AN_HOUR:
        return f"*/{whole} * * * *"
    hours = whole // _MINUTES_OF_AN_HOUR
    return f"0 */{hours} * * *" if hours < _HOURS_OF_A_DAY else "0 0 * * *"


def _yes_or_no(value: object) -> str:
    return "yes" if value else "no"


def _keys(document: Any) -> SigningKeys:
    try:
        return SigningKeys(current=document["current"], next=document["next"])
    except (KeyError, TypeError) as error:
        raise ProviderError(
            "QStash's answer about its signing keys is not of a form that is known."
        ) from error


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise ProviderError(
            "What answers at QStash's address is not QStash: its answer is no JSON."
        ) from error


def _refusal(method: str, path: str, response: httpx.Response, token: str) -> ProviderError:
    if response.status_code == _UNAUTHORIZED:
        return ProviderError("QStash does not know the token: look at the secret QSTASH_TOKEN.")
    # A server may repeat what it was sent.
    said = response.text[:200].replace(token, "***")
    return ProviderError(f"QStash refused {method} {path}: {response.status_code} {said}")
