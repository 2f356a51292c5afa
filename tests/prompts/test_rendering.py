"""Rendering: what fills in, what is refused, and by which name."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as some

from apps.prompts import rendering
from apps.prompts.errors import (
    MissingVariable,
    PromptSyntaxError,
    RenderedTooLong,
    UnknownVariable,
    UnsupportedSyntax,
    UnusableVariable,
)
from apps.prompts.rendering import render, variables_of


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(rendering).failed == 0


@pytest.mark.parametrize(
    ("text", "variables", "rendered"),
    [
        ("plain", {}, "plain"),
        ("Hi {{ name }}!\n", {"name": "Ada"}, "Hi Ada!\n"),
        ("{{a}}{{ b }}", {"a": 1, "b": True}, "1true"),
        ("{{ user.name }}", {"user": {"name": "Ada"}}, "Ada"),
        ("{{ items | join(', ') }}", {"items": ["a", 2, False]}, "a, 2, false"),
        ("{{ data }}", {"data": {"a": [1, None]}}, '{"a":[1,null]}'),
        ("{% if formal %}Dear{% else %}Hi{% endif %} you", {"formal": False}, "Hi you"),
        ("{% if items | length > 1 and tone == 'warm' %}yes{% endif %}", {"items": [1, 2], "tone": "warm"}, "yes"),
        ("{# nobody reads this #}x", {}, "x"),
        ("{% raw %}{{ not_mine }}{% endraw %}", {}, "{{ not_mine }}"),
        ("{{ html }}", {"html": "<b>&"}, "<b>&"),
    ],
)
def test_renders(text: str, variables: dict[str, object], rendered: str):
    assert render(text, variables) == rendered


def test_a_value_is_never_read_as_template_text():
    assert render("{{ a }}", {"a": "{{ b }}{% if %}"}) == "{{ b }}{% if %}"


@pytest.mark.parametrize("given", [{}, {"name": None}])
def test_a_missing_variable_is_named(given: dict[str, object]):
    with pytest.raises(MissingVariable, match="`name`") as refused:
        render("Hi {{ name }}", given)
    assert refused.value.param == "variables.name"


def test_a_variable_in_a_branch_not_taken_is_missed_as_well():
    with pytest.raises(MissingVariable, match="`b`"):
        render("{% if a %}{{ b }}{% endif %}", {"a": False})


def test_an_unknown_variable_is_named_with_those_there_are():
    with pytest.raises(UnknownVariable, match=r"`nmae`; it has `name`") as refused:
        render("Hi {{ name }}", {"name": "Ada", "nmae": "x"})
    assert refused.value.param == "variables.nmae"


@pytest.mark.parametrize(("text", "line"), [("{{ x", 1), ("a\nb\n{% if %}", 3), ("a\n{% endif %}", 2)])
def test_a_syntax_error_names_its_line(text: str, line: int):
    with pytest.raises(PromptSyntaxError, match=f"^Line {line}: ") as refused:
        variables_of(text)
    assert refused.value.param == "text"


@pytest.mark.parametrize(
    "text",
    [
        "{% for x in xs %}{{ x }}{% endfor %}",
        "{{ f() }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ -x }}",
        "{{ x[0] }}",
        "{{ ''.__class__ }}",
        "{{ self }}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% macro m() %}{% endmacro %}",
        "{% set x = 1 %}",
        "{% block x %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{{ x | attr('y') }}",
        "{{ x | upper(1) }}",
        "{{ x | join(y) }}",
        "{{ x if y }}",
        "{{ x is defined }}",
        "{{ " + "(" * 3000 + "x" + ")" * 3000 + " }}",
        "{{ " + " and ".join("x" * 5000) + " }}",
        "{% if x %}" * 60 + "{% endif %}" * 60,
        "{{ x }}" * 3000,
        "x" * 100_001,
        "a\x00b",
    ],
)
def test_what_a_prompt_may_not_do_is_refused_when_it_is_written(text: str):
    with pytest.raises(UnsupportedSyntax):
        variables_of(text)


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("{{ x.__class__ }}", {"x": "text"}),
        ("{{ x.format }}", {"x": "text"}),
        ("{{ x | join(',') }}", {"x": "text"}),
        ("{{ x | length }}", {"x": 3}),
        ("{% if x < 3 %}{% endif %}", {"x": "a"}),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(text: str, variables: dict[str, object]):
    with pytest.raises(UnusableVariable):
        render(text, variables)


def test_an_absent_member_is_missing_not_blank():
    with pytest.raises(MissingVariable, match="name"):
        render("{{ user.name }}", {"user": {}})


def test_what_goes_in_is_bounded():
    with pytest.raises(RenderedTooLong):
        render("{% if x %}{% endif %}", {"x": ["y" * 300_000, "z" * 300_000]})
    with pytest.raises(UnusableVariable):
        render("{{ x }}", {"x": object()})


def test_the_result_is_bounded():
    with pytest.raises(RenderedTooLong):
        render("{{ x }}{{ x }}", {"x": "y" * 300_000})


def test_variables_are_named_once_and_sorted():
    assert variables_of("{{ b }}{{ a.x }}{% if c %}{{ b }}{% endif %}") == ("a", "b", "c")


@given(some.text(max_size=200))
def test_any_text_renders_or_is_refused_by_name(text: str):
    try:
        needed = variables_of(text)
    except (PromptSyntaxError, UnsupportedSyntax):
        return
    assert isinstance(render(text, dict.fromkeys(needed, "x")), str)


@given(some.text(max_size=200))
def test_any_value_arrives_unchanged(value: str):
    assert render("[{{ x }}]", {"x": value}) == f"[{value}]"
