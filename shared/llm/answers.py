"""What a model's text amounts to: the object of a structured task, the text and the score of a streamed one.

Weak models are met half-way: what is right under a wrong wrapping is taken. What cannot be used is an error,
never a result, and so is refunded.
"""

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
_SCORE = re.compile(
    r"[\s*_#>`\"'“{\[-]*"
    r"(?:(?:overall|match|matching|fit)[ _-]*)?(?:score|(?:匹配|综合|总体|匹配度)?(?:分数|得分|评分)|匹配度)"
    r"[\s*_`\"'”]*(?:[(（][^()（）\n]{1,12}[)）])?[\s*_`\"'”]*[:：=][\s*_`\"'“]*"
    r"(\d{1,3})(?!\d)(?:\.0+(?!\d))?(?:\s*[/／]\s*100(?!\d))?(?!\.\d|,\d|\s*[/／~～–—至到-]\s*\d)",
    re.IGNORECASE,
)
"""Also `**Score:** 85/100` and `匹配度：85 分`; not `8/10`, `80–90` or `85.5`, which are other scales."""
_SCORE_ALONE = re.compile(rf"(?:{_SCORE.pattern})\s*[%％分.。*_`\"'”}}\]]*\s*", re.IGNORECASE)
_SCORE_LINES = 5
"""So many lines may stand before the score: a greeting, a fence. After a heading there is none."""
_OBJECT = re.compile(r"\{(?=\s*[\"}])")
"""Where an object may begin; a brace in a sentence is followed by something else."""
_MAX_PROBLEMS = 12
MIN_TEXT_LENGTH = 80
"""Characters; no streamed template's sections fit into less."""
_REFUSAL_MAX_LENGTH = 600
"""A refusal is short; a text that says "I'm sorry" and then goes on to its sections is none."""
_REFUSAL = re.compile(
    r"(?:hello|hi|hey|well|unfortunately|您好|你好)?[\s,，!！.。]*(?:"
    r"(?:but |so )?I(?:.?m| am) (?:really |very |so )?sorry|I (?:must |have to )?apologi[sz]e"
    r"|sorry\b|(?:my )?apologies|as an? (?:AI|artificial|(?:large )?language model)"
    r"|I (?:can.?t|cannot|can not|won.?t|will not|must decline|have to decline)\b"
    r"|I(?:.?m| am) (?:not able|unable)|this (?:request|content) (?:violates|is not allowed)"
    r"|(?:非常|很|十分|实在)?抱歉|对不起|不好意思|我(?:暂时|目前)?(?:无法|不能|没法)|作为(?:一个|一名|一款)?(?:AI|人工智能|语言模型|大模型)"
    r"|(?:这个|该|你的|您的)(?:问题|请求|内容)我?(?:暂时)?(?:无法|不能|不便)|根据相关(?:法律|规定|政策)|让我们换个话题)",
    re.IGNORECASE,
)
_CJK = re.compile(r"[㐀-鿿]")
_WORD = re.compile(r"[A-Za-zÀ-ɏ]+")
_MIN_WORDS = 60
"""So many words and characters must there be before a language is told."""


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
        result = output.model_validate(_object_in(text, output))
    except ValidationError as error:
        raise UnusableAnswer("invalid_output", _problems(error)) from None
    if result.is_empty:
        raise UnusableAnswer("empty_output", "Every field was empty.")
    return result


def check_text(text: str, locale: str) -> None:
    """Refuse a streamed answer that is none.

    Raises:
        PermanentTaskError: it is empty, too short to hold anything, a refusal, or in another language.
    """
    said = _SCORE.sub("", text.strip(), count=1).strip(" \n*`#/0123456789")
    if not said:
        raise PermanentTaskError("empty_output", "The model's answer was empty.")
    if len(said) <= _REFUSAL_MAX_LENGTH and "\n## " not in text and _REFUSAL.match(said):
        raise PermanentTaskError("provider_refused", "The model refused this task.")
    if len(said) < MIN_TEXT_LENGTH:
        raise PermanentTaskError("invalid_output", "The model's answer is too short to be one.")
    if not speaks(said, locale):
        raise PermanentTaskError("invalid_output", "The model answered in another language.")


def speaks(text: str, locale: str) -> bool:
    """Tell whether a text may be in a locale's language: only one that is clearly in the other is not.

    Names of products and companies stay as they are, so half of a good Chinese text may be Latin words.
    """
    cjk, words = len(_CJK.findall(text)), len(_WORD.findall(text))
    if cjk + words < _MIN_WORDS:
        return True
    share = cjk / (cjk + words)
    return share > 0.1 if locale == "zh" else share < 0.6


def parse_score(text: str) -> int | None:
    """Return the number of a match's first line, `score: NN`; None when there is none from 0 to 100."""
    answer = text.rpartition("</think>")[2]
    lines = [line for line in answer.splitlines() if line.strip()][:_SCORE_LINES]
    for number, line in enumerate(lines):
        if match := _SCORE.match(line) if number == 0 else _SCORE_ALONE.fullmatch(line):
            score = int(match.group(1))
            return score if score <= 100 else None
        if line.startswith("## "):
            return None
    return None


def _object_in(text: str, output: type[Output]) -> Any:
    """Find the JSON object in an answer that may be wrapped in a fence, thoughts or a polite sentence.

    An object that is broken is not given up for one inside it: a part would pass for the whole.
    """
    bare = _WRAPPING.sub("", text)
    value: Any = None
    for start in _OBJECT.finditer(bare):
        if value := _decoded(bare, start.start()):
            break
    if value is None:
        raise UnusableAnswer("invalid_output", "The answer was no JSON object.")
    return _unwrapped(value, output)


def _decoded(text: str, start: int) -> Any:
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(text, start)
    except ValueError as error:
        where = (
            f"line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise UnusableAnswer("invalid_output", f"The answer was not valid JSON ({where}).") from None
    except RecursionError:
        raise UnusableAnswer("invalid_output", "The answer was nested too deeply.") from None
    return value


def _unwrapped(value: dict[str, Any], output: type[Output]) -> Any:
    """Take the object out of `{"result": {…}}`, which some models put around it."""
    fields = {field.alias for field in output.model_fields.values()}
    [*inner] = value.values()
    return inner[0] if len(inner) == 1 and isinstance(inner[0], dict) and not fields & value.keys() else value


def _problems(error: ValidationError) -> str:
    lines = [
        f"- {'.'.join(map(str, problem['loc'])) or 'answer'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    return "\n".join(lines[:_MAX_PROBLEMS])
