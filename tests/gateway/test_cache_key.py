"""The key of a question: the same for the same, another for another."""

from __future__ import annotations

import json
from dataclasses import replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from apps.gateway.cache.key import DEFAULTS, IGNORED, canonical, key_of
from apps.gateway.call import ResolvedRoute
from menhir.postgres.ids import uuid7
from menhir.tenancy.principal import system

from peers.caller import call_of

ACME, GLOBEX = system(uuid7(), "acme"), system(uuid7(), "globex")
ROUTE = ResolvedRoute(name="r", targets=(), fingerprint=b"f" * 16)

numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in IGNORED and name not in DEFAULTS
)
bodies = st.dictionaries(names, values, max_size=6)


def shuffled(value, draw):
    """The same value, its members in another order and its whole numbers in another form."""
    if isinstance(value, dict):
        return {name: shuffled(value[name], draw) for name in draw(st.permutations(list(value)))}
    if isinstance(value, list):
        return [shuffled(item, draw) for item in value]
    if type(value) is int and abs(value) < 2**53 and draw(st.booleans()):
        return float(value)
    return value


@given(bodies, st.data())
def test_order_blanks_escapes_and_forms_of_numbers_do_not_matter(body, data):
    other = shuffled(body, data.draw)
    indent, ascii_only = data.draw(st.sampled_from([None, 2])), data.draw(st.booleans())
    sent = json.dumps(other, indent=indent, ensure_ascii=ascii_only)
    assert canonical(orjson.loads(sent)) == canonical(body)


@given(bodies, st.dictionaries(st.sampled_from(sorted(IGNORED)), values), st.sets(st.sampled_from(sorted(DEFAULTS))))
def test_who_asks_and_what_is_said_anyway_do_not_matter(body, ignored, said):
    assert canonical({**body, **ignored, **{name: DEFAULTS[name] for name in said}}) == canonical(body)
    assert canonical({**body, "n": 1.0, "unset": None}) == canonical(body)


@given(bodies, bodies)
def test_what_reads_differently_is_another_question(one, other):
    assert (canonical(one) == canonical(other)) == (comparable(one) == comparable(other))


@given(bodies, names, scalars.filter(lambda value: value is not None), scalars.filter(lambda value: value is not None))
def test_a_change_anywhere_is_a_change(body, name, one, other):
    same = comparable({"": one}) == comparable({"": other})
    for wrap in (lambda value: value, lambda value: [value], lambda value: {"deep": [{"in": value}]}):
        assert (canonical({**body, name: wrap(one)}) == canonical({**body, name: wrap(other)})) == same


def comparable(body):
    """A value by which two bodies are equal exactly when they say the same: told apart by type, numbers by their value."""

    def plain(value):
        if isinstance(value, dict):
            return ("object", frozenset((name, plain(item)) for name, item in value.items()))
        if isinstance(value, list):
            return ("list", tuple(map(plain, value)))
        if isinstance(value, bool) or value is None:
            return ("word", value)
        if isinstance(value, int | float):
            # Beyond 2**53 a float stands for itself only.
            return ("number", value if abs(value) < 2**53 else (type(value).__name__, value))
        return ("text", value)

    return plain({name: value for name, value in body.items() if value is not None})


def test_true_is_not_one():
    assert len({canonical({"n": n}) for n in (1, True, 2)}) == 3
    assert len({canonical({"logprobs": said}) for said in (False, 0, True)}) == 3


def test_everything_around_the_question_is_part_of_it():
    base = call_of(ACME, "r")
    versioned = call_of(ACME, "r")
    versioned.prompt_version_id = uuid7()
    keys = {
        key_of(base, ROUTE),
        key_of(call_of(GLOBEX, "r"), ROUTE),
        key_of(base, replace(ROUTE, fingerprint=b"g" * 16)),
        key_of(versioned, ROUTE),
        key_of(call_of(ACME, "r", stream=True), ROUTE),
        key_of(call_of(ACME, "r", operation="embeddings", input="a", messages=base.body["messages"]), ROUTE),
        key_of(base, ROUTE, salt=b"another use"),
    }
    assert len(keys) == 7
    assert key_of(call_of(ACME, "another name for it", user="u"), ROUTE) == key_of(base, ROUTE)
