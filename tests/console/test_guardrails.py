"""Guardrails in the console: set up by kind, tried on a text, and what they found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from console.conftest import Console, words

from apps.gateway.guardrails import events
from apps.gateway.models import Guardrail
from menhir.postgres.ids import uuid7
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

COMMON = {"stage": "before", "action": "block", "position": "3", "enabled": "on"}
JUDGE = {"timeout_seconds": "5", "every_characters": "400"}


def guardrail(console: Console, name: str) -> Guardrail | None:
    with tenant_transaction(console.owner.tenant):
        found: Guardrail | None = Guardrail.objects.within(console.owner.tenant).filter(name=name).first()
    return found


def set_up(console: Console, kind: str, **fields: Any) -> Any:
    return console.owner.browser().post(console.at(f"guardrails/new?kind={kind}"), {**COMMON, "name": "rule", **fields})


@pytest.mark.parametrize(
    ("kind", "fields", "settings"),
    [
        (
            "regex",
            {"patterns": "tok_[a-z]+\r\n\r\nsk-", "replacement": "", "window": "", "ignore_case": "on"},
            {"patterns": ["tok_[a-z]+", "sk-"], "ignore_case": True},
        ),
        (
            "pii",
            {"kinds": ["email"], "regions": "DE", "restore": "on", "unread": "refuse"},
            {"kinds": ["email"], "regions": ["DE"], "restore": True, "unread": "refuse"},
        ),
        ("size", {"max_characters": "4000", "max_messages": ""}, {"max_characters": 4000}),
        ("models", {"allow": "small\nassistant:*", "users": ""}, {"allow": ["small", "assistant:*"], "users": []}),
        (
            "moderation",
            {**JUDGE, "model": "small", "mode": "chat", "categories": "hate", "threshold": "0.7"},
            {"model": "small", "mode": "chat", "categories": ["hate"], "threshold": 0.7, "timeout_seconds": 5.0, "every_characters": 400},
        ),
    ],
)
def test_each_kind_is_set_up_shown_and_changed(console: Console, kind: str, fields: dict[str, Any], settings: dict[str, Any]) -> None:
    assert set_up(console, kind, **fields, routes=["small"], keys=[str(console.key.id)]).status_code == 302
    made = guardrail(console, "rule")
    assert made is not None
    assert (made.kind, made.settings, made.routes, made.keys, made.position) == (kind, settings, ["small"], [console.key.id], 3)
    browser, place = console.owner.browser(), console.at("guardrails/rule/")
    assert 'value="3"' in words(browser.get(place))
    assert browser.post(place, {**COMMON, **fields, "action": "flag", "enabled": ""}).status_code == 302
    changed = guardrail(console, "rule")
    assert changed is not None
    assert (changed.action, changed.enabled, changed.routes, changed.settings) == ("flag", False, [], settings)
    assert "It is switched off" in words(browser.get(place))


def test_a_webhooks_secret_is_shown_once(console: Console) -> None:
    made = set_up(console, "webhook", url="https://judge.example.com/check", **JUDGE)
    secret = words(made).partition('value="whsec_')[2].partition('"')[0]
    assert secret
    browser = console.owner.browser()
    assert secret not in words(browser.get(console.at("guardrails/rule/")))
    renewed = words(browser.post(console.at("guardrails/rule/secret")))
    assert 'value="whsec_' in renewed
    assert secret not in renewed
    assert browser.post(console.at("guardrails/no-addresses/secret")).status_code == 302


@pytest.mark.parametrize(
    ("kind", "fields", "complaint", "kept"),
    [
        ("regex", {"patterns": "a(b"}, "missing )", "a(b"),
        ("regex", {"patterns": "a", "name": "Not A Name"}, "lower-case letters", "Not A Name"),
        ("regex", {"patterns": "a", "name": "no-addresses"}, "There is a guardrail `no-addresses` already.", "no-addresses"),
        ("pii", {"regions": "germany", "kinds": ["email"]}, "regions", "germany"),
        ("size", {}, "Set `max_characters`", "rule"),
        ("size", {"max_characters": "9", "action": "redact"}, "not one of the available choices", "rule"),
        ("webhook", {**JUDGE, "url": "ftp://here"}, "reached by a URL", "ftp://here"),
    ],
)
def test_what_does_not_fit_is_said_and_kept(console: Console, kind: str, fields: dict[str, Any], complaint: str, kept: str) -> None:
    answer = set_up(console, kind, **fields)
    assert answer.status_code == 200
    assert complaint in words(answer)
    assert kept in words(answer)
    assert guardrail(console, "rule") is None


def test_a_text_is_tried(console: Console) -> None:
    set_up(console, "regex", patterns="tok_[a-z]+")
    browser, check = console.owner.browser(), console.at("guardrails/check")
    redacted = words(browser.post(check, {"text": "Ask anna@acme.example.", "stage": "before"}))
    assert "[EMAIL_1]" in redacted
    assert "E-mail addresses 1" in redacted
    blocked = words(browser.post(check, {"text": "it is tok_abc", "stage": "before"}))
    assert "<strong>rule</strong> would block" in blocked
    assert "It would go through as it is." in words(browser.post(check, {"text": "it is tok_abc", "stage": "after"}))
    one = words(browser.post(check, {"text": "it is tok_abc", "stage": "before", "guardrail": "no-addresses"}))
    assert "It would go through as it is." in one
    assert browser.post(check, {"text": "", "stage": "before"}).status_code == 422
    assert browser.post(check, {"text": "a", "stage": "before", "guardrail": "nowhere"}).status_code == 404


def test_the_list_has_its_order_and_what_was_found(console: Console) -> None:
    set_up(console, "regex", patterns="a", position="0")
    browser = console.owner.browser()
    page = words(browser.get(console.at("guardrails/")))
    assert page.index(">no-addresses<") < page.index(">rule<")
    assert "Nothing was found in these days." in page
    assert ">no-addresses<" not in words(browser.get(console.at("guardrails/?q=rule"))).partition("What was found")[0]
    assert "no-addresses,pii" in words(browser.get(console.at("guardrails/?format=csv")))


@pytest.fixture
async def found(console: Console) -> Console:
    """Two finds of today: an address that was redacted, and what a guardrail found that is gone."""
    events.writer.start()
    for name, outcome, counts in (("no-addresses", "redacted", {"email": 2}), ("long-gone", "blocked", {"pattern 1": 1})):
        events.writer.offer(
            {
                "tenant_id": console.owner.tenant.id,
                "at": datetime.now(UTC),
                "id": uuid7(),
                "call_id": uuid7(),
                "guardrail_id": uuid7(),
                "guardrail": name,
                "stage": "before",
                "outcome": outcome,
                "counts": counts,
                "model": "small",
                "api_key_id": console.key.id,
                "user_id": None,
                "unit": "carol",
            }
        )
    await events.writer.stop()
    return console


def test_what_was_found_is_shown_without_the_text(found: Console) -> None:
    browser = found.owner.browser()
    page = words(browser.get(found.at("guardrails/"))).partition("What was found")[2]
    assert "E-mail addresses 2" in page
    assert "redacted" in page
    assert "carol" in page
    assert "long-gone" in page
    assert "guardrails/long-gone/" not in page
    one = words(browser.get(found.at("guardrails/no-addresses/")))
    assert "E-mail addresses 2" in one
    assert "long-gone" not in one
    assert "It found something 1 time in 7 days" in words(browser.get(found.at("guardrails/no-addresses/remove")))


def test_deleting_says_what_is_no_longer_watched(console: Console) -> None:
    browser, place = console.owner.browser(), console.at("guardrails/no-addresses/remove")
    assert "Calls go by it unseen" in words(browser.get(place))
    assert browser.post(place).status_code == 302
    assert guardrail(console, "no-addresses") is None


def test_a_stranger_neither_sees_nor_touches_it(console: Console, bob: Person, mallory: Person) -> None:
    for path in ("", "secret", "remove"):
        own = f"/t/{mallory.tenant.slug}/console/guardrails/no-addresses/{path}"
        assert mallory.browser().post(own, COMMON).status_code == 404
        assert bob.browser().post(console.at(f"guardrails/no-addresses/{path}"), COMMON).status_code == 403
    told = {"text": "anna@acme.example", "stage": "before"}
    assert mallory.browser().post(console.at("guardrails/check"), told).status_code == 404
    assert "It would go through as it is." in words(mallory.browser().post(f"/t/{mallory.tenant.slug}/console/guardrails/check", told))
    assert guardrail(console, "no-addresses") is not None
