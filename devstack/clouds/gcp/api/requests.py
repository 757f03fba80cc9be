"""A request to one of the APIs, its answer, and refusals in the form that Google's clients read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One call."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Document:
        """Return the body; an empty one is an empty document."""
        if not self.body:
            return {}
        try:
            document = json.loads(self.body)
        except ValueError as error:
            raise ApiError(400, "INVALID_ARGUMENT", "Invalid JSON payload received.") from error
        if not isinstance(document, dict):
            raise ApiError(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        return document

    @property
    def validates_only(self) -> bool:
        return self.query.get("validateOnly", "").lower() == "true"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any], **headers: str) -> Answer:
        return cls(json.dumps(document).encode(), 200, {"Content-Type": "application/json", **headers})


class ApiError(Exception):
    """A call is refused, or fails."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def answer(self) -> Answer:
        error = {
            "code": self.status,
            "message": str(self),
            "status": self.code,
            "errors": [{"message": str(self), "reason": _REASONS.get(self.status, self.code)}],
        }
        body = json.dumps({"error": error}).encode()
        return Answer(body, self.status, {"Content-Type": "application/json; charset=UTF-8"})


_REASONS = {404: "notFound", 409: "conflict", 412: "conditionNotMet", 429: "rateLimitExceeded"}

Handler = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """Which handler answers which calls; groups of the pattern are its arguments, after the request."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    writes: bool
    """Whether it may change something."""

    @property
    def operation(self) -> str:
        return getattr(self.handler, "__name__", "").strip("_")


def route(method: str, pattern: str, handler: Handler, *, writes: bool | None = None) -> Route:
    """Make a route of a path with names in braces, `{name}`, each of which is a part of the path.

    Args:
        method: the HTTP method.
        pattern: the path; `{name+}` takes slashes too.
        handler: called with the request and the parts by name.
        writes: by default, whether the method is another than GET.
    """
    expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", re.sub(r"\{(\w+)\+\}", r"(?P<\1>.+)", pattern))
    return Route(method, re.compile(expression), handler, method != "GET" if writes is None else writes)


def not_found(what: str) -> ApiError:
    return ApiError(404, "NOT_FOUND", f"{what} was not found.")


def invalid(message: str) -> ApiError:
    return ApiError(400, "INVALID_ARGUMENT", message)
