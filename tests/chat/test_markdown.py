"""What a model writes becomes markup in one place, and never becomes script."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chat.markdown import cited, render
from apps.chat.sources import Source

SOURCES = {1: Source(href="/t/acme/documents/d?chunk=c", title='A "quoted" <title>'), 2: Source(href="/d/2", title="Two")}

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](vbscript:msgbox)",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](/t/acme/sign-out)",
    "[x](//evil.example)",
    "![x](javascript:alert(1))",
    "![x](https://evil.example/pixel.gif)",
    '![x](https://evil.example/p.gif"onerror="alert(1))',
    '[x](https://a.b "title\\" onmouseover=\\"alert(1)")',
    "<javascript:alert(1)>",
    "<https://a.b/\"onclick='alert(1)>",
    "https://a.b/<script>alert(1)</script>",
    "```<script>alert(1)</script>\n<script>alert(1)</script>\n```",
    '```"><img/src=x/onerror=alert(1)>\nx\n```',
    "`<script>alert(1)</script>`",
    "$<script>alert(1)</script>$",
    "\\(<img src=x onerror=alert(1)>\\)",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    "<style>*{display:none}</style>",
    "<form action=https://evil.example><input name=q></form>",
    "[1](javascript:alert(1))",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<math><mtext></p><img src=x onerror=alert(1)>",
    "\x00<script\x00>alert(1)</script>",
]


class Markup(HTMLParser):
    """Every tag and attribute a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def assert_harmless(html: str) -> None:
    markup = Markup(html)
    assert not {"script", "img", "svg", "iframe", "style", "form", "input", "math", "object", "link", "meta", "base"} & set(markup.tags)
    for name, value in markup.attributes:
        assert not name.startswith("on")
        assert name not in {"style", "src", "id", "name", "srcdoc", "action"}
        if name == "href":
            assert value.lower().startswith(("http://", "https://", "mailto:")) or value in {source.href for source in SOURCES.values()}


@pytest.mark.parametrize("text", ATTACKS)
def test_an_attack_is_shown_as_text(text: str):
    assert_harmless(render(text, SOURCES))


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from([*ATTACKS, "[", "]", "(", ")", "`", "\n", "\n\n", " ", "[1]", "![", "**", "|", "$", "\\", '"', ">"]), max_size=10
    )
)
def test_attacks_in_company_are_harmless_too(parts: list[str]):
    assert_harmless(render("".join(parts), SOURCES))


def test_an_image_from_elsewhere_is_a_link():
    html = render("![A cat](https://cats.example/1.png)")
    assert "<img" not in html
    assert '<a class="image" href="https://cats.example/1.png" target="_blank" rel="noopener noreferrer nofollow">A cat</a>' in html


def test_citations_point_at_their_passages():
    html = render("So it is [1], [1, 2].", SOURCES)
    assert html.count('class="citation"') == 3
    assert 'href="/t/acme/documents/d?chunk=c"' in html
    assert 'aria-label="Source 1: A &quot;quoted&quot; &lt;title&gt;"' in html


@pytest.mark.parametrize("text", ["[3]", "[1, 3]", "`[1]`", "[1](https://x.y)", "```\n[1]\n```", "[one]", "\\[1\\]"])
def test_what_is_no_citation_stays_text(text: str):
    assert 'class="citation"' not in render(text, SOURCES)


def test_cited_numbers_each_once_in_order():
    assert cited("b [2] then [1]\n\n- again [2]\n\n> and [12, 1]\n\n`[9]`\n\n```\n[8]\n```") == [2, 1, 12]


def test_code_is_highlighted_by_classes_and_says_its_language():
    html = render("```python\nprint('x')\n```")
    assert '<div class="code"><header><span>python</span></header>' in html
    assert '<span class="nb">print</span>' in html
    assert "style=" not in html
    assert "<header><span></span></header>" in render("```\nplain\n```")
    assert "&lt;b&gt;" in render("```nosuchlanguage\n<b>\n```")


def test_headings_stay_below_the_page_and_tables_scroll_inside_themselves():
    assert render("# A") == "<h3>A</h3>\n"
    assert render("###### A") == "<h6>A</h6>\n"
    html = render("| a | b |\n|---|--:|\n| 1 | ~~2~~ |")
    assert html.startswith('<div class="table-wrap" tabindex="0"><table class="table">')
    assert '<td class="right"><s>2</s></td>' in html


@pytest.mark.parametrize("formula", ["$x_1 * y_2 * z$", "\\(a_b*c*d\\)", "\\[ \\sum_{i}^* x^*_i \\]", "$$\na_1 *b* c\n$$"])
def test_formulas_are_left_as_they_were_written(formula: str):
    html = render(f"So {formula} holds.")
    assert "<em>" not in html
    assert f'<span class="math">{formula}</span>' in html


def test_money_is_no_formula():
    assert "math" not in render("It costs $5, or $6 with *cream*.")


def test_addresses_become_links_and_file_names_do_not():
    html = render("See https://example.com/a and README.md and a@b.example")
    assert html.count("<a ") == 1
