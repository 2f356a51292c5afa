"""Markdown to safe HTML: the one place where an answer's text becomes markup.

Raw HTML in the text is shown as text, and the result passes a sanitiser all the same. Reference definitions (`[1]: …`) are
ordinary text here: nothing in one block may change how another block looks, or a growing answer could not be rendered block
by block (see `live`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from typing import Any

import nh3
from django.utils.html import escape
from django.utils.translation import get_language, gettext
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from apps.chat.sources import Source, Sources

HIGHLIGHT_LIMIT_CHARACTERS = 50_000
REMEMBERED_CHARACTERS = 8_000
HEADINGS_BELOW_THE_PAGE = 2  # the page owns h1 and the transcript h2

CITATION = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\](?!\()")
MATH = re.compile(r"\\\(.+?\\\)|\\\[.+?\\\]|\$\$.+?\$\$|\$(?! )[^$\n]*?(?<![ \\$])\$(?!\d)", re.DOTALL)
SAFE_LINK = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)

SANITISER = nh3.Cleaner(
    tags={
        "a",
        "blockquote",
        "br",
        "code",
        "div",
        "em",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "span",
        "strong",
    }
    | {"table", "tbody", "td", "th", "thead", "tr", "ul"},
    attributes={
        "a": {"aria-label", "class", "data-number", "href", "target", "title"},
        "code": {"class"},
        "div": {"class", "tabindex"},
        "ol": {"start"},
        "pre": {"tabindex"},
        "span": {"class"},
        "table": {"class"},
        "td": {"class"},
        "th": {"class"},
    },
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
)


def render(text: str, sources: Sources | None = None) -> str:
    r"""Give sanitised HTML for a text; `[n]` becomes a link where `sources` knows the number.

    >>> render("**Hi** <b>")
    '<p><strong>Hi</strong> &lt;b&gt;</p>\n'
    """
    return SANITISER.clean(PARSER.render(text, {"sources": sources or {}}))


def remembered(text: str, sources: Sources) -> str:
    """The same, for texts that do not change any more and are looked at again: those of usual length are kept."""
    if len(text) > REMEMBERED_CHARACTERS:
        return render(text, sources)
    return _remembered(text, tuple(sorted(sources.items())), get_language())


def cited(text: str) -> list[int]:
    """List the numbers that a text cites, each once, in the order of the text.

    >>> cited("Yes [2]. And [1, 2]; `[9]` is code, [3](https://x.y) is a link.")
    [2, 1]
    """
    numbers: dict[int, None] = {}
    tokens = PARSER.parse(text, {"sources": _Everything()})
    for inline in (token for token in tokens if token.type == "inline"):
        for child in inline.children or ():
            if child.type == "citation":
                numbers.setdefault(child.meta["number"])
    return list(numbers)


@lru_cache(maxsize=512)
def _remembered(text: str, sources: tuple[tuple[int, Source], ...], _language: str | None) -> str:
    return render(text, dict(sources))


class _Everything(Mapping[int, Source]):
    """Knows every number: for finding the citations of a text without knowing its sources."""

    def __getitem__(self, number: int) -> Source:
        return Source(href="", title="")

    def __contains__(self, number: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def _citation_rule(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - the parser's signature
    """`[1]` and `[1, 2]`, when every number is a passage that the answer was given."""
    if state.src[state.pos] != "[" or state.linkLevel > 0:
        return False
    match = CITATION.match(state.src, state.pos)
    if match is None:
        return False
    numbers = [int(number) for number in match[1].split(",")]
    if not all(number in state.env.get("sources", {}) for number in numbers):
        return False
    if not silent:
        for number in numbers:
            state.push("citation", "a", 0).meta = {"number": number}
    state.pos = match.end()
    return True


def _math_rule(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - the parser's signature
    """Formulas stay as they were written: no emphasis, no escapes inside."""
    if state.src[state.pos] not in "\\$":
        return False
    match = MATH.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent:
        state.push("math", "span", 0).content = match[0]
    state.pos = match.end()
    return True


def _citation(_renderer: object, tokens: Sequence[Token], index: int, _options: object, env: MutableMapping[str, Any]) -> str:
    number = tokens[index].meta["number"]
    source: Source = env["sources"][number]
    label = gettext("Source %(number)s: %(title)s") % {"number": number, "title": source.title}
    return f'<a class="citation" href="{escape(source.href)}" data-number="{number}" aria-label="{escape(label)}">{number}</a>'


def _math(_renderer: object, tokens: Sequence[Token], index: int, *_: object) -> str:
    return f'<span class="math">{escape(tokens[index].content)}</span>'


def _image(_renderer: object, tokens: Sequence[Token], index: int, *_: object) -> str:
    """An image from elsewhere is a link: showing it would tell its server who reads this."""
    address = str(tokens[index].attrs.get("src", ""))
    return f'<a class="image" href="{escape(address)}" target="_blank">{escape(tokens[index].content or address)}</a>'


def _link_open(_renderer: object, tokens: Sequence[Token], index: int, *_: object) -> str:
    return f'<a href="{escape(str(tokens[index].attrs["href"]))}" target="_blank">'


def _fence(_renderer: object, tokens: Sequence[Token], index: int, *_: object) -> str:
    language = tokens[index].info.strip().partition(" ")[0][:40]
    head = f"<header><span>{escape(language)}</span></header>"
    code = _highlighted(tokens[index].content, language)
    return f'<div class="code">{head}<pre tabindex="0"><code class="highlight">{code}</code></pre></div>\n'


def _highlighted(code: str, language: str) -> str:
    lexer = _lexer(language.lower())
    if lexer is None or len(code) > HIGHLIGHT_LIMIT_CHARACTERS:
        return escape(code)
    return str(highlight(code, lexer, FORMATTER))


@lru_cache(maxsize=256)
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _table_open(*_: object) -> str:
    return '<div class="table-wrap" tabindex="0"><table class="table">\n'


def _table_close(*_: object) -> str:
    return "</table></div>\n"


def _cell_open(_renderer: object, tokens: Sequence[Token], index: int, *_: object) -> str:
    """Alignment as a class: the page's policy allows no style attributes."""
    tag, style = tokens[index].tag, str(tokens[index].attrs.get("style", ""))
    side = style.removeprefix("text-align:")
    return f'<{tag} class="{side}">' if side in {"center", "right"} else f"<{tag}>"


def _heading_open(_renderer: object, tokens: Sequence[Token], index: int, *_: object) -> str:
    return f"<{_lowered(tokens[index].tag)}>"


def _heading_close(_renderer: object, tokens: Sequence[Token], index: int, *_: object) -> str:
    return f"</{_lowered(tokens[index].tag)}>\n"


def _lowered(tag: str) -> str:
    return f"h{min(6, int(tag[1]) + HEADINGS_BELOW_THE_PAGE)}"


def _parser() -> MarkdownIt:
    parser = MarkdownIt("js-default", {"html": False, "linkify": True, "breaks": True})
    parser.disable(["reference", "replacements", "smartquotes"])
    if parser.linkify is not None:
        parser.linkify.set({"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False})  # README.md is no address
    parser.inline.ruler.before("escape", "math", _math_rule)
    parser.inline.ruler.before("link", "citation", _citation_rule)
    parser.validateLink = lambda url: SAFE_LINK.match(url) is not None  # type: ignore[method-assign]
    rules: dict[str, Callable[..., str]] = {
        "citation": _citation,
        "math": _math,
        "image": _image,
        "link_open": _link_open,
        "fence": _fence,
        "code_block": _fence,
        "table_open": _table_open,
        "table_close": _table_close,
        "th_open": _cell_open,
        "td_open": _cell_open,
        "heading_open": _heading_open,
        "heading_close": _heading_close,
    }
    for name, rule in rules.items():
        parser.add_render_rule(name, rule)
    return parser


PARSER = _parser()
FORMATTER: HtmlFormatter[str] = HtmlFormatter(nowrap=True)
