"""Turn a prompt's text and its variables into the words that a model reads.

The language is the harmless part of Jinja: `{{ name }}`, `{{ user.name }}`, a few filters, `{% if %}`, comments. No loops,
no calls, no arithmetic, no access to Python: what a prompt costs to render is bounded by its length. Texts are
checked against that list when a version is added *and* compiled in Jinja's immutable sandbox, two locks on one door.

>>> variables_of("You answer for {{ product }}.{% if tone %} Be {{ tone }}.{% endif %}")
('product', 'tone')
>>> render("Hello {{ name | upper }}", {"name": "ada"})
'Hello ADA'
>>> render("Hello {{ name }}", {})
Traceback (most recent call last):
apps.prompts.errors.MissingVariable: The variable `name` has no value.
>>> render("Hello", {"nmae": "ada"})
Traceback (most recent call last):
apps.prompts.errors.UnknownVariable: The prompt has no variable `nmae`; it has none at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

import orjson
from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from apps.prompts.errors import (
    MissingVariable,
    PromptSyntaxError,
    RenderedTooLong,
    UnknownVariable,
    UnsupportedSyntax,
    UnusableVariable,
)

TEXT_LIMIT_CHARACTERS: Final = 100_000
RENDERED_LIMIT_CHARACTERS: Final = 400_000
NESTING_LIMIT: Final = 30
EXPRESSIONS_LIMIT: Final = 500

ALLOWED_NODES: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Getattr,
    nodes.Const,
    nodes.Filter,
    nodes.If,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
)
PLAIN_WORDS: Final[Mapping[type[nodes.Node], str]] = {
    nodes.For: "loops (join a list with `{{ items | join(', ') }}`)",
    nodes.Call: "calls",
    nodes.Macro: "macros",
    nodes.Include: "includes",
    nodes.Import: "imports",
    nodes.FromImport: "imports",
    nodes.Extends: "inheritance",
    nodes.Block: "blocks",
    nodes.Assign: "assignments",
    nodes.AssignBlock: "assignments",
    nodes.Getitem: "subscripts (write `user.name`)",
    nodes.CondExpr: "conditions inside an expression (write `{% if … %}`)",
    nodes.Test: "tests",
    nodes.BinExpr: "arithmetic",
    nodes.UnaryExpr: "arithmetic",
}


def render(text: str, variables: Mapping[str, object]) -> str:
    """Give the text with every variable filled in.

    Values are strings, numbers, booleans, or lists and objects of them (which appear as JSON). They are never read as
    template text. Raises `MissingVariable`, `UnknownVariable`, `UnusableVariable` or `RenderedTooLong`, and
    `PromptRefused` when the text itself is no prompt.
    """
    template, needed = _compile(text)
    _compare(needed, variables)
    pieces: list[str] = []
    left = RENDERED_LIMIT_CHARACTERS
    try:
        for piece in template.generate(variables):
            left -= len(piece)
            if left < 0:
                raise RenderedTooLong(
                    f"The rendered prompt is longer than {RENDERED_LIMIT_CHARACTERS:,} characters.",
                    param="variables",
                )
            pieces.append(piece)
    except (TypeError, ValueError) as unfit:
        raise UnusableVariable(f"A variable does not fit where it is used: {unfit}.", param="variables") from unfit
    return "".join(pieces)


def variables_of(text: str) -> tuple[str, ...]:
    """Give the names of the variables that the text needs, in alphabetical order; raise `PromptRefused` when it is no prompt."""
    return _compile(text)[1]


@lru_cache(maxsize=256)
def _compile(text: str) -> tuple[Template, tuple[str, ...]]:
    if len(text) > TEXT_LIMIT_CHARACTERS:
        raise UnsupportedSyntax(f"A prompt has at most {TEXT_LIMIT_CHARACTERS:,} characters.", param="text")
    if "\x00" in text:
        raise UnsupportedSyntax("A prompt has no NUL characters.", param="text")
    try:
        tree = ENVIRONMENT.parse(text)
        _check(tree)
        needed = tuple(sorted(meta.find_undeclared_variables(tree)))
        return ENVIRONMENT.from_string(text), needed
    except TemplateSyntaxError as wrong:
        raise PromptSyntaxError(f"Line {wrong.lineno}: {wrong.message}", param="text") from wrong
    except (RecursionError, SyntaxError, MemoryError) as too_deep:
        raise UnsupportedSyntax("The prompt's text is nested too deeply.", param="text") from too_deep


def _check(tree: nodes.Template) -> None:
    expressions = 0
    for node, depth in _walk(tree):
        if (why := _objection(node, depth)) is not None:
            raise UnsupportedSyntax(f"Line {node.lineno}: {why}.", param="text")
        expressions += isinstance(node, nodes.Expr) and not isinstance(node, nodes.TemplateData)
    if expressions > EXPRESSIONS_LIMIT:
        raise UnsupportedSyntax(f"A prompt has at most {EXPRESSIONS_LIMIT:,} expressions.", param="text")


def _objection(node: nodes.Node, depth: int) -> str | None:
    if not isinstance(node, ALLOWED_NODES):
        known = (PLAIN_WORDS[kind] for kind in type(node).__mro__ if kind in PLAIN_WORDS)
        return f"prompts have no {next(known, f'`{type(node).__name__.lower()}`')}"
    if isinstance(node, nodes.Filter):
        return _objection_to_filter(node)
    if isinstance(node, nodes.Name) and node.name == "self":
        return "`self` is a reserved word"
    if isinstance(node, nodes.Getattr) and not isinstance(node.node, nodes.Name | nodes.Getattr):
        return "only variables have members"
    if depth > NESTING_LIMIT:
        return "the text is nested too deeply"
    return None


def _objection_to_filter(node: nodes.Filter) -> str | None:
    if node.name not in FILTERS:
        return f"there is no filter `{node.name}`; there are {', '.join(sorted(FILTERS))}"
    if node.kwargs or node.dyn_args or node.dyn_kwargs or len(node.args) > (node.name == "join"):
        return f"the filter `{node.name}` takes {'one argument' if node.name == 'join' else 'no arguments'}"
    if node.args and not (isinstance(node.args[0], nodes.Const) and isinstance(node.args[0].value, str)):
        return "a list is joined with a text, as in `{{ items | join(', ') }}`"
    return None


def _walk(tree: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    """Walk without recursion, as `a and a and …` makes trees deeper than Python's stack."""
    waiting: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((child, depth + 1) for child in node.iter_child_nodes())


def _compare(needed: Sequence[str], given: Mapping[str, object]) -> None:
    for name in given:
        if name not in needed:
            has = f"it has {', '.join(f'`{n}`' for n in needed)}" if needed else "it has none at all"
            raise UnknownVariable(f"The prompt has no variable `{name}`; {has}.", param=f"variables.{name}")
    for name in needed:
        if given.get(name) is None:
            raise MissingVariable(f"The variable `{name}` has no value.", param=f"variables.{name}")
    if sum(map(_size, given.values())) > RENDERED_LIMIT_CHARACTERS:
        raise RenderedTooLong(f"The variables are longer than {RENDERED_LIMIT_CHARACTERS:,} characters.", param="variables")


def _size(value: object) -> int:
    try:
        return len(value) if isinstance(value, str) else len(orjson.dumps(value))
    except TypeError as unfit:
        raise UnusableVariable(f"A variable is nothing that JSON knows: {unfit}.", param="variables") from unfit


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which a dot looks into objects of JSON and nowhere else."""

    def getattr(self, obj: object, attribute: str) -> object:
        """Give the member of an object, as in `{{ user.name }}`."""
        if not isinstance(obj, Mapping):
            raise UnusableVariable(f"`.{attribute}` looks into a value that is no object.", param=f"variables.{attribute}")
        value = obj.get(attribute)
        if value is None:
            raise MissingVariable(f"The variable `….{attribute}` has no value.", param=f"variables.{attribute}")
        return value


def _as_text(value: object) -> str:
    """Write a value as JSON would, so that neither `True` nor `None` nor Python's quotes get into a prompt."""
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _join(value: object, separator: str = "") -> str:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UnusableVariable("Only a list can be joined.", param="variables")
    return separator.join(map(_as_text, value))


def _length(value: object) -> int:
    if not isinstance(value, (str, Sequence, Mapping)):
        raise UnusableVariable("Only texts, lists and objects have a length.", param="variables")
    return len(value)


FILTERS: Final[Mapping[str, Callable[..., object]]] = {
    "join": _join,
    "json": lambda value: orjson.dumps(value).decode(),
    "length": _length,
    "lower": lambda value: _as_text(value).lower(),
    "trim": lambda value: _as_text(value).strip(),
    "upper": lambda value: _as_text(value).upper(),
}


def _environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined,
        finalize=_as_text,
        autoescape=False,  # the reader is a model, not a browser
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=0,  # `_compile` has its own
    )
    environment.globals.clear()
    environment.filters = dict(FILTERS)
    environment.tests.clear()
    return environment


ENVIRONMENT: Final = _environment()
