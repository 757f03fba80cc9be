"""Examples of every request and every answer: one candidate for each language, from résumé to interview.

What users send and what templates make are files below samples/. Ids and times are made up.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.routing import Action, Lane, Template

Examples = Mapping[str, Any]

LOCALES = ("en", "zh")
_SAMPLES = Path(__file__).with_name("samples")
_STARTED_MS = 1_795_514_400_000
_TASKS = {
    Action.UPLOAD_RESUME: "5f2c9f0e4c7b4f6f9f63f0a7f6f3a101",
    Action.UPLOAD_DETAILED_RESUME: "0b7de53b2f7f4a3c8d1f4d5be0a4c202",
    Action.CREATE_SERVICE: "c41d8cd98f004f5b8c8b1d0c2f8e3303",
    Action.CUSTOMIZE_RESUME: "8e5b2a9c7d3f4e60a1b2c3d4e5f60404",
    Action.INTERVIEW_TIPS: "e7a1f0b39d5c4d2e8f7a6b5c4d3e2505",
}
_SERVICE = "3a9f6d2e1c8b4750b6e5d4c3b2a19006"
_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyLTEifQ.c2lnbmF0dXJl"  # noqa: S105 - opens nothing
_TITLES = {
    "en": ("Senior Platform Engineer (Payments)", "Brightwater Finance"),
    "zh": ("高级后端工程师（交易平台）", "青禾数科"),
}
_TEMPLATES = {
    Action.UPLOAD_RESUME: Template.RESUME_SUMMARY,
    Action.UPLOAD_DETAILED_RESUME: Template.DETAILED_RESUME_SUMMARY,
    Action.CREATE_SERVICE: Template.JOB_MATCH,
    Action.CUSTOMIZE_RESUME: Template.RESUME_CUSTOMIZE,
    Action.INTERVIEW_TIPS: Template.INTERVIEW_PREP,
}
_LANES = {
    Action.UPLOAD_RESUME: Lane.PAID_BATCH,
    Action.UPLOAD_DETAILED_RESUME: Lane.PAID_BATCH,
    Action.CREATE_SERVICE: Lane.PAID_STREAM,
    Action.CUSTOMIZE_RESUME: Lane.PAID_BATCH,
    Action.INTERVIEW_TIPS: Lane.PAID_STREAM,
}


def result(template: Template, locale: str) -> dict[str, Any]:
    """Return what a template makes, as `GET /tasks/{taskId}` has it."""
    if not template.streams:
        made: dict[str, Any] = json.loads(_sample(f"{template}.{locale}.json"))
        return made
    text = _sample(f"{template}.{locale}.md")
    if template is not Template.JOB_MATCH:
        return {"text": text}
    return {"text": text, "score": int(text.split("\n", 1)[0].removeprefix("score: "))}


def _sample(name: str) -> str:
    return (_SAMPLES / name).read_text(encoding="utf-8").rstrip("\n")


def _picture() -> str:
    return base64.b64encode((_SAMPLES / "job.png").read_bytes()).decode()


def request_examples() -> dict[str, Examples]:
    """Return the examples of JSON bodies by the call's name, each with one for both languages."""
    steps = {"step": {"serviceId": _SERVICE}, "in_chinese": {"serviceId": _SERVICE, "locale": "zh"}}
    return {
        "uploadResume": {
            f"text_{name}": {"text": _sample(f"resume.{name}.txt"), "locale": name} for name in LOCALES
        },
        "uploadDetailedResume": {
            f"text_{name}": {"text": _sample(f"history.{name}.txt")} for name in LOCALES
        },
        "createService": {
            **{f"text_{name}": {"jobText": _sample(f"job.{name}.txt"), "locale": name} for name in LOCALES},
            "picture": {"jobImage": f"data:image/png;base64,{_picture()}", "locale": "en"},
        },
        "customizeResume": steps,
        "interviewTips": steps,
    }


def answer_examples() -> dict[str, Examples]:
    """Return the examples of answers by the call's name."""
    return {
        **{_name_of(action): {"accepted": _accepted(action)} for action in Action},
        "createService": {
            "accepted": _accepted(Action.CREATE_SERVICE),
            "free": _accepted(Action.CREATE_SERVICE) | {"queueId": Lane.FREE_STREAM, "isFree": True},
            "picture": _accepted(Action.CREATE_SERVICE) | {"queueId": Lane.PAID_VISION},
        },
        "customizeResume": {
            "accepted": _accepted(Action.CUSTOMIZE_RESUME),
            "under_way": _accepted(Action.CUSTOMIZE_RESUME) | {"replay": True},
        },
        "getTask": _statuses(),
        "cancelTask": {
            "cancelled": {"ok": True, "taskId": _TASKS[Action.CREATE_SERVICE], "state": "cancelled"}
        },
        "getResume": {"nothing": _resume(None), **{name: _resume(name) for name in LOCALES}},
        "listServices": {name: {"ok": True, "services": [_line(name)]} for name in LOCALES},
        "getService": {name: _service(name) for name in LOCALES},
        "getQuota": {"history": _quota()},
        "deleteMe": {"removed": _deleted()},
        "getHealth": {"up": {"ok": True}},
    }


def _name_of(action: Action) -> str:
    first, *rest = action.split("-")
    return first + "".join(part.capitalize() for part in rest)


def _service_of(action: Action) -> str:
    return "resume" if action in {Action.UPLOAD_RESUME, Action.UPLOAD_DETAILED_RESUME} else _SERVICE


def _stream_url(action: Action) -> str:
    return f"https://events.example.com/events/{_service_of(action)}/{_TASKS[action]}?token={_TOKEN}"


def _accepted(action: Action) -> dict[str, Any]:
    return {
        "ok": True,
        "taskId": _TASKS[action],
        "serviceId": _service_of(action),
        "queueId": _LANES[action],
        "isFree": False,
        "stream": _TEMPLATES[action].streams,
        "streamUrl": _stream_url(action),
        "statusUrl": f"https://actions.example.com/tasks/{_TASKS[action]}",
        "replay": False,
    }


def _statuses() -> dict[str, Any]:
    waiting = {"state": "queued", "attempt": 0, "position": 3, "etaSeconds": 27, "finishedAt": None}
    failed = {"code": "invalid_output", "message": "The model's answer is too short to be one."}
    done = {
        f"{action.replace('-', '_')}_{name}": _status(action, result=result(template, name))
        for action, template in _TEMPLATES.items()
        for name in LOCALES
    }
    return {
        "queued": _status(Action.CREATE_SERVICE, **waiting),
        "running": _status(Action.CREATE_SERVICE, state="running", finishedAt=None),
        **done,
        "failed": _status(Action.CUSTOMIZE_RESUME, state="failed", error=failed, refunded=True),
        "cancelled": _status(Action.INTERVIEW_TIPS, state="cancelled", refunded=True),
    }


def _status(action: Action, **changes: Any) -> dict[str, Any]:
    done = {
        "ok": True,
        "taskId": _TASKS[action],
        "serviceId": _service_of(action),
        "action": action,
        "state": "done",
        "step": 0,
        "attempt": 1,
        "queueId": _LANES[action],
        "position": None,
        "etaSeconds": None,
        "isFree": False,
        "refunded": False,
        "streamUrl": _stream_url(action),
        "createdAt": _STARTED_MS,
        "finishedAt": _STARTED_MS + 21_400,
    }
    return done | changes


def _resume(locale: str | None) -> dict[str, Any]:
    if locale is None:
        names = ("summary", "text", "summaryAt", "detailed", "detailedText", "detailedAt")
        return {"ok": True, **dict.fromkeys(names), "tasks": {}}
    uploads = (Action.UPLOAD_RESUME, Action.UPLOAD_DETAILED_RESUME)
    return {
        "ok": True,
        "summary": result(Template.RESUME_SUMMARY, locale),
        "text": _sample(f"resume.{locale}.txt"),
        "summaryAt": _STARTED_MS,
        "detailed": result(Template.DETAILED_RESUME_SUMMARY, locale),
        "detailedText": _sample(f"history.{locale}.txt"),
        "detailedAt": _STARTED_MS + 60_000,
        "tasks": {action: _TASKS[action] for action in uploads},
    }


def _line(locale: str) -> dict[str, Any]:
    title, company = _TITLES[locale]
    return {
        "serviceId": _SERVICE,
        "createdAt": _STARTED_MS + 120_000,
        "title": title,
        "company": company,
        "score": result(Template.JOB_MATCH, locale)["score"],
        "matchAt": _STARTED_MS + 120_000,
        "customizedAt": _STARTED_MS + 300_000,
        "interviewAt": _STARTED_MS + 360_000,
    }


def _service(locale: str) -> dict[str, Any]:
    of_service = (Action.CREATE_SERVICE, Action.CUSTOMIZE_RESUME, Action.INTERVIEW_TIPS)
    return {
        "ok": True,
        **_line(locale),
        "locale": locale,
        "jobText": _sample(f"job.{locale}.txt"),
        "match": result(Template.JOB_MATCH, locale),
        "customized": result(Template.RESUME_CUSTOMIZE, locale),
        "interview": result(Template.INTERVIEW_PREP, locale),
        "tasks": {action: _TASKS[action] for action in of_service},
    }


def _quota() -> dict[str, Any]:
    upload = {"taskId": _TASKS[Action.UPLOAD_RESUME], "action": Action.UPLOAD_RESUME}
    match = {"taskId": _TASKS[Action.CREATE_SERVICE], "action": Action.CREATE_SERVICE}
    return {
        "ok": True,
        "balance": 12,
        "ledger": [
            {"at": _STARTED_MS, "kind": "grant", "delta": 8, "balance": 8},
            {"at": _STARTED_MS, "kind": "debit", "delta": -1, "balance": 7, **upload},
            {"at": _STARTED_MS + 120_000, "kind": "debit", "delta": -2, "balance": 5, **match},
            {"at": _STARTED_MS + 150_000, "kind": "refund", "delta": 2, "balance": 7, **match},
            {
                "at": _STARTED_MS + 900_000,
                "kind": "grant",
                "delta": 5,
                "balance": 12,
                "reference": "order 2041",
            },
        ],
    }


def _deleted() -> dict[str, Any]:
    removed = {"resumes": 2, "services": 3, "tasks": 9, "cancelled": 1, "images": 1}
    return {"ok": True, "removed": removed, "balance": 12}
