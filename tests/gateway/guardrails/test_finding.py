"""What is found in a text: the same however the text is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.guardrails.kinds import UnfitGuardrail, settings_of
from apps.gateway.guardrails.pii import KINDS, PersonalData
from apps.gateway.guardrails.placeholders import Placeholders
from apps.gateway.guardrails.sieve import Pattern, Sieve
from apps.gateway.patterns import BadPattern, compiled

SAMPLES = {
    "bob@example.com": "email",
    "o.hara+test@müller-söhne.co.uk": "email",
    "DE89 3704 0044 0532 0130 00": "iban",
    "gb82west12345698765432": "iban",
    "4111 1111 1111 1111": "credit_card",
    "5500-0055-5555-5559": "credit_card",
    "378282246310005": "credit_card",
    "536-90-4399": "us_ssn",
    "36 574 261 809": "de_tax_id",
    "192.168.17.4": "ip_address",
    "fe80::1ff:fe23:4567:890a": "ip_address",
    "+49 30 1234567": "phone",
    "+49 (0)170 1234567": "phone",
    "0049 30 1234567": "phone",
    "(212) 555-4567": "phone",
    "030 1234567": "phone",
}
HARMLESS = (
    "2024-01-02",
    "12:30:45",
    "std::vector",
    "order 98765432",
    "3.14159265",
    "4111 1111 1111 1112",
    "DE00370400440532013000",
    "1.2.3",
    "a@b",
    "@handle",
    "$1,234,567.89",
    "v2.10.3-rc.1",
    "000-12-3456",
    "naïve 石 🪨",
)
FINDER = PersonalData(regions=("DE", "US"))


@pytest.mark.parametrize(("text", "kind"), SAMPLES.items())
@pytest.mark.parametrize("frame", ["{}", "Write to {} today", "({})", "it is {}.", "{}, {}", "AND {} AND", "请{}谢谢", "\n{}\n"])
def test_personal_data_is_found_with_its_span_and_kind(text, kind, frame):
    whole = frame.replace("{}", text)
    found = [(whole[span.start : span.end], span.kind) for span in FINDER.find(whole, 0)]
    assert found == [(text, kind)] * frame.count("{}")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_is_left_alone(text):
    assert list(FINDER.find(f"see {text} there", 0)) == []


def test_only_the_kinds_that_were_asked_for():
    text = " ".join(SAMPLES)
    assert {span.kind for span in PersonalData(["email"]).find(text, 0)} == {"email"}
    assert set(SAMPLES.values()) == set(KINDS)


def marked(finder, pieces):
    """The text with everything found put in brackets, as it comes out of a sieve that is fed these pieces."""
    sieve = Sieve(finder, lambda span, text: f"<{span.kind}:{text}>")
    return "".join([*(sieve.feed(piece) for piece in pieces), sieve.feed("", ended=True)])


@st.composite
def cut_texts(draw, parts):
    text = "".join(draw(st.lists(parts, max_size=12)))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=len(text))))
    return text, [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


WORDS = st.sampled_from(
    [*SAMPLES, *HARMLESS, " ", " ", " ", ", ", ". ", "\n", "A", "AND", "x", "1", "12", "-", "+", "(", "/", "@", ".", ":", "\u00a0", "ü"]
)


@settings(max_examples=400, deadline=None)
@given(cut_texts(WORDS))
def test_personal_data_is_found_wherever_the_text_was_cut(cut):
    text, pieces = cut
    assert marked(FINDER, pieces) == marked(FINDER, [text])


@pytest.mark.parametrize("text", SAMPLES)
def test_every_single_cut_and_every_character_by_itself(text):
    whole = f"Say {text} again, {text}."
    expected = marked(FINDER, [whole])
    assert expected.count("<") == 2
    assert marked(FINDER, list(whole)) == expected
    for cut in range(len(whole) + 1):
        assert marked(FINDER, [whole[:cut], whole[cut:]]) == expected


PATTERNS = [r"secret", r"\bfoo\d+\b", r"a+b", r"(?i)pass(word)?", r"x.{0,5}y", r"^start", r"end$", r"\d{3,}", "ü+"]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(PATTERNS), cut_texts(st.sampled_from([*"secrtfo012abxyüPASWORD \n", "secret", "foo12", "pass", "start", "end", "word"]))
)
def test_a_pattern_is_found_wherever_the_text_was_cut(pattern, cut):
    text, pieces = cut
    finder = Pattern(compiled(pattern), window=32, kind="p")
    assert marked(finder, pieces) == marked(finder, [text])


def test_prose_is_held_back_by_a_word_only():
    sieve = Sieve(PersonalData(), lambda _span, text: text)
    assert sieve.feed("This is a sentence about bob") == "This is a sentence about "
    assert sieve.feed("by, and it") == "bobby, and "


def test_a_match_longer_than_the_window_is_kept_together_while_it_grows():
    sieve = Sieve(Pattern(compiled(r"\d+"), window=4, kind="p"), lambda _span, _text: "#")
    assert sieve.feed("ab123456") == "ab"
    assert sieve.feed("789 and more") == "# and "


def test_placeholders_come_back_across_any_cut():
    placeholders = Placeholders()
    text = f"Dear {placeholders.of('email', 'bob@example.com', restore=True)} and {placeholders.of('email', 'x@y.zz', restore=False)} [1] [EMAIL_9]"
    expected = "Dear bob@example.com and [EMAIL_2] [1] [EMAIL_9]"
    for cut in range(len(text) + 1):
        sieve = Sieve(placeholders, placeholders.restored)
        assert sieve.feed(text[:cut]) + sieve.feed(text[cut:]) + sieve.feed("", ended=True) == expected


@pytest.mark.parametrize(
    ("kind", "settings", "param"),
    [
        ("regex", {}, "settings"),
        ("regex", {"patterns": []}, "settings.patterns"),
        ("regex", {"patterns": ["a"], "window": 0}, "settings.window"),
        ("regex", {"patterns": ["a", "(b"]}, "settings.patterns[1]"),
        ("regex", {"patterns": ["a"], "wnidow": 3}, "settings"),
        ("pii", {"kinds": ["shoe_size"]}, "settings.kinds"),
        ("pii", {"kinds": []}, "settings.kinds"),
        ("pii", {"regions": ["Germany"]}, "settings.regions[0]"),
        ("size", {}, "settings"),
        ("size", {"max_characters": 0}, "settings.max_characters"),
        ("models", {}, "settings"),
        ("webhook", {"url": "ftp://example.com"}, "settings.url"),
        ("webhook", {"url": "https://example.com", "timeout_seconds": 60}, "settings.timeout_seconds"),
        ("moderation", {"model": ""}, "settings.model"),
        ("astrology", {}, "kind"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_their_name(kind, settings, param):
    with pytest.raises((UnfitGuardrail, BadPattern)) as refused:
        settings_of(kind, settings)
    assert refused.value.param == param
