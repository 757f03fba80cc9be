"""What a step works on, and what it leaves: gathered from records and blobs, kept in records and events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.errors import NotFound, PermanentTaskError
from shared.llm.runner import Outcome
from shared.routing import Template
from shared.state.blobs import BlobStore
from shared.state.lifecycle import Attempt, Finished
from shared.state.records import keeps, read_materials
from shared.state.store import Store
from shared.stream.events import Done, StepResult, encode


def gather(template: Template, attempt: Attempt, store: Store, blobs: BlobStore | None) -> Mapping[str, Any]:
    """Return the inputs that `template` declares.

    Raises:
        PermanentTaskError: something it needs is not there any more.
        StoreUnavailable, BlobUnavailable: try again.
    """
    match template:
        case Template.RESUME_SUMMARY:
            return {"resume_text": attempt.input["text"]}
        case Template.DETAILED_RESUME_SUMMARY:
            return {"detailed_text": attempt.input["text"]}
        case Template.JOB_VISION_SUMMARY:
            return _image(attempt, blobs)
    resume, service = read_materials(store, attempt.ref)
    common = {
        "resume": _required(resume, "summary"),
        "detailed": resume.get("detailed"),
        "job": service.get("job") or _required(service, "jobText"),
    }
    if template is Template.JOB_MATCH:
        return common
    common["match"] = _required(service, "match")["text"]
    if template is Template.INTERVIEW_PREP:
        common["customized"] = service.get("customized")
    return common


def result_of(template: Template, attempt: Attempt, outcome: Outcome, latency_ms: int) -> Finished:
    """Return what an attempt leaves: its event, its result, and what is kept of it beyond the task."""
    keep = keeps(template, attempt.ref)
    event = _last_event(template, attempt, outcome, latency_ms)
    return Finished(
        event=encode(event, task_id=attempt.ref.task_id, attempt=attempt.number),
        result=outcome.result,
        usage=outcome.usage,
        keep_key=keep.key,
        keep_field=keep.field,
        keep=_kept(keep.field, outcome.result, attempt.input.get("text")),
    )


def _last_event(template: Template, attempt: Attempt, outcome: Outcome, latency_ms: int) -> Done | StepResult:
    if not attempt.is_last_step:
        return StepResult(step=attempt.step, template_id=template, data=outcome.result)
    return Done(
        result=outcome.result,
        usage=outcome.usage,
        latency_ms=latency_ms,
        text_length=len(outcome.result["text"]) if template.streams else 0,
    )


def _kept(field_name: str, result: Mapping[str, Any], upload: str | None) -> Mapping[str, str]:
    """Return the fields of a résumé's or a service's record that a result fills, with the upload it is of."""
    kept: dict[str, Any] = {field_name: result}
    if upload is not None:
        kept[f"{field_name}Text"] = upload
    if "score" in result:
        kept["score"] = result["score"]
    if result.get("jobTitle"):
        kept["title"] = result["jobTitle"]
    if result.get("jobTitle") and result.get("company"):
        kept["company"] = result["company"]
    return {name: json.dumps(value, ensure_ascii=False) for name, value in kept.items()}


def _image(attempt: Attempt, blobs: BlobStore | None) -> Mapping[str, Any]:
    if blobs is None:
        raise PermanentTaskError("material_missing", "This lane reads no images.")
    try:
        data = blobs.get(attempt.input["blob"])
    except NotFound:
        raise PermanentTaskError("material_missing", "The image is not there any more.") from None
    return {"image": data, "image_type": attempt.input["imageType"]}


def _required(record: Mapping[str, Any], field: str) -> Any:
    if field not in record:
        raise PermanentTaskError("material_missing", f"The task needs {field}, which is not there any more.")
    return record[field]
