"""What a model is told: the rules, the task, and the material between marks that nobody could have guessed.

    prompts/rules/<locale>.md          for every task: rules │ today's date, the marks, retrieved passages
    prompts/<templateId>/<locale>.md   the task itself       │ where each material goes
    prompts/repair/<locale>.md         the second try of a structured answer

A file has two parts, for the system and the user message. The system message is the same for all calls of a
template and locale, so that a provider can reuse what it has read; whatever varies is in the user message.
Material is put in once, as values: braces and marks in a user's text stay what they are (D27).
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Formatter
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from shared.llm.templates import SPECS
from shared.routing import Model, Template

Locale = Literal["zh", "en"]
SEPARATOR = "<!-- user -->\n"
NOTHING: Mapping[Locale, str] = {"zh": "（无）", "en": "(none)"}


def _random_code() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """One use of a template: for whom it is written, on what day, and on which material."""

    template: Template
    model: Model
    locale: Locale
    inputs: Mapping[str, Any]
    today: dt.date


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template's two messages in one language, with their variables still open."""

    system: str
    user: str

    @property
    def variables(self) -> frozenset[str]:
        return variables_of(self.system) | variables_of(self.user)


@cache
def load_prompt(template: Template, locale: Locale) -> Prompt:
    """Read the rules and the task of `template`, and join them."""
    rules_system, rules_user = _parts("rules", locale)
    task_system, task_user = _parts(template, locale)
    return Prompt(f"{rules_system}\n{task_system}".strip(), f"{rules_user}{task_user}".strip())


def load_repair(locale: Locale) -> str:
    """Read what a model is told about an answer that could not be used."""
    return _read("repair", locale).strip()


def fill(call: TemplateCall) -> dict[str, str]:
    """Return a value for each variable of the call's prompt, the material fenced.

    Raises:
        ValueError: the call's inputs are not exactly those that the template declares.
    """
    spec = SPECS[call.template]
    if call.inputs.keys() != spec.inputs:
        wrong = ", ".join(sorted(spec.inputs ^ call.inputs.keys()))
        raise ValueError(f"{call.template} takes other inputs; missing or too many: {wrong}")
    texts = {name: _as_text(call.inputs[name]) for name in spec.texts}
    if passages := context_passages(call):
        texts["context"] = "\n\n".join(passages)
    fence = fresh_fence(texts.values())
    values = {name: _fenced(name, text or NOTHING[call.locale], fence) for name, text in texts.items()}
    values |= {"task": str(call.template), "today": call.today.isoformat(), "fence": fence}
    values.setdefault("context", "")
    if spec.output is not None:
        values["output_shape"] = json.dumps(shape_of(spec.output), ensure_ascii=False, indent=2)
    return values


def fresh_fence(texts: Iterable[str], make: Callable[[], str] = _random_code) -> str:
    """Return a code for the marks around texts that none of them contains."""
    known = "\n".join(texts)
    return next(code for code in iter(make, None) if code not in known)


def context_passages(_call: TemplateCall) -> tuple[str, ...]:
    """Return the passages that retrieval adds to a call's material: none today."""
    return ()


def variables_of(text: str) -> frozenset[str]:
    """Return the names between braces in a prompt's text."""
    return frozenset(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def shape_of(annotation: Any) -> Any:
    """Return an empty example of a model's output, so that prompt and validation cannot drift apart."""
    if get_origin(annotation) is Annotated:
        return shape_of(get_args(annotation)[0])
    if get_origin(annotation) is list:
        return [shape_of(get_args(annotation)[0])]
    if get_origin(annotation) is Literal:
        return " | ".join(get_args(annotation))
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        return shape_of(get_args(annotation)[0])
    if issubclass(annotation, BaseModel):
        return {field.alias: shape_of(field.annotation) for field in annotation.model_fields.values()}
    return "" if annotation is str else 0


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value if value.strip() else ""
    return json.dumps(value, ensure_ascii=False) if value else ""


def _fenced(name: str, text: str, fence: str) -> str:
    return f'<data-{fence} name="{name}">\n{text}\n</data-{fence}>'


def _parts(name: str, locale: Locale) -> tuple[str, str]:
    system, user = _read(name, locale).split(SEPARATOR)
    return system, user


def _read(name: str, locale: Locale) -> str:
    return files("shared.llm").joinpath("prompts", name, f"{locale}.md").read_text("utf-8")
