"""What staff forms refuse: said in the form, beside what was typed, and nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest
from console.conftest import Console, words
from django.test import Client
from django.urls import reverse

from apps.gateway.models import CapturePolicy, Guardrail, Provider, Route
from menhir.identity.models import User
from menhir.metering.limits.models import Limit
from menhir.tenancy.models import Membership, TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

NOUNS = [CapturePolicy, Guardrail, Limit, Membership, Provider, Route, TokenIssuer]
NO_LINES = {"targets-TOTAL_FORMS": "0", "targets-INITIAL_FORMS": "0", "branches-TOTAL_FORMS": "0", "branches-INITIAL_FORMS": "0"}
ISSUER = {
    "name": "Login",
    "issuer": "https://login.example.com/",
    "algorithms": "RS256",
    "keys_url": "https://login.example.com/jwks.json",
    "user_claim": "sub",
    "scope_value": "inference",
    "leeway_seconds": "30",
    "longest_lifetime_seconds": "3600",
}
PROVIDER = {
    "slug": "near",
    "kind": "openai",
    "base_url": "https://near.example.com/v1",
    "headers": "{}",
    "first_byte_timeout_seconds": "60",
    "answer_timeout_seconds": "600",
}
ROUTE = {"name": "big", "strategy": "priority", "retries": "1", "cache_seconds": "0", "stale_seconds": "0", **NO_LINES}
GUARDRAIL = {"name": "quiet", "kind": "regex", "stage": "before", "action": "block", "settings": '{"patterns": ["x"]}', "position": "0"}
LIMIT = {"subject": "user", "subject_id": "carol", "metric": "requests", "period": "hour", "amount": "5"}
CAPTURE = {"route": "", "keep_days": "3"}


@pytest.fixture
def olga(mallory: Person, console: Console) -> Client:
    """An operator, who looks at Acme."""
    mallory.user.is_staff = mallory.user.is_superuser = True
    mallory.user.save()
    browser = mallory.browser()
    browser.raise_request_exception = False
    assert browser.post(reverse("admin:choose_tenant"), {"tenant": console.owner.tenant.slug}).status_code == 302
    return browser


def everything(console: Console) -> dict[str, list[Any]]:
    """All that these forms could have changed."""
    tenant = console.owner.tenant
    with tenant_transaction(tenant):
        found = {model.__name__: list(model.objects.within(tenant).order_by("id").values()) for model in NOUNS}
        for route in Route.objects.within(tenant).order_by("id"):
            found[f"lines of {route}"] = [*route.targets.order_by("id").values(), *route.branches.order_by("id").values()]
    return {**found, "people": list(User.objects.order_by("id").values("id", "email"))}


def refused(olga: Client, console: Console, noun: str, given: dict[str, str], *, of: Any = None) -> str:
    """What the form says to this; fails unless it is shown again and nothing has changed."""
    before = everything(console)
    address = reverse(f"admin:{noun}_add") if of is None else reverse(f"admin:{noun}_change", args=[of])
    answer = olga.post(address, given)
    assert answer.status_code == 200, (noun, answer.status_code)
    assert everything(console) == before
    return words(answer)


def made(olga: Client, noun: str, given: dict[str, str]) -> None:
    answer = olga.post(reverse(f"admin:{noun}_add"), given)
    assert answer.status_code == 302, words(answer)


@pytest.mark.parametrize(
    ("noun", "given", "said"),
    [
        ("tenancy_tokenissuer", ISSUER, "Token issuer with this Issuer and Audience already exists."),
        ("gateway_provider", {**PROVIDER, "slug": "far"}, "Provider with this Slug already exists."),
        ("gateway_route", {**ROUTE, "name": "small"}, "Route with this Name already exists."),
        ("gateway_guardrail", {**GUARDRAIL, "name": "no-addresses"}, "Guardrail with this Name already exists."),
        (
            "metering_limit",
            {**LIMIT, "metric": "parallel", "period": ""},
            "and Period already exists.",
        ),
    ],
)
def test_what_is_there_already_is_not_made_again(olga: Client, console: Console, noun: str, given: dict[str, str], said: str) -> None:
    assert said in refused(olga, console, noun, given)


def test_a_member_is_not_added_twice(olga: Client, console: Console) -> None:
    given = {"user": str(console.owner.user.id), "role": "member"}
    assert "Membership with this Person already exists." in refused(olga, console, "tenancy_membership", given)


def test_a_policy_for_all_routes_stands_once(olga: Client, console: Console) -> None:
    made(olga, "gateway_capturepolicy", CAPTURE)
    assert "Capture policy with this Route already exists." in refused(olga, console, "gateway_capturepolicy", CAPTURE)


def test_nothing_takes_the_name_of_another(olga: Client, console: Console) -> None:
    tenant = console.owner.tenant
    made(olga, "gateway_provider", PROVIDER)
    made(olga, "gateway_route", ROUTE)
    made(olga, "gateway_guardrail", GUARDRAIL)
    made(olga, "tenancy_tokenissuer", {**ISSUER, "issuer": "https://other.example.com/"})
    with tenant_transaction(tenant):
        near, big = Provider.objects.within(tenant).get(slug="near"), Route.objects.within(tenant).get(name="big")
        quiet = Guardrail.objects.within(tenant).get(name="quiet")
        other = TokenIssuer.objects.within(tenant).get(issuer="https://other.example.com/")
    assert "already exists" in refused(olga, console, "gateway_provider", {**PROVIDER, "slug": "far"}, of=near.id)
    assert "already exists" in refused(olga, console, "gateway_route", {**ROUTE, "name": "small"}, of=big.id)
    assert "already exists" in refused(olga, console, "gateway_guardrail", {**GUARDRAIL, "name": "no-addresses"}, of=quiet.id)
    assert "already exists" in refused(olga, console, "tenancy_tokenissuer", {**ISSUER, "audience": other.audience}, of=other.id)
    assert olga.post(reverse("admin:gateway_provider_change", args=[near.id]), PROVIDER).status_code == 302, "its own name it may keep"


def test_another_tenants_names_are_free(olga: Client, console: Console, mallory: Person) -> None:
    assert olga.post(reverse("admin:choose_tenant"), {"tenant": mallory.tenant.slug}).status_code == 302
    for noun, given in (
        ("tenancy_tokenissuer", ISSUER),
        ("gateway_provider", {**PROVIDER, "slug": "far"}),
        ("gateway_route", {**ROUTE, "name": "small"}),
        ("gateway_guardrail", {**GUARDRAIL, "name": "no-addresses"}),
        ("metering_limit", {**LIMIT, "metric": "parallel", "period": ""}),
    ):
        made(olga, noun, given)


def test_a_routes_lines_are_each_something_else(olga: Client, console: Console) -> None:
    tenant = console.owner.tenant
    with tenant_transaction(tenant):
        small = Route.objects.within(tenant).get(name="small")
        target = small.targets.get()
    line = {"provider": str(target.provider_id), "upstream_model": "small-1", "position": "0", "weight": "1", "role": "answer"}
    new = {f"targets-{number}-{name}": value for number in range(2) for name, value in line.items()}
    said = refused(olga, console, "gateway_route", {**ROUTE, **new, "targets-TOTAL_FORMS": "2"})
    assert "Please correct the duplicate data for position, provider and upstream_model" in said
    kept = {"targets-0-id": str(target.id), "targets-0-route": str(small.id), "targets-1-route": str(small.id)}
    counted = {"targets-TOTAL_FORMS": "2", "targets-INITIAL_FORMS": "1"}
    assert "duplicate" in refused(olga, console, "gateway_route", {**ROUTE, "name": "small", **new, **kept, **counted}, of=small.id)
    branch = {"leads_to": str(small.id), "position": "0", "label": "same"}
    lines = {f"branches-{number}-{name}": value for number in range(2) for name, value in branch.items()}
    assert "duplicate" in refused(olga, console, "gateway_route", {**ROUTE, "strategy": "classifier", **lines, "branches-TOTAL_FORMS": "2"})


@pytest.mark.parametrize(
    ("noun", "given", "said"),
    [
        (
            "tenancy_tokenissuer",
            {**ISSUER, "issuer": "https://new.example.com/", "keys_url": "", "algorithms": "HS256", "secret": "too short"},
            "A shared secret has 32 to 1024 characters.",
        ),
        ("tenancy_tokenissuer", {**ISSUER, "issuer": "https://new.example.com/", "keys_url": "", "keys": "no key"}, "key"),
        ("tenancy_tokenissuer", {**ISSUER, "issuer": "https://new.example.com/", "audience": "menhir:globex"}, "names a tenant"),
        ("gateway_guardrail", {**GUARDRAIL, "settings": '{"patterns": ["("]}'}, "patterns"),
        ("gateway_guardrail", {**GUARDRAIL, "settings": '{"nothing": 1}'}, "nothing"),
        ("gateway_guardrail", {**GUARDRAIL, "kind": "webhook", "settings": '{"url": "ftp://x"}'}, "url"),
        ("gateway_guardrail", {**GUARDRAIL, "routes": "nowhere"}, "There is no route `nowhere`."),
        ("metering_limit", {**LIMIT, "amount": "1e40"}, "digits"),
        ("metering_limit", {**LIMIT, "amount": "0"}, "amount"),
    ],
)
def test_what_makes_no_sense_is_said_in_the_form(olga: Client, console: Console, noun: str, given: dict[str, str], said: str) -> None:
    assert said in refused(olga, console, noun, given)


def test_somebodys_address_is_not_given_to_another(olga: Client, console: Console, bob: Person) -> None:
    for email in (bob.email, bob.email.upper()):
        said = refused(olga, console, "identity_user", {"email": email, "is_active": "on"})
        assert "Somebody has this address already." in said
        said = refused(olga, console, "identity_user", {"email": email, "is_active": "on"}, of=console.owner.user.id)
        assert "Somebody has this address already." in said


def test_what_others_lead_to_is_not_deleted(olga: Client, console: Console) -> None:
    tenant = console.owner.tenant
    with tenant_transaction(tenant):
        far = Provider.objects.within(tenant).get(slug="far")
    before = everything(console)
    for address, given in (
        (reverse("admin:gateway_provider_delete", args=[far.id]), {"post": "yes"}),
        (reverse("admin:gateway_provider_changelist"), {"action": "delete_selected", "_selected_action": [str(far.id)], "post": "yes"}),
    ):
        answer = olga.post(address, given, follow=True)
        assert answer.status_code in {200, 403}
        assert everything(console) == before
