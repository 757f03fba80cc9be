"""Google's clients, made when they are needed: by REST, so that an emulator of HTTP alone is enough.

There is no client library here for IAM and for the project: these, and the policies of every resource, are
plain REST with the same credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import requests
from google.api_core import exceptions
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import run_v2, secretmanager_v1, storage  # type: ignore[attr-defined]
from google.cloud.run_v2.services.revisions.transports import RevisionsRestTransport
from google.cloud.run_v2.services.services.transports import ServicesRestTransport
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceRestTransport,
)

TIMEOUT_SECONDS = 60.0
HOSTS = {
    "run": "run.googleapis.com",
    "secretmanager": "secretmanager.googleapis.com",
    "storage": "storage.googleapis.com",
    "iam": "iam.googleapis.com",
    "cloudresourcemanager": "cloudresourcemanager.googleapis.com",
}


@dataclass(frozen=True, slots=True)
class Access:
    """With which credentials, and where: Google's own hosts, or one that imitates all of them."""

    credentials: Credentials
    emulator: str | None = None
    """`127.0.0.1:<port>`; None: Google's."""

    def host(self, service: str) -> str:
        return self.emulator or HOSTS[service]

    @property
    def scheme(self) -> str:
        return "http" if self.emulator else "https"


class Clients:
    """The clients of one environment; each is made once."""

    def __init__(self, access: Access, project: str) -> None:
        self._access = access
        self._project = project

    @cached_property
    def services(self) -> run_v2.ServicesClient:
        return run_v2.ServicesClient(transport=ServicesRestTransport(**self._transport("run")))

    @cached_property
    def revisions(self) -> run_v2.RevisionsClient:
        return run_v2.RevisionsClient(transport=RevisionsRestTransport(**self._transport("run")))

    @cached_property
    def secrets(self) -> secretmanager_v1.SecretManagerServiceClient:
        transport = SecretManagerServiceRestTransport(**self._transport("secretmanager"))
        return secretmanager_v1.SecretManagerServiceClient(transport=transport)

    @cached_property
    def storage(self) -> Any:
        endpoint = f"{self._access.scheme}://{self._access.host('storage')}"
        return storage.Client(
            project=self._project,
            credentials=self._access.credentials,
            client_options={"api_endpoint": endpoint},
        )

    @cached_property
    def rest(self) -> Rest:
        return Rest(self._access, AuthorizedSession(self._access.credentials))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Let go of connections."""
        for name in ("services", "revisions", "secrets"):
            if name in self.__dict__:
                self.__dict__[name].transport.close()
        for name in ("storage", "rest"):
            if name in self.__dict__:
                self.__dict__[name].close()

    def _transport(self, service: str) -> dict[str, Any]:
        return {
            "host": self._access.host(service),
            "url_scheme": self._access.scheme,
            "credentials": self._access.credentials,
        }


@dataclass(frozen=True, slots=True)
class Rest:
    """Plain REST, with errors like those of the client libraries."""

    access: Access
    session: requests.Session

    def get(self, service: str, path: str, **parameters: str | int) -> Any:
        return self._send("GET", service, path, parameters, None)

    def post(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        return self._send("POST", service, path, {}, body)

    def put(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        return self._send("PUT", service, path, {}, body)

    def delete(self, service: str, path: str) -> Any:
        return self._send("DELETE", service, path, {}, None)

    def close(self) -> None:
        self.session.close()

    def _send(
        self,
        method: str,
        service: str,
        path: str,
        parameters: Mapping[str, str | int],
        body: Mapping[str, Any] | None,
    ) -> Any:
        url = f"{self.access.scheme}://{self.access.host(service)}{path}"
        answer = self.session.request(
            method, url, params=dict(parameters), json=body, timeout=TIMEOUT_SECONDS
        )
        if answer.status_code >= 400:
            raise exceptions.from_http_response(answer)  # type: ignore[no-untyped-call]
        return answer.json() if answer.content else {}
