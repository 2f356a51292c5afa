"""`/api/v1/providers` and `/api/v1/routes`, asked by alice, by bob's weaker key, and by mallory."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from apps.gateway import routing
from menhir.audit.models import Entry
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

PROVIDERS, ROUTES = "/api/v1/providers", "/api/v1/routes"
OPENAI = {"slug": "openai", "kind": "openai", "base_url": "https://api.openai.com/v1", "credential": "sk-secret", "tariff": "openai"}


def send(client: Client, method: str, path: str, **body: Any) -> Any:
    return client.generic(method, path, __import__("json").dumps(body), content_type="application/json")


@pytest.fixture
def client(alice: Person) -> Client:
    return alice.api("gateway:read", "gateway:write")


@pytest.fixture
def routed(client: Client) -> Client:
    """Alice's client, once there is a provider and a route."""
    assert send(client, "POST", PROVIDERS, **OPENAI, headers={"api-key": "also secret"}).status_code == 201
    made = send(client, "POST", ROUTES, name="team/fast", targets=[{"provider": "openai", "model": "gpt-4o-mini"}])
    assert made.status_code == 201
    return client


def test_a_provider_shows_everything_but_its_secrets(routed: Client):
    shown = routed.get(f"{PROVIDERS}/openai")
    assert "secret" not in shown.content.decode()
    body = shown.json()
    assert (body["slug"], body["has_credential"], body["header_names"]) == ("openai", True, ["api-key"])
    assert [p["slug"] for p in routed.get(PROVIDERS).json()["providers"]] == ["openai"]


def test_a_provider_changes_and_its_credential_stays_when_unsaid(routed: Client):
    assert send(routed, "PATCH", f"{PROVIDERS}/openai", tariff="azure").json()["has_credential"]
    assert not send(routed, "PATCH", f"{PROVIDERS}/openai", credential="").json()["has_credential"]


def test_what_is_used_cannot_go(routed: Client):
    refused = routed.delete(f"{PROVIDERS}/openai")
    assert (refused.status_code, refused.json()["code"]) == (409, "still_used")
    assert routed.delete(f"{ROUTES}/team/fast").status_code == 204
    assert routed.delete(f"{PROVIDERS}/openai").status_code == 204
    assert routed.get(f"{PROVIDERS}/openai").status_code == 404


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/v1", "http://localhost/v1", "http://169.254.169.254/latest", "http://[::1]/v1", "http://10.0.0.8/v1", "ftp://a/v1",
     "https://user:pass@api.example.com/v1", "", "https://"],
)  # fmt: skip
def test_a_provider_must_be_on_the_open_internet(client: Client, url: str):
    refused = send(client, "POST", PROVIDERS, **{**OPENAI, "base_url": url})
    assert refused.status_code in {400, 422}
    assert refused.json()["param"] == "base_url"


def test_who_moves_the_operators_provider_is_guarded_from_then_on(alice: Person, client: Client):
    from apps.gateway.models import Provider
    from apps.gateway.provisioning import provision_openai

    with tenant_transaction(alice.tenant):
        provision_openai(alice.tenant, api_key="sk-1", base_url="http://127.0.0.1:9/v1")
    assert send(client, "PATCH", f"{PROVIDERS}/openai", tariff="", credential="sk-2").status_code == 200
    assert send(client, "PATCH", f"{PROVIDERS}/openai", base_url="http://127.0.0.1:10/v1").status_code == 400
    stolen = send(client, "PATCH", f"{PROVIDERS}/openai", base_url="https://api.example.com/v1")
    assert (stolen.status_code, stolen.json()["param"]) == (400, "credential")
    assert client.get(f"{PROVIDERS}/openai").json()["base_url"] == "http://127.0.0.1:9/v1"
    assert send(client, "PATCH", f"{PROVIDERS}/openai", base_url="https://api.example.com/v1", credential="sk-3").status_code == 200
    with tenant_transaction(alice.tenant):
        assert Provider.objects.within(alice.tenant).get(slug="openai").is_guarded


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": "https://mallory.example.com/v1"},
        {"base_url": "https://api.openai.com.mallory.example.com/v1"},
        {"base_url": "https://api.openai.com:8443/v1"},
        {"base_url": "http://api.openai.com/v1"},
        {"kind": "anthropic"},
        {"kind": "extract", "base_url": ""},
    ],
)
def test_a_stored_secret_does_not_move_with_the_address(alice: Person, routed: Client, changes: dict[str, str]):
    def stored() -> tuple[Any, ...]:
        from apps.gateway.models import Provider

        with tenant_transaction(alice.tenant):
            found = Provider.objects.within(alice.tenant).get(slug="openai")
        return found.kind, found.base_url, bytes(found.sealed), found.headers

    path, before = f"{PROVIDERS}/openai", stored()
    for secrets, param in (
        ({}, "credential"),
        ({"headers": {}}, "credential"),
        ({"headers": {"api-key": "mine"}}, "credential"),
        ({"credential": "mine"}, "headers"),
        ({"credential": ""}, "headers"),
    ):
        refused = send(routed, "PATCH", path, **changes, **secrets)
        assert (refused.status_code, refused.json()["param"]) == (400, param)
        assert stored() == before
    assert send(routed, "PATCH", path, **changes, credential="mine", headers={}).status_code == 200


def test_on_the_same_server_a_secret_stays(routed: Client):
    same = send(routed, "PATCH", f"{PROVIDERS}/openai", base_url="https://API.openai.com:443/v2", kind="openai").json()
    assert (same["base_url"], same["has_credential"], same["header_names"]) == ("https://API.openai.com:443/v2", True, ["api-key"])


def test_a_route_is_shown_replaced_and_changed(routed: Client):
    path = f"{ROUTES}/team/fast"
    shown = routed.get(path).json()
    assert shown["targets"] == [{"provider": "openai", "model": "gpt-4o-mini", "position": 0, "weight": 1, "role": "answer", "price": None}]
    targets = [
        {"provider": "openai", "model": "gpt-4o", "weight": 3, "position": 0},
        {"provider": "openai", "model": "o3", "role": "shadow", "weight": 5},
    ]
    changed = send(routed, "PATCH", path, strategy="weighted", total_timeout_seconds=30, targets=targets).json()
    assert (changed["strategy"], changed["total_timeout_seconds"], changed["retries"]) == ("weighted", 30, 1)
    assert [(t["model"], t["role"], t["weight"], t["position"]) for t in changed["targets"]] == [
        ("gpt-4o", "answer", 3, 0),
        ("o3", "shadow", 5, 1),
    ]
    kept = send(routed, "PATCH", path, retries=4).json()
    assert (kept["strategy"], kept["retries"], len(kept["targets"])) == ("weighted", 4, 2)
    replaced = send(routed, "PUT", path, targets=[{"provider": "openai", "model": "gpt-4o"}]).json()
    assert (replaced["strategy"], replaced["total_timeout_seconds"], len(replaced["targets"])) == ("priority", None, 1)


def test_routes_are_listed_in_pages(routed: Client):
    for name in ("b", "a"):
        send(routed, "POST", ROUTES, name=name, targets=[{"provider": "openai", "model": name}])
    page = routed.get(ROUTES, {"limit": 2}).json()
    assert ([route["name"] for route in page["routes"]], page["next"]) == (["a", "b"], "b")
    assert [route["name"] for route in routed.get(ROUTES, {"after": "b"}).json()["routes"]] == ["team/fast"]


def test_a_classifier_is_made_and_circles_are_refused(routed: Client):
    branches = [{"label": "code", "route": "team/fast", "matches": "sql"}, {"label": "rest", "route": "team/fast"}]
    made = send(routed, "POST", ROUTES, name="auto", strategy="classifier", classifier_model="team/fast", branches=branches)
    assert made.status_code == 201
    assert [(b["label"], b["route"], b["matches"]) for b in made.json()["branches"]] == [
        ("code", "team/fast", "sql"),
        ("rest", "team/fast", ""),
    ]
    circle = send(routed, "PATCH", f"{ROUTES}/auto", branches=[{"label": "me", "route": "auto"}])
    assert (circle.status_code, circle.json()["param"]) == (400, "branches")
    judge = send(routed, "PATCH", f"{ROUTES}/auto", classifier_model="auto")
    assert (judge.status_code, judge.json()["param"]) == (400, "classifier_model")
    used = routed.delete(f"{ROUTES}/team/fast")
    assert (used.status_code, used.json()["code"]) == (409, "still_used")
    back = send(routed, "PATCH", f"{ROUTES}/team/fast", strategy="classifier", branches=[{"label": "back", "route": "auto"}])
    assert back.status_code == 400
    assert routed.delete(f"{ROUTES}/auto").status_code == 204
    assert routed.delete(f"{ROUTES}/team/fast").status_code == 204


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"name": "x"}, 400, "targets"),
        ({"name": "x", "targets": [{"provider": "openai", "model": "m", "role": "shadow"}]}, 400, "targets"),
        ({"name": "x", "targets": [{"provider": "absent", "model": "m"}]}, 404, "targets.0.provider"),
        ({"name": "assistant:x", "targets": [{"provider": "openai", "model": "m"}]}, 400, "name"),
        ({"name": "team/fast", "targets": [{"provider": "openai", "model": "m"}]}, 409, "name"),
        ({"name": "x", "strategy": "luck"}, 422, "strategy"),
        ({"name": "x", "retries": 6}, 422, "retries"),
        ({"name": "x", "targts": []}, 422, "targts"),
        ({"name": "x\x00"}, 422, "name"),
        ({"name": "x", "strategy": "classifier"}, 400, "branches"),
        ({"name": "x", "strategy": "classifier", "branches": [{"label": "a", "route": "team/fast", "matches": "("}]}, 400, "matches"),
        ({"name": "x", "strategy": "classifier", "branches": [{"label": "a", "route": "absent"}]}, 404, "branches.0.route"),
        (
            {"name": "x", "branches": [{"label": "a", "route": "team/fast"}], "targets": [{"provider": "openai", "model": "m"}]},
            400,
            "branches",
        ),
    ],
)
def test_bad_input_is_a_problem_that_names_the_field_and_leaves_nothing(routed: Client, body: dict[str, Any], status: int, param: str):
    refused = send(routed, "POST", ROUTES, **body)
    assert (refused.status_code, refused.json()["param"]) == (status, param)
    assert [route["name"] for route in routed.get(ROUTES).json()["routes"]] == ["team/fast"]


def test_who_may_not_write_cannot_and_who_may_not_read_sees_nothing(routed: Client, alice: Person):
    reader, other = alice.api("gateway:read"), alice.api("inference")
    assert reader.get(ROUTES).status_code == 200
    assert send(reader, "POST", ROUTES, name="x").status_code == 403
    assert reader.delete(f"{ROUTES}/team/fast").status_code == 403
    assert other.get(ROUTES).status_code == other.get(f"{PROVIDERS}/openai").status_code == 403
    assert Client(headers={"host": "localhost"}).get(ROUTES).status_code == 401


def test_a_member_does_not_hold_these_scopes(bob: Person):
    assert not {"gateway:read", "gateway:write"} & bob.principal.scopes


def test_mallory_sees_and_touches_nothing_of_acmes(routed: Client, mallory: Person):
    hers = mallory.api()
    assert hers.get(PROVIDERS).json() == {"providers": []}
    assert hers.get(ROUTES).json()["routes"] == []
    for method, path in (
        ("GET", f"{PROVIDERS}/openai"),
        ("PATCH", f"{PROVIDERS}/openai"),
        ("DELETE", f"{ROUTES}/team/fast"),
        ("PUT", f"{ROUTES}/team/fast"),
    ):
        assert send(hers, method, path).status_code == 404
    stolen = send(hers, "POST", ROUTES, name="mine", targets=[{"provider": "openai", "model": "gpt-4o"}])
    assert stolen.status_code == 404


def test_every_change_is_in_the_audit_and_no_secret_is(routed: Client, alice: Person):
    send(routed, "PATCH", f"{PROVIDERS}/openai", credential="sk-other")
    routed.delete(f"{ROUTES}/team/fast")
    with tenant_transaction(alice.tenant):
        entries = list(Entry.objects.within(alice.tenant).filter(noun__in=["provider", "route"]).order_by("id"))
    assert [entry.verb for entry in entries] == ["provider.created", "route.created", "provider.changed", "route.deleted"]
    assert "sk-" not in str([entry.detail for entry in entries])


@pytest.mark.usefixtures("gateway")
async def test_a_change_is_heard_at_once(alice: Person):
    client = await sync_to_async(alice.api)()
    await sync_to_async(send)(client, "POST", PROVIDERS, **OPENAI)
    assert await routing.resolve(alice.tenant.id, "late") is None
    await sync_to_async(send)(client, "POST", ROUTES, name="late", targets=[{"provider": "openai", "model": "one"}])
    route = await routing.resolve(alice.tenant.id, "late")
    assert route is not None
    assert (route.targets[0].upstream_model, route.targets[0].guarded, route.targets[0].credential) == ("one", True, "sk-secret")
    await sync_to_async(send)(client, "PATCH", f"{ROUTES}/late", targets=[{"provider": "openai", "model": "two"}])
    route = await routing.resolve(alice.tenant.id, "late")
    assert route is not None
    assert route.targets[0].upstream_model == "two"
