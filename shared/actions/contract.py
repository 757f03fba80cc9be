"""What callers send, as pydantic models: they validate every request, and the document describes them.

`scripts/openapi.py` writes `openapi.json` from these and from the models of answers.py; the sentence below a
field is its description there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

from shared.errors import InvalidRequest

B = TypeVar("B", bound="Body")
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Locale = Literal["zh", "en"]
Absent = SkipJsonSchema[None]
"""None stands for a field that is not there: null is no value of it."""
SomeText = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "pattern": r"[^\s\x00]"})]
DataUrl = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "format": "data-url", "pattern": "^data:image/(png|jpeg|webp);base64,"}
    ),
]


class Documented(BaseModel):
    """A model of the contract: camelCase outside, and nothing that it does not name."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", use_attribute_docstrings=True
    )


class Body(Documented):
    locale: Locale | None = None
    """The language of the result. Left out or null, it is the language of the text; for a picture that of
    `Accept-Language`; for a step of a service the service's."""


class UploadBody(Body):
    """A résumé, or a detailed career history, as text."""

    model_config = ConfigDict(json_schema_extra={"required": ["text"]})  # a form has a file in its place

    text: SomeText | Absent = None
    """Plain text or Markdown; white space around it is dropped."""


def _only(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": "string"}}}


class CreateServiceBody(Body):
    """A job advertisement: one of `jobText` and `jobImage`; null is as good as left out."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [_only("jobText"), _only("jobImage")]})

    job_text: SomeText | None = None
    """The advertisement as text; white space around it is dropped."""
    job_image: DataUrl | None = None
    """A picture of the advertisement as a data URL. Its type is decided by its content: PNG, JPEG or WebP."""


class ServiceBody(Body):
    """The next step of a service."""

    service_id: Id
    """The service, as `create-service` named it; its match must be done."""


def parse(model: type[B], body: Mapping[str, Any]) -> B:
    """Validate a request's body.

    Raises:
        InvalidRequest: it names the first field that is wrong, never its value.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "body"  # bodies are flat; what follows is the type
        raise InvalidRequest(first["msg"].lower(), field=name) from None
