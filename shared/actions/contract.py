"""What callers send and get, as pydantic models: they validate requests and describe the HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from shared.errors import InvalidRequest

B = TypeVar("B", bound="Body")


class Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    locale: Literal["zh", "en"] | None = None


class UploadBody(Body):
    text: str | None = None


class CreateServiceBody(Body):
    job_text: str | None = None
    job_image: str | None = None


class ServiceBody(Body):
    service_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def parse(model: type[B], body: Mapping[str, Any]) -> B:
    """Validate a request's body.

    Raises:
        InvalidRequest: it names the first field that is wrong, never its value.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidRequest(first["msg"].lower(), field=name) from None
