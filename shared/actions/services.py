"""The actions: what each asks for, checks first, and submits.

Preconditions come before admission, so that a request that cannot succeed uses up nothing (D22). What a
task works on is kept in its record or read when it runs; a message never holds it (D38).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.actions.admission import Admissions, Submission
from shared.actions.contract import CreateServiceBody, ServiceBody, UploadBody, parse
from shared.actions.images import Images
from shared.actions.uploads import (
    MAX_DETAILED_RESUME_CHARS,
    MAX_JOB_CHARS,
    MAX_RESUME_CHARS,
    Image,
    checked_image,
    checked_text,
    image_bytes,
    image_bytes_of_url,
    locale_of,
    text_of_file,
)
from shared.errors import InvalidRequest, MatchRequired, NotFound, Refused, ResumeRequired
from shared.routing import (
    CREATE_SERVICE_IMAGE,
    CREATE_SERVICE_TEXT,
    CUSTOMIZE_RESUME,
    INTERVIEW_TIPS,
    UPLOAD_DETAILED_RESUME,
    UPLOAD_RESUME,
    Action,
    Plan,
)
from shared.state.records import UPLOADS, read_resume, read_service
from shared.state.store import Store


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and what was sent beside the body."""

    user_id: str
    idempotency_key: str | None
    traceparent: str | None
    preferred_locale: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A request's body: JSON, or a form's fields with its files by field name."""

    fields: Mapping[str, Any] = field(repr=False)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def only_file(self, name: str) -> bytes | None:
        """Return the file of that name; any other is refused: nothing that was sent is silently lost."""
        for other in self.files:
            if other != name:
                raise InvalidRequest(f"is not expected; the file's field is {name}", field=other)
        return self.files.get(name)

    def fields_only(self) -> Mapping[str, Any]:
        for name in self.files:
            raise InvalidRequest("this action takes no file", field=name)
        return self.fields


class Services:
    """The five actions."""

    def __init__(self, store: Store, images: Images, admissions: Admissions) -> None:
        self._store = store
        self._images = images
        self._admissions = admissions

    def run(self, action: Action, call: Call, sent: Sent) -> dict[str, Any]:
        """Run an action and return the accepted answer; raises the errors of errors.py otherwise."""
        if action is Action.UPLOAD_RESUME:
            return self._upload(call, sent, UPLOAD_RESUME, MAX_RESUME_CHARS)
        if action is Action.UPLOAD_DETAILED_RESUME:
            return self._upload(call, sent, UPLOAD_DETAILED_RESUME, MAX_DETAILED_RESUME_CHARS)
        if action is Action.CREATE_SERVICE:
            return self._create_service(call, sent)
        body = sent.fields_only()
        plan = CUSTOMIZE_RESUME if action is Action.CUSTOMIZE_RESUME else INTERVIEW_TIPS
        return self._of_service(call, body, plan)

    def _upload(self, call: Call, sent: Sent, plan: Plan, max_chars: int) -> dict[str, Any]:
        parsed, file = parse(UploadBody, sent.fields), sent.only_file("file")
        if (parsed.text is None) == (file is None):
            raise InvalidRequest("give either a text or a file", field="text")
        name, text = (
            ("text", parsed.text or "") if file is None else ("file", text_of_file(file, field_name="file"))
        )
        text = checked_text(text, field_name=name, max_chars=max_chars)
        locale = parsed.locale or locale_of(text)
        body = {"text": text, "locale": locale}
        return self._submit(call, plan, UPLOADS, locale, body=body, given={"text": text})

    def _create_service(self, call: Call, sent: Sent) -> dict[str, Any]:
        parsed, file = parse(CreateServiceBody, sent.fields), sent.only_file("image")
        if [parsed.job_text, parsed.job_image, file].count(None) != 2:
            raise InvalidRequest("give one of jobText, jobImage and a file named image", field="jobText")
        if parsed.job_text is not None:
            text = checked_text(parsed.job_text, field_name="jobText", max_chars=MAX_JOB_CHARS)
            self._require_resume(call)
            return self._create_from_text(call, text, parsed.locale or locale_of(text))
        if file is not None:
            name, data = "image", image_bytes(file, field_name="image")
        else:
            name, data = "jobImage", image_bytes_of_url(parsed.job_image or "", field_name="jobImage")
        self._require_resume(call)  # before a picture is decoded for nothing
        image = checked_image(data, field_name=name)
        return self._create_from_image(call, image, parsed.locale or call.preferred_locale)

    def _create_from_text(self, call: Call, text: str, locale: str) -> dict[str, Any]:
        service_id = uuid.uuid4().hex
        fields = {"userId": call.user_id, "locale": json.dumps(locale), "jobText": json.dumps(text)}
        body = {"jobText": text, "locale": locale}
        return self._submit(call, CREATE_SERVICE_TEXT, service_id, locale, body=body, given={}, fields=fields)

    def _create_from_image(self, call: Call, image: Image, locale: str) -> dict[str, Any]:
        """Store the image first: a task that was admitted must find it. It goes again when refused.

        Not on other errors: without an answer from Redis the task may be there, and a repeated request
        publishes it.
        """
        service_id, task_id = uuid.uuid4().hex, uuid.uuid4().hex
        blob = self._images.keep(call.user_id, task_id, image.data, image.media_type)
        body = {"jobImage": hashlib.sha256(image.data).hexdigest(), "locale": locale}
        fields = {"userId": call.user_id, "locale": json.dumps(locale)}
        given = {"blob": blob, "imageType": image.media_type}
        try:
            answer = self._submit(
                call,
                CREATE_SERVICE_IMAGE,
                service_id,
                locale,
                body=body,
                given=given,
                fields=fields,
                task_id=task_id,
            )
        except Refused:
            self._images.forget(call.user_id, task_id)
            raise
        if answer["taskId"] != task_id:
            self._images.forget(call.user_id, task_id)
        return answer

    def _of_service(self, call: Call, body: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
        parsed = parse(ServiceBody, body)
        service = read_service(self._store, call.user_id, parsed.service_id)
        if service is None:
            raise NotFound("There is no such service.")
        if "match" not in service:
            raise MatchRequired
        locale = parsed.locale or service.get("locale") or call.preferred_locale
        same = {"serviceId": parsed.service_id, "locale": locale}
        return self._submit(call, plan, parsed.service_id, locale, body=same, given={})

    def _require_resume(self, call: Call) -> None:
        if "summary" not in read_resume(self._store, call.user_id):
            raise ResumeRequired

    def _submit(
        self,
        call: Call,
        plan: Plan,
        service_id: str,
        locale: str,
        *,
        body: Mapping[str, Any],
        given: Mapping[str, Any],
        fields: Mapping[str, str] | None = None,
        task_id: str | None = None,
    ) -> dict[str, Any]:
        submission = Submission(
            user_id=call.user_id,
            plan=plan,
            service_id=service_id,
            locale=locale,
            body=body,
            input=given,
            task_id=task_id or uuid.uuid4().hex,
            idempotency_key=call.idempotency_key,
            service_fields=fields,
            traceparent=call.traceparent,
        )
        return self._admissions.submit(submission)
