"""What is wrong with the files below `infra/`, as lines that name file, table and key.

    infra/functions.toml: [functions.paid_stream] timeout_seconds: must be a whole number of at least 1

All problems of a file are found at once. A text never repeats what stands in the file where that could be a
secret which somebody pasted there: it repeats numbers, names and choices only.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from deployment.errors import Refused

ROOT = Path(__file__).resolve().parents[1]
_TABLE = "must be a table"
_WHOLE_NUMBER = "must be a whole number"
_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "int_type": _WHOLE_NUMBER,
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "greater_than_equal": "must be at least {ge}, not {input}",
    "less_than_equal": "must be at most {le}, not {input}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "tuple_type": "must be a list",
    "dict_type": _TABLE,
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
    "value_error": "{error}",
}
"""Pydantic's kinds of faults in our words. `{input}` stands only where it is a number."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where it stands."""

    file: str
    table: str
    """Without brackets, such as `functions.paid_stream`; empty for the top of the file."""
    key: str
    text: str

    def __str__(self) -> str:
        place = " ".join(part for part in (f"[{self.table}]" if self.table else "", self.key) if part)
        return ": ".join(part for part in (self.file, place, self.text) if part)


class FilesRefused(Refused):
    """Files below `infra/` are wrong; the text names every problem, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def file_name(file: Path) -> str:
    """Return how messages name a file: from the repository's root on where it stands below it."""
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else str(file)


def read_toml(file: Path) -> dict[str, Any]:
    """Return what a file holds.

    Raises:
        FilesRefused: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        text = "is not UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        text = f"is not TOML: {error}"
    raise FilesRefused([Problem(file_name(file), "", "", text)])


def problems_of(error: ValidationError, file: Path, model: type[BaseModel]) -> list[Problem]:
    """Return what pydantic found wrong with a file, in our words."""
    return [_problem(fault, file_name(file), model) for fault in error.errors(include_url=False)]


def near(name: str, names: Iterable[str]) -> str:
    """Return the advice that follows a wrong name: the closest that there is, or all there are."""
    known = list(names)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"


def _problem(fault: Mapping[str, Any], file: str, model: type[BaseModel]) -> Problem:
    place = [part for part in fault["loc"] if isinstance(part, str) and part != "[key]"]
    *table, key = place or [""]
    return Problem(file, ".".join(table), key, _text(fault, _keys_at(table, model)))


def _text(fault: Mapping[str, Any], keys: Sequence[str]) -> str:
    if fault["type"] == "extra_forbidden":
        return f"is no key of this table; {near(str(fault['loc'][-1]), keys)}"
    words: str = _WORDS.get(fault["type"], fault["msg"].replace("{", "{{").replace("}", "}}"))
    return words.format(**fault.get("ctx", {}), input=fault["input"])


def _keys_at(table: Sequence[str], model: type[BaseModel]) -> list[str]:
    """Return the keys of a table: the fields of the model that stands there."""
    here: type[BaseModel] | None = model
    for name in table:
        if here is None:
            return []
        field = here.model_fields.get(name)
        # `functions.<name>` is a table of tables: the name itself is no field, the model stays.
        here = _model_within(field.annotation) if field else here
    return list(here.model_fields) if here else []


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_within(part) for part in get_args(annotation))
    return next((model for model in found if model), None)
