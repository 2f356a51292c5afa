"""What it costs to look at a text, in proofs: no text keeps the others waiting, and one that costs too much is not taken for checked."""

from __future__ import annotations

import threading
from collections import Counter

import phonenumbers
import pytest
import re2

from apps.gateway import corridor
from apps.gateway.errors import GuardrailUnavailable
from apps.gateway.guardrails.budget import INLINE_STEPS, MOST_STEPS, Budget
from apps.gateway.guardrails.pii import MOST_PHONE_TRIES, PHONE_STEPS, PersonalData
from apps.gateway.guardrails.sieve import Pattern, Sieve, searched
from apps.gateway.patterns import compiled

from peers.caller import Client, ask, call_of, ledger_row

DEAR = " ".join(f"00 1 {number:08d} 1" for number in range(8_000))
"""Numbers that are none, each of which has to be asked after."""


@pytest.fixture
def parsed(monkeypatch) -> Counter[str]:
    """How many numbers were parsed, by the thread that did it."""
    counts: Counter[str] = Counter()
    parse = phonenumbers.parse

    def counted(*asked: object) -> object:
        counts[threading.current_thread().name.partition("_")[0]] += 1
        return parse(*asked)

    monkeypatch.setattr(phonenumbers, "parse", counted)
    return counts


@pytest.mark.parametrize("text", ["0 " * 5_000, "+0 1234567 " * 500, "00 0 49 30 1234567 " * 500, "\u0660 " * 5_000])
def test_what_no_country_begins_with_is_not_parsed(parsed, text):
    assert list(PersonalData(["phone"], regions=["DE"] if "0 0 " in text[:4] else []).find(text, 0)) == []
    assert parsed.total() == 0


def test_a_candidate_is_parsed_a_few_times_and_never_twice(parsed):
    finder = PersonalData(["phone"])
    list(finder.find("00 1 0 0 0 0 0 0 0 0 0 0 0 0", 0))
    assert 0 < parsed.total() <= MOST_PHONE_TRIES
    budget = Budget()
    before = parsed.total()
    for _ in range(3):
        list(finder.find("00 1 0 0 0 0 0 0 0 0 0 0 0 0", 0, budget))
    assert parsed.total() <= before * 2


def test_a_number_is_found_before_other_numbers():
    for text in ("+49 30 1234567 2024 12 31", "+1 212 555 4567 1 2 3 4", "0049 30 1234567 / 12"):
        (span,) = PersonalData(["phone"]).find(text, 0)
        assert phonenumbers.is_valid_number(
            phonenumbers.parse(text[: span.end].replace("00", "+", 1) if text[0] == "0" else text[: span.end])
        )


@pytest.mark.parametrize("text", [DEAR, " ".join(f"AA{number:04d} 1111 2222 3333 4444" for number in range(4_000))])
def test_no_text_gets_more_than_its_budget(parsed, text):
    budget = Budget()
    found = searched(PersonalData(), [f"bob@example.com {text} eve@example.com"], budget)
    assert found.exhausted
    assert [span.kind for span in found.spans[0]] == ["email", "email"]
    assert parsed.total() <= MOST_STEPS // PHONE_STEPS


def test_a_stream_that_costs_too_much_passes_on_when_its_rule_fails_open():
    told = []
    sieve = Sieve(PersonalData(), lambda _span, _text: "#", give_up=lambda: told.append("too much"))
    passed = [sieve.feed("bob@example.com, ")]
    passed += [sieve.feed(DEAR[start : start + 1_000]) for start in range(0, len(DEAR), 1_000)]
    passed.append(sieve.feed(", eve@example.com", ended=True))
    assert told == ["too much"]
    assert "".join(passed) == f"#, {DEAR}, eve@example.com"


@pytest.mark.usefixtures("gateway", "written")
async def test_a_call_that_costs_too_much_is_one_whose_rule_cannot_be_asked(alice, routes, guards, parsed, upstream):
    route = await routes.to("fake")
    await guards.add("open", "pii")
    await ask(call_of(alice.principal, route, messages=[{"role": "user", "content": DEAR}]))
    assert upstream.stats.requests == 1
    assert parsed == {"guardrails": parsed.total()}
    await guards.add("closed", "pii", fails_closed=True)
    call, client = call_of(alice.principal, route, messages=[{"role": "user", "content": DEAR}]), Client()
    with pytest.raises(GuardrailUnavailable):
        await corridor.run(call, client, client.gone)
    assert upstream.stats.requests == 1
    assert ledger_row(call.id)["error_code"] == "guardrail:closed"
    assert {event.outcome for event in await guards.events()} == {"failed"}


@pytest.mark.usefixtures("gateway", "written")
async def test_a_short_text_that_is_dear_is_taken_off_the_loop(alice, routes, guards, parsed, upstream):
    await guards.add("pii", "pii", action="redact")
    said = DEAR[:1_900] + " bob@example.com"
    await ask(call_of(alice.principal, await routes.to("fake"), messages=[{"role": "user", "content": said}]))
    assert upstream.stats.bodies[-1]["messages"][0]["content"] == DEAR[:1_900] + " [EMAIL_1]"
    assert parsed["guardrails"] > 0
    assert parsed.total() - parsed["guardrails"] <= INLINE_STEPS // PHONE_STEPS
    assert [event.counts for event in await guards.events()] == [{"email": 1}]


def test_a_pattern_reads_its_text_once(monkeypatch):
    encoded = []
    encode = re2._encode
    finder = Pattern(compiled("b*"), window=32, kind="p")
    monkeypatch.setattr(re2, "_encode", lambda text: encoded.append(len(text)) or encode(text))
    text = "aüb " * 10_000
    assert [text[span.start : span.end] for span in finder.find(text, 8)] == ["b"] * 9_998
    assert sum(encoded) == len(text)
