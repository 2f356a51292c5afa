"""Models and providers in the console: made, changed, and not deleted while somebody needs them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from console.conftest import Console, words

from apps.gateway.models import Provider, Route
from apps.gateway.shapes import RouteOut
from menhir.audit.models import Entry
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

SECRET = "sk-a-secret-that-no-page-shows"
POLICY = {"strategy": "priority", "retries": "1", "cache_seconds": "0", "stale_seconds": "0"}


def rows(prefix: str, *lines: dict[str, Any]) -> dict[str, Any]:
    """A formset as a browser sends it."""
    fields = {f"{prefix}-{number}-{name}": value for number, line in enumerate(lines) for name, value in line.items()}
    return {f"{prefix}-TOTAL_FORMS": len(lines), f"{prefix}-INITIAL_FORMS": 0, **fields}


def filled(*targets: dict[str, Any], branches: list[dict[str, Any]] | None = None, **changes: str) -> dict[str, Any]:
    lines = [{"position": "", "weight": "1", "role": "answer", **target} for target in targets]
    return {**POLICY, **rows("targets", *lines), **rows("branches", *(branches or [])), **changes}


def shown(console: Console, name: str) -> dict[str, Any]:
    with tenant_transaction(console.owner.tenant):
        return RouteOut.of(Route.objects.within(console.owner.tenant).get(name=name)).model_dump()


def route_id(console: Console, name: str) -> UUID:
    with tenant_transaction(console.owner.tenant):
        found: UUID = Route.objects.within(console.owner.tenant).get(name=name).id
    return found


FAR = {"provider": "far", "upstream_model": "big-1"}


def test_a_model_is_made_changed_and_deleted(console: Console) -> None:
    browser = console.owner.browser()
    data = filled(FAR, {"provider": "", "upstream_model": ""}, {**FAR, "weight": "10", "role": "shadow"}, name="team/big", retries="2")
    assert browser.post(console.at("models/new"), data).status_code == 302
    made = shown(console, "team/big")
    assert [(target["model"], target["position"], target["weight"], target["role"]) for target in made["targets"]] == [
        ("big-1", 0, 1, "answer"),
        ("big-1", 1, 10, "shadow"),
    ]
    place = console.at(f"models/{route_id(console, 'team/big')}")
    page = words(browser.get(f"{place}/"))
    assert "2 times, when a target is busy" in page
    assert "/api/v1/routes/team/big" in page
    assert 'value="big-1"' in words(browser.get(f"{place}/edit"))
    changed = filled(
        {**FAR, "upstream_model": "big-2", "position": "7"}, strategy="least_cost", cache_seconds="3600", total_timeout_seconds="30"
    )
    assert browser.post(f"{place}/edit", changed).status_code == 302
    now = shown(console, "team/big")
    assert (now["strategy"], now["cache_seconds"], now["total_timeout_seconds"]) == ("least_cost", 3600, 30.0)
    assert [(target["model"], target["position"]) for target in now["targets"]] == [("big-2", 7)]
    assert browser.post(f"{place}/remove").status_code == 302
    with tenant_transaction(console.owner.tenant):
        verbs = Entry.objects.within(console.owner.tenant).filter(noun="route").order_by("at").values_list("verb", flat=True)
        assert list(verbs) == ["route.created", "route.changed", "route.deleted"]


def test_a_target_has_a_price_of_the_tenants_own(console: Console) -> None:
    browser = console.owner.browser()
    data = filled(FAR | {"input_price": "0.125", "output_price": "2.50", "cached_input_price": "0"}, name="priced")
    assert browser.post(console.at("models/new"), data).status_code == 302
    assert shown(console, "priced")["targets"][0]["price"] == {"input": "0.125", "output": "2.5", "cached_input": "0"}
    place = console.at(f"models/{route_id(console, 'priced')}")
    page = words(browser.get(f"{place}/"))
    assert "$0.1250 in, $2.50 out, $0.00 cached" in page
    assert 'value="0.125"' in words(browser.get(f"{place}/edit"))
    assert browser.post(f"{place}/edit", filled(FAR)).status_code == 302
    assert shown(console, "priced")["targets"][0]["price"] is None
    assert "free" in words(browser.get(f"{place}/"))
    with tenant_transaction(console.owner.tenant):
        Provider.objects.within(console.owner.tenant).filter(slug="far").update(tariff="openai")
    assert "unknown: refused under a budget" in words(browser.get(f"{place}/"))
    assert browser.post(f"{place}/edit", filled(FAR | {"upstream_model": "gpt-4o-mini"})).status_code == 302
    assert "as the price list says" in words(browser.get(f"{place}/"))


def test_a_classifier_leads_to_other_models_which_then_stay(console: Console) -> None:
    browser = console.owner.browser()
    branches = [
        {"label": "code", "leads_to": "small", "matches": r"\bsql\b", "has_tools": "yes", "has_images": ""},
        {"label": "rest", "leads_to": "small", "description": "everything else"},
    ]
    data = filled(FAR, branches=branches, name="auto", strategy="classifier", classifier=str(console.route_id))
    assert browser.post(console.at("models/new"), data).status_code == 302
    made = shown(console, "auto")
    assert (made["classifier_model"], made["targets"]) == ("small", [])
    assert [(branch["label"], branch["has_tools"], branch["has_images"]) for branch in made["branches"]] == [
        ("code", True, None),
        ("rest", None, None),
    ]
    refusing = browser.get(console.at(f"models/{console.route_id}/remove"))
    assert "It cannot be deleted while these models lead to it:" in words(refusing)
    assert browser.post(console.at(f"models/{console.route_id}/remove")).status_code == 409
    assert shown(console, "small")["targets"]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (filled(FAR, name="not a name"), "Use letters, digits"),
        (filled(FAR, name="small"), "There is a route `small` already."),
        (filled(name="lonely"), "needs a target that answers"),
        (filled({"provider": "far", "upstream_model": ""}, name="half"), "Give both the provider and the model there"),
        (filled(FAR | {"input_price": "1"}, name="cheap"), "Give the prices of input and of output, or none at all."),
        (filled(FAR | {"input_price": "1", "output_price": "-1"}, name="gift"), "greater than or equal to 0"),
        (filled(FAR, name="eager", retries="9"), "less than or equal to 5"),
        (filled(FAR, name="endless", total_timeout_seconds="1e300"), "less than or equal to 86400"),
        (filled(FAR, FAR | {"position": "0"}, name="twice") | {"targets-0-position": "0"}, "Two targets of one position are the same."),
        (filled(name="broken", strategy="classifier", branches=[{"label": "a", "leads_to": "small", "matches": "("}]), "missing )"),
    ],
)
def test_what_makes_no_sense_is_said_kept_and_not_written(console: Console, data: dict[str, Any], complaint: str) -> None:
    answer = console.owner.browser().post(console.at("models/new"), data)
    page = words(answer)
    assert complaint in page
    assert f'value="{data["name"]}"' in page
    with tenant_transaction(console.owner.tenant):
        assert Route.objects.within(console.owner.tenant).filter(name=data["name"]).exclude(name="small").count() == 0


def test_a_refused_change_leaves_the_targets_that_were(console: Console) -> None:
    place = console.at(f"models/{console.route_id}/edit")
    answer = console.owner.browser().post(place, filled({**FAR, "role": "shadow"}, retries="3"))
    assert "needs a target that answers" in words(answer)
    now = shown(console, "small")
    assert (now["retries"], [target["model"] for target in now["targets"]]) == (1, ["small-1"])


def test_a_provider_is_made_and_its_secrets_are_shown_nowhere(console: Console) -> None:
    browser = console.owner.browser()
    data = {
        "slug": "near",
        "kind": "openai",
        "base_url": "https://near.example.com/v1/",
        "tariff": "openai",
        "credential": SECRET,
        "headers": "X-Team: hidden-team-token\nX-Other: 2",
        "first_byte_timeout_seconds": "60",
        "answer_timeout_seconds": "600",
    }
    assert browser.post(console.at("providers/new"), data).status_code == 302
    page = words(browser.get(console.at("providers/near/")))
    assert "A credential is sealed here." in page
    assert "X-Team: ••••••" in page
    assert not {part for part in (SECRET, "hidden-team-token") if part in page}
    kept = {**data, "credential": "", "headers": "X-Team: ••••••", "tariff": ""}
    del kept["slug"]
    assert browser.post(console.at("providers/near/"), kept).status_code == 302
    with tenant_transaction(console.owner.tenant):
        provider = Provider.objects.within(console.owner.tenant).get(slug="near")
    assert (provider.headers, provider.has_credential, provider.is_guarded) == ({"X-Team": "hidden-team-token"}, True, True)
    assert browser.post(console.at("providers/near/"), {**kept, "forget": "on"}).status_code == 302
    assert "No credential is stored." in words(browser.get(console.at("providers/near/")))


def test_what_was_not_shown_is_not_sent_to_another_server(console: Console) -> None:
    browser, place = console.owner.browser(), console.at("providers/near/")
    patience = {"first_byte_timeout_seconds": "60", "answer_timeout_seconds": "600"}
    data = {"kind": "openai", "base_url": "https://near.example.com/v1", "credential": SECRET, "headers": "X-Team: hidden-team-token"}
    assert browser.post(console.at("providers/new"), {"slug": "near", **data, **patience}).status_code == 302
    moved = {"kind": "openai", "base_url": "https://mallory.example.com/v1", **patience}
    for secrets, complaint in (
        ({"credential": "", "headers": "X-Team: mine"}, "The stored credential is not sent"),
        ({"credential": "mine", "headers": "X-Own: 1\nX-Team: ••••••"}, "give the value of `X-Team` anew"),
        ({"credential": "", "forget": "on", "headers": "X-Team: ••••••"}, "give the value of `X-Team` anew"),
    ):
        assert complaint in words(browser.post(place, {**moved, **secrets}))
        with tenant_transaction(console.owner.tenant):
            provider = Provider.objects.within(console.owner.tenant).get(slug="near")
        assert (provider.base_url, provider.headers) == ("https://near.example.com/v1", {"X-Team": "hidden-team-token"})
    assert browser.post(place, {**moved, "credential": "mine", "headers": "X-Team: mine"}).status_code == 302


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"slug": "far"}, "There is a provider `far` already."),
        ({"slug": "a b"}, "valid “slug”"),
        ({"base_url": ""}, "is required"),
        ({"base_url": "http://169.254.169.254/v1"}, "inside a network"),
        ({"base_url": "https://user:word@near.example.com/"}, "with nothing after its path"),
        ({"headers": "no colon"}, "is no header"),
        ({"headers": "X-Team: ••••••"}, "is no header"),
        ({"kind": "embedder"}, "What is built in has no base URL."),
    ],
)
def test_a_provider_that_makes_no_sense_is_refused_at_its_field(console: Console, changes: dict[str, str], complaint: str) -> None:
    data = {"slug": "near", "kind": "openai", "base_url": "https://near.example.com/v1", "credential": SECRET}
    data |= {"first_byte_timeout_seconds": "60", "answer_timeout_seconds": "600", **changes}
    answer = console.owner.browser().post(console.at("providers/new"), data)
    assert complaint in words(answer)
    assert SECRET not in words(answer)
    with tenant_transaction(console.owner.tenant):
        assert not Provider.objects.within(console.owner.tenant).filter(slug="near").exists()


def test_a_provider_stays_while_models_lead_there(console: Console) -> None:
    browser, place = console.owner.browser(), console.at("providers/far/remove")
    page = words(browser.get(place))
    assert "It cannot be deleted while these models lead there:" in page
    assert ">small</a>" in page
    assert browser.post(place).status_code == 409
    browser.post(console.at(f"models/{console.route_id}/remove"))
    assert browser.post(place).status_code == 302


def test_a_stranger_neither_sees_nor_touches_them(console: Console, bob: Person, mallory: Person) -> None:
    for path in (f"models/{console.route_id}/edit", f"models/{console.route_id}/remove", "providers/far/", "providers/far/remove"):
        own = f"/t/{mallory.tenant.slug}/console/{path}"
        assert mallory.browser().get(own).status_code == 404
        assert mallory.browser().post(own, filled(FAR)).status_code == 404
        assert bob.browser().post(console.at(path), filled(FAR)).status_code == 403
    assert shown(console, "small")["targets"]
