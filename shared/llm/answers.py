"""What a model's text amounts to: the object of a structured task, the score of a match."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError

from shared.errors import PermanentTaskError
from shared.llm.models import Output

_WRAPPING = re.compile(
    r"<think>.*?</think>|<\|begin_of_box\|>|<\|end_of_box\|>|^\s*```(?:json)?\s*$", re.DOTALL | re.MULTILINE
)
_SCORE = re.compile(r"\W*score\W*?[:：]\W*(\d{1,3})(?![\d.])", re.IGNORECASE)
_MAX_PROBLEMS = 12


class UnusableAnswer(Exception):
    """A structured answer that cannot be used. `problems` tells the model why and quotes no material."""

    def __init__(self, code: str, problems: str) -> None:
        super().__init__(problems)
        self.code = code
        self.problems = problems

    def to_task_error(self) -> PermanentTaskError:
        if self.code == "empty_output":
            return PermanentTaskError(self.code, "The model found nothing in the material.")
        return PermanentTaskError(self.code, "The model's answer does not have the required form.")


def parse_output(text: str, output: type[Output], *, truncated: bool) -> Output:
    """Read a structured answer, with or without a code fence around it.

    Raises:
        UnusableAnswer: it is empty, cut off, no JSON object, or not of this shape.
    """
    if not text.strip():
        raise UnusableAnswer("empty_output", "The answer was empty.")
    if truncated:
        raise UnusableAnswer("invalid_output", "The answer was too long and was cut off. Be briefer.")
    try:
        result = output.model_validate(_object_in(text))
    except ValidationError as error:
        raise UnusableAnswer("invalid_output", _problems(error)) from None
    if result.is_empty:
        raise UnusableAnswer("empty_output", "Every field was empty.")
    return result


def parse_score(text: str) -> int | None:
    """Return the number of a match's first line, `score: NN`; None when there is none from 0 to 100."""
    match = _SCORE.match(text.lstrip().split("\n", 1)[0])
    score = int(match.group(1)) if match else 101
    return score if score <= 100 else None


def _object_in(text: str) -> Any:
    """Find the JSON object in an answer that may be wrapped in a fence, thoughts or a polite sentence."""
    bare = _WRAPPING.sub("", text)
    start = bare.find("{")
    if start < 0:
        raise UnusableAnswer("invalid_output", "The answer was no JSON object.")
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(bare, start)
    except ValueError as error:
        where = (
            f"line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise UnusableAnswer("invalid_output", f"The answer was not valid JSON ({where}).") from None
    return value


def _problems(error: ValidationError) -> str:
    lines = [
        f"- {'.'.join(map(str, problem['loc'])) or 'answer'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    return "\n".join(lines[:_MAX_PROBLEMS])
