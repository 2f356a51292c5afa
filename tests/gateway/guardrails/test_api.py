"""`/api/v1/guardrails`, asked by alice, by bob's weaker key, and by mallory."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.gateway.guardrails.loading import PURPOSE
from apps.gateway.guardrails.models import Guardrail
from apps.gateway.models import Route
from menhir.audit.models import Entry
from menhir.tenancy.sealing import unseal
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

GUARDRAILS = "/api/v1/guardrails"


def post(client: Client, path: str, **body: Any) -> Any:
    return client.post(path, body, content_type="application/json")


def patch(client: Client, path: str, **body: Any) -> Any:
    return client.patch(path, body, content_type="application/json")


@pytest.fixture
def client(alice: Person) -> Client:
    return alice.api()


def test_a_guardrail_is_made_changed_and_removed(alice, client):
    made = post(client, GUARDRAILS, name="pii", kind="pii", stage="both", action="redact", settings={"kinds": ["email"], "restore": True})
    assert made.status_code == 201
    shown = made.json()
    assert shown["settings"] == {"kinds": ["email"], "restore": True}
    assert shown["secret"] is None
    assert client.get(f"{GUARDRAILS}/pii").json() == shown
    assert [guardrail["name"] for guardrail in client.get(GUARDRAILS).json()["guardrails"]] == ["pii"]
    changed = patch(client, f"{GUARDRAILS}/pii", action="block", enabled=False).json()
    assert (changed["action"], changed["enabled"], changed["settings"]) == ("block", False, shown["settings"])
    assert client.delete(f"{GUARDRAILS}/pii").status_code == 204
    assert client.get(f"{GUARDRAILS}/pii").status_code == 404
    with tenant_transaction(alice.tenant):
        verbs = list(Entry.objects.within(alice.tenant).filter(noun="guardrail").order_by("at").values_list("verb", flat=True))
    assert verbs == ["guardrail.created", "guardrail.revised", "guardrail.removed"]


def test_a_webhooks_secret_is_shown_once(client):
    made = post(client, GUARDRAILS, name="hook", kind="webhook", settings={"url": "https://example.com/judge"}).json()
    assert made["secret"].startswith("whsec_")
    assert client.get(f"{GUARDRAILS}/hook").json()["secret"] is None
    renewed = client.put(f"{GUARDRAILS}/hook/secret").json()["secret"]
    assert renewed.startswith("whsec_")
    assert renewed != made["secret"]
    post(client, GUARDRAILS, name="pii", kind="pii")
    assert client.put(f"{GUARDRAILS}/pii/secret").status_code == 400


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"kind": "regex", "settings": {"patterns": ["a", "(b"]}}, "settings.patterns[1]"),
        ({"kind": "regex", "settings": {}}, "settings"),
        ({"kind": "size", "action": "redact", "settings": {"max_characters": 1}}, "action"),
        ({"kind": "models", "stage": "after", "settings": {"allow": ["*"]}}, "stage"),
        ({"kind": "pii", "routes": ["nowhere"]}, "routes"),
        ({"kind": "pii", "keys": ["0190e5f0-0000-7000-8000-000000000000"]}, "keys"),
        ({"kind": "pii", "name": "Not A Name"}, "name"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(client, body, param):
    refused = post(client, GUARDRAILS, **{"name": "rule", **body})
    assert (refused.status_code, refused.json()["param"]) == (400, param)


def test_a_bad_pattern_is_refused_with_its_position(client):
    refused = post(client, GUARDRAILS, name="rule", kind="regex", settings={"patterns": ["ab(?=c)"]})
    assert "position 2" in refused.json()["detail"]


@pytest.mark.parametrize("text", ["\x00", "\ud800"])
def test_characters_that_cannot_be_kept_are_refused(client, text):
    refused = client.post(
        GUARDRAILS,
        data='{"name": "rule", "kind": "regex", "settings": {"patterns": ["' + ("\\u0000" if text == "\x00" else "\\ud800") + '"]}}',
        content_type="application/json",
    )
    assert 400 <= refused.status_code < 500
    assert client.get(f"{GUARDRAILS}/%00").status_code == 404


def test_a_name_is_taken_once(client):
    assert post(client, GUARDRAILS, name="rule", kind="pii").status_code == 201
    taken = post(client, GUARDRAILS, name="rule", kind="pii")
    assert (taken.status_code, taken.json()["code"]) == (409, "guardrail_exists")


def test_a_text_can_be_tried(client):
    post(client, GUARDRAILS, name="pii", kind="pii", action="redact", position=1)
    post(client, GUARDRAILS, name="words", kind="regex", settings={"patterns": ["(?i)hunter2"]}, position=2)
    post(client, GUARDRAILS, name="hook", kind="webhook", settings={"url": "https://example.com"}, position=3)
    tried = post(client, f"{GUARDRAILS}/check", text="bob@example.com").json()
    assert tried == {
        "verdict": "allow",
        "blocked_by": None,
        "text": "[EMAIL_1]",
        "found": [{"guardrail": "pii", "outcome": "redacted", "counts": {"email": 1}}],
        "skipped": ["hook"],
    }
    tried = post(client, f"{GUARDRAILS}/check", text="Hunter2").json()
    assert (tried["verdict"], tried["blocked_by"]) == ("block", "words")
    assert post(client, f"{GUARDRAILS}/check", text="Hunter2", guardrail="pii").json()["verdict"] == "allow"
    assert post(client, f"{GUARDRAILS}/check", text="Hunter2", stage="after").json()["skipped"] == ["pii", "words", "hook"]
    assert post(client, f"{GUARDRAILS}/check", text="x", guardrail="nobody").status_code == 404
    assert client.get(f"{GUARDRAILS}/events").json() == {"events": [], "next": None}


def test_bobs_key_lacks_the_scope(bob):
    weak = bob.api("inference")
    for answer in (
        weak.get(GUARDRAILS),
        post(weak, GUARDRAILS, name="x", kind="pii"),
        weak.get(f"{GUARDRAILS}/x"),
        weak.delete(f"{GUARDRAILS}/x"),
        post(weak, f"{GUARDRAILS}/check", text="x"),
        weak.get(f"{GUARDRAILS}/events"),
    ):
        assert answer.status_code == 403


def test_mallory_sees_none_of_it(alice, client, mallory):
    post(client, GUARDRAILS, name="acme-rule", kind="pii")
    with tenant_transaction(alice.tenant):
        Route.objects.create(tenant=alice.tenant, name="acme-route")
    other = mallory.api()
    assert other.get(GUARDRAILS).json() == {"guardrails": []}
    for answer in (
        other.get(f"{GUARDRAILS}/acme-rule"),
        patch(other, f"{GUARDRAILS}/acme-rule", enabled=False),
        other.delete(f"{GUARDRAILS}/acme-rule"),
        post(other, f"{GUARDRAILS}/check", text="x", guardrail="acme-rule"),
    ):
        assert answer.status_code == 404
    assert post(other, GUARDRAILS, name="mine", kind="pii", routes=["acme-route"]).status_code == 400
    with tenant_transaction(alice.tenant):
        assert Guardrail.objects.within(alice.tenant).get().enabled


@pytest.mark.parametrize("cursor", ["x", "AAAA", "%F0"])
def test_a_foreign_cursor_is_refused(client, cursor):
    assert client.get(f"{GUARDRAILS}/events?cursor={cursor}").status_code == 400


@pytest.fixture
def olga(alice: Person, mallory: Person) -> Client:
    """An operator, who belongs to Globex and looks at Acme."""
    mallory.user.is_staff = mallory.user.is_superuser = True
    mallory.user.save()
    browser = mallory.browser()
    assert browser.post(reverse("admin:choose_tenant"), {"tenant": alice.tenant.slug}).status_code == 302
    return browser


def typed(**fields: Any) -> dict[str, Any]:
    return {"name": "rule", "stage": "before", "action": "block", "settings": "{}", "position": "0", "enabled": "on", **fields}


def test_the_webhook_that_staff_makes_has_a_secret_which_is_shown_once(alice, olga):
    page = reverse("admin:gateway_guardrail_add")
    shown = olga.post(page, typed(name="hook", kind="webhook", settings='{"url": "https://example.com"}'), follow=True)
    (secret,) = re.findall("whsec_[A-Za-z0-9+/=]+", html.unescape(shown.content.decode()))
    with tenant_transaction(alice.tenant):
        made = Guardrail.objects.within(alice.tenant).get()
    sealed = made.sealed
    assert unseal(bytes(sealed), purpose=PURPOSE, tenant_id=alice.tenant.id, row_id=made.id) == secret
    change = reverse("admin:gateway_guardrail_change", args=[made.id])
    shown = olga.post(change, typed(name="hook", kind="webhook", settings='{"url": "https://example.com"}', position="3"), follow=True)
    assert "whsec_" not in shown.content.decode()
    with tenant_transaction(alice.tenant):
        made = Guardrail.objects.within(alice.tenant).get()
    assert (made.position, bytes(made.sealed)) == (3, bytes(sealed))


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("regex", '{"patterns": ["(a"]}', "not valid at position"),
        ("pii", '{"kinds": ["x"]}', "There is no kind"),
        ("pii", "[1]", "unknown field"),
    ],
)
def test_what_staff_types_wrong_is_told_in_the_form(alice, olga, kind, settings, said):
    answer = olga.post(reverse("admin:gateway_guardrail_add"), typed(kind=kind, settings=settings))
    assert answer.status_code == 200
    assert said in html.unescape(answer.content.decode())
    with tenant_transaction(alice.tenant):
        assert not Guardrail.objects.within(alice.tenant).exists()
