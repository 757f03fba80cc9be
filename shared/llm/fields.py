"""The kinds of fields that a structured answer has, and what each forgives.

Language models commonly give "N/A" for "not stated", one text where a list is due, a number or a list for a
text, an object where its words were asked for, and an object without content for an empty list. All of that
is read as what it means, so that the one repair attempt is left for answers that really are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator

T = TypeVar("T")
_ABSENT = frozenset(
    [
        "n/a",
        "na",
        "null",
        "none",
        "nil",
        "unknown",
        "not stated",
        "not specified",
        "not provided",
        "not mentioned",
        "not available",
        "not given",
        "-",
        "—",
        "无",
        "暂无",
        "未知",
        "不详",
        "未提供",
        "未提及",
        "未说明",
        "未注明",
        "未填写",
        "没有",
    ]
)
"""What models write for "nothing"; as a whole field it says nothing."""
_LISTING = re.compile(r"\s*[,，、;；\n]\s*")
_ADDRESS = re.compile(r"https?://|www\.|\w\.\w")


def has_content(value: Any) -> bool:
    """Tell whether a value, or anything inside it, says something."""
    if isinstance(value, BaseModel):
        return any(has_content(inner) for _, inner in value)
    if isinstance(value, list):
        return any(has_content(item) for item in value)
    return bool(value.strip() if isinstance(value, str) else value)


def _as_text(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = "\n".join(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    bare = value.strip()
    return "" if bare.casefold().rstrip(".。") in _ABSENT else bare


def _as_item(value: Any) -> Any:
    """Take `{"language": "English", "level": "native"}` for "English, native"."""
    if isinstance(value, dict) and not any(isinstance(inner, dict | list) for inner in value.values()):
        value = ", ".join(str(inner) for inner in value.values() if inner not in (None, ""))
    return _as_text(value)


def _as_link(value: Any) -> Any:
    """Take `{"label": "GitHub", "url": "https://…"}` for its address."""
    if isinstance(value, dict):
        return next((v for v in value.values() if isinstance(v, str) and _ADDRESS.search(v)), "")
    return _as_text(value)


def _as_list(value: Any) -> Any:
    if isinstance(value, str | dict):
        value = [value] if _as_text(value) else []
    return [item for item in value if item is not None] if isinstance(value, list) else value


def _as_terms(value: Any) -> Any:
    """Take "Python, Go" for two terms, and `{"coding": ["Go"], "tools": ["Git"]}` for both of its lists."""
    if isinstance(value, str):
        value = _LISTING.split(value)
    if isinstance(value, dict) and all(isinstance(inner, list) for inner in value.values()):
        value = [item for inner in value.values() for item in inner]
    return _as_list(value)


def _as_markdown(value: Any) -> Any:
    """Take a list for its bullets, and `{"Languages": ["Go"]}` for the line "Languages: Go"."""
    if isinstance(value, list) and all(isinstance(item, str | dict) for item in value):
        value = "\n".join(f"- {text.removeprefix('- ')}" for item in value if (text := _as_item(item)))
    if isinstance(value, dict):
        value = "\n".join(_labelled_lines(value))
    return _as_text(value)


def _labelled_lines(value: dict[str, Any]) -> Iterator[str]:
    for label, inner in value.items():
        items = inner if isinstance(inner, list) else [inner]
        said = ", ".join(str(text) for item in items if item is not None and (text := _as_item(item)))
        if said:
            yield f"- {label}: {said}"


def _as_number(value: Any) -> Any:
    """Take "8 years" for 8: the number is the fact, the word around it is the model's habit."""
    found = re.search(r"\d+(?:\.\d+)?", value) if isinstance(value, str) else None
    if not isinstance(value, str):
        return value
    return float(found.group()) if found else None


def _as_share(value: Any) -> Any:
    """Take "93 %" and 93 for 0.93, and words for "not sure at all"."""
    percent = isinstance(value, str) and "%" in value
    number = _as_number(value)
    if number is None:
        return 0.0
    return number / 100 if isinstance(number, int | float) and (percent or 1 < number <= 100) else number


def _with_content(items: list[T]) -> list[T]:
    return [item for item in items if has_content(item)]


Text = Annotated[str, BeforeValidator(_as_text)]
Markdown = Annotated[str, BeforeValidator(_as_markdown)]
Several = Annotated[list[T], BeforeValidator(_as_list), AfterValidator(_with_content)]
Texts = Several[Annotated[str, BeforeValidator(_as_item)]]
Links = Several[Annotated[str, BeforeValidator(_as_link)]]
Terms = Annotated[
    list[Annotated[str, BeforeValidator(_as_item)]],
    BeforeValidator(_as_terms),
    AfterValidator(_with_content),
]
Number = Annotated[int | float | None, BeforeValidator(_as_number)]
Share = Annotated[float, BeforeValidator(_as_share)]
