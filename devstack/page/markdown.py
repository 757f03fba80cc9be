"""Markdown of a model as HTML that is safe to show: the text is a stranger's, and may be hostile.

Markup in the text is shown, not obeyed. A picture would tell its server who reads what, so it is shown as it
was written. A link leads only where `http`, `https` or `mailto` do, and tells nobody where it was found.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token

MAX_CHARACTERS = 200_000
HIGHEST_HEADING = 4
_SCHEMES = frozenset({"http", "https", "mailto"})


def _leads_somewhere_safe(url: str) -> bool:
    try:
        return urlsplit(url.strip()).scheme.lower() in _SCHEMES
    except ValueError:
        return False


def _link_open(
    renderer: RendererProtocol,
    tokens: Sequence[Token],
    index: int,
    options: Any,
    _environment: MutableMapping[str, Any],
) -> str:
    tokens[index].attrs |= {"target": "_blank", "rel": "noopener noreferrer nofollow"}
    rendered: str = renderer.renderToken(tokens, index, options, _environment)  # type: ignore[attr-defined]
    return rendered


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    parser.validateLink = _leads_somewhere_safe  # type: ignore[method-assign]
    parser.add_render_rule("link_open", _link_open)
    return parser


_PARSER = _parser()


def to_html(text: str) -> str:
    """Return a text's HTML. Thread-safe: nothing is kept between two calls."""
    tokens = _PARSER.parse(text[:MAX_CHARACTERS])
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:  # below the page's own headings
            token.tag = f"h{min(6, max(HIGHEST_HEADING, int(token.tag[1]) + 2))}"
    return str(_PARSER.renderer.render(tokens, _PARSER.options, {}))
