"""Composes the document: calls, schemas, refusals and examples, put together as OpenAPI 3.1."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployment.catalogue import ROOT
from scripts.contract.calls import CALLS, ApiCall
from scripts.contract.examples import answer_examples, request_examples
from scripts.contract.refusals import refusal_examples, refusals_of
from scripts.contract.schemas import component_schemas, reference

_ID = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_INTRODUCTION = Path(__file__).with_name("introduction.md")
_TAGS = {
    "actions": "What starts a task.",
    "tasks": "What becomes of it.",
    "stored": "What is kept of a user.",
    "service": "The function itself; no user token.",
}
_PARAMETERS: Mapping[str, Any] = {
    "taskId": {
        "in": "path",
        "required": True,
        "description": "The task, as the accepted answer named it.",
        "schema": _ID,
    },
    "serviceId": {
        "in": "path",
        "required": True,
        "description": "The service, as `create-service` named it.",
        "schema": _ID,
    },
    "Idempotency-Key": {
        "in": "header",
        "description": "Names this request: new for each thing that is wanted, the same when sent again.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "example": "6f1d2c3b-4a59-4e68-9d77-0c8b7a695e4d",
    },
    "Accept-Language": {
        "in": "header",
        "description": "Decides the language where neither `locale` nor a text does.",
        "schema": {"type": "string"},
        "example": "zh-CN, zh;q=0.9, en;q=0.8",
    },
    "traceparent": {
        "in": "header",
        "description": "A W3C trace context, which the task carries on; another shape is ignored.",
        "schema": {"type": "string"},
        "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
    "If-None-Match": {
        "in": "header",
        "description": "The `ETag` of the answer that is there already.",
        "schema": {"type": "string"},
        "example": 'W/"9b2d7e5f1c3a4b60"',
    },
}
_HEADERS: Mapping[str, Any] = {
    "Retry-After": {
        "required": True,
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 12,
    },
    "WWW-Authenticate": {
        "required": True,
        "description": "How to sign in.",
        "schema": {"type": "string", "const": "Bearer"},
    },
    "ETag": {
        "required": True,
        "description": "Send it as `If-None-Match` next time.",
        "schema": {"type": "string"},
        "example": 'W/"9b2d7e5f1c3a4b60"',
    },
}


def document() -> dict[str, Any]:
    """Return the whole OpenAPI document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    paths: dict[str, Any] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice: actions",
            "version": project["version"],
            "summary": "LLM tasks for job seekers: résumés, matches, tailored résumés, interview tips.",
            "description": _INTRODUCTION.read_text(encoding="utf-8"),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The function that serves this document."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [{"userToken": []}],
        "paths": paths,
        "components": {
            "schemas": component_schemas(),
            "parameters": {name: {"name": name, **fields} for name, fields in _PARAMETERS.items()},
            "headers": dict(_HEADERS),
            "examples": _examples(),
            "securitySchemes": {
                "userToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The user's token: HS256 by a shared secret, or RS256/ES256 by a JWKS.",
                }
            },
        },
    }


def _operation(call: ApiCall) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": call.name,
        "tags": [call.tag],
        "summary": call.summary,
        "description": " ".join(call.description.split()),
    }
    if call.public:
        operation["security"] = []
    if call.parameters:
        operation["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in call.parameters]
    if call.body:
        operation["requestBody"] = {"required": True, "content": _request(call)}
    operation["responses"] = {str(call.status): _answer(call), **_not_modified(call), **refusals_of(call)}
    return operation


def _request(call: ApiCall) -> dict[str, Any]:
    content: dict[str, Any] = {
        "application/json": {
            "schema": reference(call.body_name),
            "examples": _references("sent", call, request_examples()),
        }
    }
    if call.form is not None:
        file = {"type": "string", "format": "binary", "description": call.form.description}
        locale = {"type": "string", "enum": ["zh", "en"], "description": "The language of the result."}
        content["multipart/form-data"] = {
            "schema": {
                "type": "object",
                "properties": {call.form.field: file, "locale": locale},
                "required": [call.form.field],
                "additionalProperties": False,
            },
            "encoding": {call.form.field: {"contentType": call.form.content_types}},
        }
    return content


def _answer(call: ApiCall) -> dict[str, Any]:
    description = (call.answer.__doc__ or "") if call.answer else "The document."
    content: dict[str, Any] = {"schema": {"type": "object"}}
    if call.answer is not None:
        content = {
            "schema": reference(call.answer.__name__),
            "examples": _references("got", call, answer_examples()),
        }
    answer = {"description": " ".join(description.split()), "content": {"application/json": content}}
    return answer | _etag(call)


def _not_modified(call: ApiCall) -> dict[str, Any]:
    return {"304": {"description": "Nothing has changed.", **_etag(call)}} if call.polled else {}


def _etag(call: ApiCall) -> dict[str, Any]:
    return {"headers": {"ETag": {"$ref": "#/components/headers/ETag"}}} if call.polled else {}


def _references(kind: str, call: ApiCall, examples: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: {"$ref": f"#/components/examples/{kind}_{call.name}_{name}"} for name in examples[call.name]
    }


def _examples() -> dict[str, Any]:
    shown = {
        f"{kind}_{call}_{name}": {"value": value}
        for kind, by_call in (("sent", request_examples()), ("got", answer_examples()))
        for call, values in by_call.items()
        for name, value in values.items()
    }
    return dict(sorted((shown | refusal_examples()).items()))
