"""The staff pages: for operators alone, one tenant at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from console.conftest import Console, words
from django.core.mail import get_connection
from django.test import Client, override_settings
from django.urls import reverse

from apps.gateway.models import Provider, Route
from menhir.audit.models import Entry
from menhir.metering.limits.models import Limit
from menhir.tenancy.models import ApiKey, TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

LISTS = [
    "tenancy_membership",
    "tenancy_apikey",
    "tenancy_tokenissuer",
    "gateway_provider",
    "gateway_route",
    "assistants_assistant",
    "prompts_prompt",
    "prompts_version",
    "prompts_release",
    "knowledge_collection",
    "knowledge_document",
    "metering_call",
    "metering_limit",
    "metering_limitevent",
    "metering_settlement",
    "audit_entry",
]


@pytest.fixture
def olga(mallory: Person) -> Client:
    """An operator, who belongs to Globex and not to Acme."""
    mallory.user.is_staff = mallory.user.is_superuser = True
    mallory.user.save()
    return mallory.browser()


def choose(olga: Client, console: Console) -> None:
    assert olga.post(reverse("admin:choose_tenant"), {"tenant": console.owner.tenant.slug}).status_code == 302


def test_only_operators_come_in(console: Console) -> None:
    for browser in (console.owner.browser(), Client(headers={"host": "localhost"})):
        for page in ("admin:index", "admin:choose_tenant", "admin:identity_user_changelist", "admin:tenancy_apikey_changelist"):
            answer = browser.get(reverse(page))
            assert answer.status_code in {302, 403}
            assert console.owner.email not in words(answer)


def test_an_operator_signs_in_where_everybody_does() -> None:
    answer = Client(headers={"host": "localhost"}).get("/staff/login/?next=/staff/", follow=True)
    assert answer.request["PATH_INFO"] == "/accounts/login/"


def test_without_a_tenant_chosen_there_are_no_rows(console: Console, olga: Client) -> None:
    assert "No tenant chosen" in words(olga.get(reverse("admin:index")))
    for name in LISTS:
        assert olga.get(reverse(f"admin:{name}_changelist")).status_code == 302
    assert console.owner.tenant.slug in words(olga.get(reverse("admin:choose_tenant") + f"?q={console.owner.tenant.slug}"))


def test_every_list_of_the_chosen_tenant_opens(console: Console, olga: Client) -> None:
    choose(olga, console)
    assert "You are looking at Acme." in words(olga.get(reverse("admin:index")))
    answers = {name: olga.get(reverse(f"admin:{name}_changelist") + "?q=a") for name in LISTS}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(LISTS, 200)
    assert "Website" in words(olga.get(reverse("admin:tenancy_apikey_changelist")))
    assert olga.get(reverse("admin:identity_user_changelist")).status_code == 200
    assert olga.get(reverse("admin:tenancy_tenant_changelist")).status_code == 200


def test_single_pages_open(console: Console, olga: Client) -> None:
    choose(olga, console)
    pages = {
        "tenancy_apikey": console.key.id,
        "prompts_prompt": console.prompt.id,
        "knowledge_document": console.document.id,
        "tenancy_membership": console.membership_id,
        "tenancy_tenant": console.owner.tenant.id,
        "identity_user": console.owner.user.id,
    }
    answers = {name: olga.get(reverse(f"admin:{name}_change", args=[noun])) for name, noun in pages.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(pages, 200)
    assert "Thirty days" not in words(answers["knowledge_document"])


def test_a_provider_and_a_route_are_made_in_the_chosen_tenant(console: Console, olga: Client) -> None:
    choose(olga, console)
    given = {
        "slug": "near",
        "kind": "openai",
        "base_url": "https://near.example.com/v1",
        "headers": "{}",
        "first_byte_timeout_seconds": "60",
        "answer_timeout_seconds": "600",
        "credential": "sk-typed-by-an-operator",
    }
    assert olga.post(reverse("admin:gateway_provider_add"), given).status_code == 302
    with tenant_transaction(console.owner.tenant):
        near = Provider.objects.within(console.owner.tenant).get(slug="near")
    assert near.has_credential
    assert "sk-typed" not in words(olga.get(reverse("admin:gateway_provider_change", args=[near.id])))
    lines = {
        "name": "big",
        "strategy": "weighted",
        "retries": "2",
        "cache_seconds": "0",
        "stale_seconds": "0",
        "targets-TOTAL_FORMS": "1",
        "targets-INITIAL_FORMS": "0",
        "targets-0-provider": str(near.id),
        "targets-0-upstream_model": "big-1",
        "targets-0-position": "0",
        "targets-0-weight": "3",
        "targets-0-role": "answer",
        "branches-TOTAL_FORMS": "0",
        "branches-INITIAL_FORMS": "0",
    }
    assert olga.post(reverse("admin:gateway_route_add"), lines).status_code == 302
    with tenant_transaction(console.owner.tenant):
        route = Route.objects.within(console.owner.tenant).get(name="big")
        assert (route.strategy, route.retries) == ("weighted", 2)
        assert [(target.upstream_model, target.weight) for target in route.targets.all()] == [("big-1", 3)]


def test_a_token_issuer_is_made_in_the_chosen_tenant(console: Console, olga: Client) -> None:
    choose(olga, console)
    given = {
        "name": "Login",
        "issuer": "https://sign-in.example.com/",
        "algorithms": "HS256",
        "user_claim": "sub",
        "scope_value": "inference",
        "leeway_seconds": "30",
        "longest_lifetime_seconds": "3600",
    }
    assert "Give one of three" in words(olga.post(reverse("admin:tenancy_tokenissuer_add"), given))
    typed = "typed by an operator, long enough to be one"
    assert olga.post(reverse("admin:tenancy_tokenissuer_add"), {**given, "secret": typed}).status_code == 302
    with tenant_transaction(console.owner.tenant):
        issuer = TokenIssuer.objects.within(console.owner.tenant).get(issuer=given["issuer"])
    assert (issuer.has_secret, issuer.audience) == (True, f"menhir:{console.owner.tenant.slug}")
    page = reverse("admin:tenancy_tokenissuer_change", args=[issuer.id])
    assert typed not in words(olga.get(page))
    assert olga.post(page, {**given, "audience": "menhir:globex"}).status_code == 200
    assert olga.post(page, {**given, "name": "Sign-in", "audience": issuer.audience}).status_code == 302
    with tenant_transaction(console.owner.tenant):
        again = TokenIssuer.objects.within(console.owner.tenant).get(issuer=given["issuer"])
        assert (again.name, bytes(again.sealed)) == ("Sign-in", bytes(issuer.sealed))
        assert Entry.objects.within(console.owner.tenant).filter(noun="tokenissuer", noun_id=issuer.id).count() == 2


def test_a_limit_is_set_in_the_chosen_tenant_and_nonsense_is_refused(console: Console, olga: Client) -> None:
    choose(olga, console)
    given = {"subject": "key", "subject_id": str(console.key.id), "metric": "requests", "period": "minute", "amount": "5"}
    refused = olga.post(reverse("admin:metering_limit_add"), {**given, "period": "month"})
    assert "The period of requests is minute, hour, day." in words(refused)
    assert olga.post(reverse("admin:metering_limit_add"), given).status_code == 302
    with tenant_transaction(console.owner.tenant):
        limit = Limit.objects.within(console.owner.tenant).get(metric="requests")
    assert (limit.subject_id, limit.amount) == (str(console.key.id), 5)
    assert olga.post(reverse("admin:metering_limit_change", args=[limit.id]), {"amount": "7", "metric": "money"}).status_code == 302
    with tenant_transaction(console.owner.tenant):
        limit = Limit.objects.within(console.owner.tenant).get(id=limit.id)
    assert (limit.metric, limit.amount) == ("requests", 7)


def test_keys_are_revoked_from_the_list(console: Console, olga: Client) -> None:
    choose(olga, console)
    olga.post(reverse("admin:tenancy_apikey_changelist"), {"action": "revoke", "_selected_action": [str(console.key.id)]})
    with tenant_transaction(console.owner.tenant):
        assert not ApiKey.objects.within(console.owner.tenant).get(id=console.key.id).is_live


def test_what_operators_do_stands_in_the_tenants_own_trail(console: Console, olga: Client) -> None:
    choose(olga, console)
    tenant = console.owner.tenant
    olga.post(reverse("admin:tenancy_apikey_changelist"), {"action": "revoke", "_selected_action": [str(console.key.id)]})
    with tenant_transaction(tenant):
        route = Route.objects.within(tenant).get(name="small")
    olga.post(reverse("admin:gateway_route_delete", args=[route.id]), {"post": "yes"})
    membership = reverse("admin:tenancy_membership_change", args=[console.membership_id])
    olga.post(membership, {"user": str(console.owner.user.id), "role": "admin"})
    with tenant_transaction(tenant):
        entries = {entry.verb: entry for entry in Entry.objects.within(tenant).filter(actor_name__endswith="(operator)")}
    assert set(entries) == {"apikey.revoked", "route.deleted", "membership.changed"}
    assert entries["apikey.revoked"].noun_id == console.key.id


def test_a_route_that_an_operator_deletes_is_forgotten_at_once(console: Console, olga: Client, monkeypatch) -> None:
    choose(olga, console)
    rung: list[str] = []
    monkeypatch.setattr("menhir.tenancy.models.foundation.notify_changed", lambda kind, _tenant: rung.append(kind))
    with tenant_transaction(console.owner.tenant):
        route = Route.objects.within(console.owner.tenant).get(name="small")
    given = {"action": "delete_selected", "_selected_action": [str(route.id)], "post": "yes"}
    assert olga.post(reverse("admin:gateway_route_changelist"), given).status_code == 302
    assert rung


def test_another_tenants_nouns_are_out_of_reach_by_their_ids(console: Console, olga: Client, mallory: Person) -> None:
    """The chosen tenant is Globex; Acme's ids are known."""
    assert olga.post(reverse("admin:choose_tenant"), {"tenant": mallory.tenant.slug}).status_code == 302
    with tenant_transaction(console.owner.tenant):
        provider = Provider.objects.within(console.owner.tenant).get(slug="far")
    nouns = {
        "tenancy_apikey": console.key.id,
        "tenancy_membership": console.membership_id,
        "prompts_prompt": console.prompt.id,
        "knowledge_document": console.document.id,
        "gateway_provider": provider.id,
    }
    for name, noun in nouns.items():
        for verb in ("change", "delete", "history"):
            assert olga.get(reverse(f"admin:{name}_{verb}", args=[noun])).status_code in {302, 403}, (name, verb)
    olga.post(reverse("admin:tenancy_apikey_changelist"), {"action": "revoke", "_selected_action": [str(console.key.id)]})
    lines = {
        "name": "stolen",
        "targets-TOTAL_FORMS": "1",
        "targets-INITIAL_FORMS": "0",
        "targets-0-provider": str(provider.id),
        "targets-0-upstream_model": "small-1",
        "targets-0-position": "0",
        "targets-0-weight": "3",
        "targets-0-role": "answer",
    }
    assert "Select a valid choice" in words(olga.post(reverse("admin:gateway_route_add"), lines))
    with tenant_transaction(console.owner.tenant):
        assert ApiKey.objects.within(console.owner.tenant).get(id=console.key.id).is_live


def test_letters_that_are_files_are_for_one_pair_of_eyes(tmp_path: Path) -> None:
    with override_settings(EMAIL_FILE_PATH=tmp_path / "mail"):
        get_connection()
    assert (tmp_path / "mail").stat().st_mode & 0o077 == 0


def test_somebody_new_gets_a_link_and_no_password(olga: Client) -> None:
    made = olga.post(reverse("admin:identity_user_add"), {"email": "Nora@Example.com", "name": "Nora", "is_active": "on"}, follow=True)
    assert "/accounts/password/reset/key/" in words(made)
