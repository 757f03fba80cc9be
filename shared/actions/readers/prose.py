"""Lines of a page made prose: lines that were broken for want of room are one again, entries stay apart.

A line continues in the next when the next one's first word would not have fitted into it. Ligatures, Chinese
radicals in place of characters, soft hyphens and the bullets of symbol fonts become what was meant.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable

from shared.actions.readers.layout import Block, Line
from shared.actions.readers.rows import BULLET, CJK

_SAME_SIZE = 0.15
_NEXT_LINE = 1.9
"""In heights of a letter: farther apart is another paragraph."""
_MIN_WRAPPED = 14.0
"""In heights of a letter: shorter lines are items of a list, not broken for want of room."""
_CJK_ROOM = 1.7
_SLACK = 0.7
_INDENT = 3.5
_ENDS_SENTENCE = re.compile(r"[.。!！?？:：;；]$")
_BROKEN_WORD = re.compile(r"([A-Za-z]+)-$")
_KEEPS_HYPHEN = re.compile(
    r"all|back|co|cross|data|end|event|front|full|high|large|long|low|mid|multi|non|one|open|post|pre|real|self|short"
    r"|test|third|two|user|well",
    re.IGNORECASE,
)
"""First halves of words that are written with a hyphen wherever they stand."""
_COMPATIBLE = re.compile(r"[\u2e80-\u2fdf\uf900-\ufaff\ufb00-\ufb06]")
_SYMBOL_BULLETS = re.compile(r"[\uf06c\uf06e\uf075\uf076\uf0a7\uf0a8\uf0b7\uf0d8\uf0fc]")
_NOT_TEXT = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f\u00ad\u200b\u2060\ufeff\ufffc\ufffe\uffff\ud800-\udfff\ue000-\uf8ff]"
)
_STARTS_ITEM = re.compile(rf"{BULLET.pattern}\s|[^\s:：]{{1,8}}[:：]")


def prose(blocks: Iterable[Block]) -> str:
    """Return the text of blocks in their order, with an empty line between paragraphs."""
    return tidy("\n\n".join(_text(block) for block in blocks))


def tidy(text: str) -> str:
    """Return a text of clean characters, without trailing white space, with single empty lines."""
    text = _COMPATIBLE.sub(lambda found: unicodedata.normalize("NFKC", found.group()), text)
    text = _NOT_TEXT.sub("", _SYMBOL_BULLETS.sub("•", text)).replace("\u00a0", " ")
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _text(block: Block) -> str:
    if not block:
        return ""
    right = max((line.x1 for line in block if line.cells == 1), default=0.0)
    text = block[0].text
    for line, following in itertools.pairwise(block):
        if _continues(line, following, right):
            text = _joined(text, following.text)
        else:
            text += "\n\n" if _is_apart(line, following) else "\n"
            text += following.text
    return text


def _is_apart(line: Line, following: Line) -> bool:
    return line.baseline - following.baseline > _NEXT_LINE * max(line.size, following.size)


def _continues(line: Line, following: Line, right: float) -> bool:
    """Say whether a line was broken only because it was full."""
    if line.cells > 1 or following.cells > 1 or _is_apart(line, following):
        return False
    if not -_INDENT <= (following.x0 - line.x0) / line.size <= _INDENT:
        return False
    if abs(line.size - following.size) > _SAME_SIZE * line.size or _STARTS_ITEM.match(following.text):
        return False
    if _BROKEN_WORD.search(line.text) and following.text[:1].islower():
        return True
    if _ENDS_SENTENCE.search(line.text) or line.x1 - line.x0 < _MIN_WRAPPED * line.size:
        return False
    return line.x1 + _room_needed(following) + _SLACK * line.size > right


def _room_needed(line: Line) -> float:
    """Return the width of a line's first word; Chinese breaks anywhere, save before a punctuation mark."""
    if CJK.match(line.text):
        return _CJK_ROOM * line.size
    word = line.text.split(" ", 1)[0]
    return (line.x1 - line.x0) * (len(word) + 1) / max(len(line.text), 1)


def _joined(text: str, following: str) -> str:
    broken = _BROKEN_WORD.search(text)
    if broken and following[:1].islower():
        return (text if _KEEPS_HYPHEN.fullmatch(broken[1]) else text[:-1]) + following
    if text.endswith("\u00ad"):
        return text[:-1] + following
    if CJK.match(text[-1:]) and CJK.match(following[:1]):
        return text + following
    return f"{text} {following}"
