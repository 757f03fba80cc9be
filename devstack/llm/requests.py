"""What a call to the stand-in asks for: checked as a provider would, taken apart for the writer."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

_TASK = re.compile(r"\Atask: (\w+)$", re.MULTILINE)
_DATA = re.compile(r'<data-([0-9a-f]+) name="(\w+)">\n(.*?)\n</data-\1>', re.DOTALL)
_CJK = re.compile(r"[一-鿿]")
_TODAY = re.compile(r"\d{4}-\d{2}-\d{2}")
NOTHING = frozenset({"(none)", "（无）"})


class BadRequest(Exception):
    """The provider refuses the request."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call, understood: which task, in which language, on which material."""

    model: str
    stream: bool
    include_usage: bool
    max_tokens: int
    temperature: float | None
    json_mode: bool
    raw: dict[str, Any]
    messages: list[dict[str, Any]]
    system: str
    prompt: str
    """All text of all messages."""
    images: int

    @property
    def task(self) -> str | None:
        found = _TASK.search(self.system)
        return found.group(1) if found else None

    @property
    def locale(self) -> Literal["zh", "en"]:
        return "zh" if len(_CJK.findall(self.system or self.prompt)) > 20 else "en"

    @property
    def material(self) -> dict[str, str]:
        """The texts between the data marks, by name; what is not there is left out."""
        return {name: text for _, name, text in _DATA.findall(self.prompt) if text not in NOTHING}

    @property
    def fence(self) -> str:
        """The code of the data marks in this request."""
        found = _DATA.search(self.prompt)
        return found.group(1) if found else ""

    @property
    def year(self) -> int:
        """The year of the date that the prompt gives as today's."""
        found = _TODAY.search(self.prompt)
        return int(found.group()[:4]) if found else 2026


def read_request(body: bytes, models: tuple[str, ...]) -> ChatRequest:
    """Check a request and take it apart.

    Raises:
        BadRequest: a provider would answer 400.
    """
    request = _json_object(body)
    model, messages = request.get("model"), request.get("messages")
    if model not in models:
        raise BadRequest(f"Model {model!r} does not exist.")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must not be empty.")
    if model == "deepseek-reasoner" and request.get("tool_choice") not in (None, "auto", "none"):
        raise BadRequest("deepseek-reasoner does not support this tool_choice.")
    images = sum(_check_image(part) for m in messages for part in _parts(m) if part["type"] == "image_url")
    if images and "v-" not in model:
        raise BadRequest(f"Model {model!r} takes no images.")
    return ChatRequest(
        model=model,
        stream=bool(request.get("stream")),
        include_usage=bool((request.get("stream_options") or {}).get("include_usage")),
        max_tokens=int(request.get("max_tokens") or 8192),
        temperature=request.get("temperature"),
        json_mode=(request.get("response_format") or {}).get("type") == "json_object",
        raw=request,
        messages=messages,
        system="\n".join(_text(m) for m in messages if m.get("role") == "system"),
        prompt="\n\n".join(_text(m) for m in messages),
        images=images,
    )


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except ValueError:
        raise BadRequest("The body is not JSON.") from None
    if not isinstance(request, dict):
        raise BadRequest("The body is not an object.")
    return request


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [{"type": "text", "text": content or ""}] if not isinstance(content, list) else content


def _text(message: dict[str, Any]) -> str:
    return "\n".join(part["text"] for part in _parts(message) if part["type"] == "text")


def _check_image(part: dict[str, Any]) -> int:
    """Decode an image as a provider must; one that does not decode is refused."""
    from PIL import Image, UnidentifiedImageError

    head, _, data = part["image_url"]["url"].partition(",")
    if not re.fullmatch(r"data:image/(png|jpeg|webp);base64", head):
        raise BadRequest("image_url must be a data URL of a PNG, JPEG or WebP image.")
    try:
        Image.open(io.BytesIO(base64.b64decode(data, validate=True))).load()
    except (binascii.Error, UnidentifiedImageError, OSError):
        raise BadRequest("The image cannot be decoded.") from None
    return 1
