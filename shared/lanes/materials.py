"""What a step works on: from the task's record, the user's résumés, the service and the blob store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import NotFound, PermanentTaskError
from shared.routing import Template
from shared.state.blobs import BlobStore
from shared.state.records import read_materials
from shared.state.store import Store
from shared.state.tasks import Attempt


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
