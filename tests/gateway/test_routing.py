"""From a name to its targets: per tenant, out of memory, forgotten when it changes."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from apps.gateway import routing
from apps.gateway.models import Provider, Route, Target
from apps.gateway.provisioning import provision_builtin, provision_openai
from menhir.tenancy.transaction import tenant_transaction

gateway = pytest.mark.usefixtures("gateway")


@gateway
async def test_a_route_gives_its_targets_in_order_with_what_it_takes_to_reach_them(acme, routes):
    name = await routes.to("first", "second", base_url="http://127.0.0.1:1/v1/", tariff="openai", first_byte_timeout_seconds=3)
    route = await routing.resolve(acme.id, name)
    assert route is not None
    assert [target.upstream_model for target in route.targets] == ["first", "second"]
    target = route.targets[0]
    assert (target.kind, target.base_url, target.credential, target.tariff) == ("openai", "http://127.0.0.1:1/v1", "sk-fake", "openai")
    assert (target.first_byte_timeout_seconds, target.answer_timeout_seconds) == (3.0, 600.0)
    assert "sk-fake" not in repr(route)


@gateway
async def test_each_tenant_has_its_own_names(acme, globex, routes):
    name = await routes.to("fake")
    assert await routing.resolve(globex.id, name) is None
    assert [named.name for named in await routing.names(acme.id)] == [name]
    assert await routing.names(globex.id) == ()


async def until(condition) -> None:
    async with asyncio.timeout(1):
        while not await condition():
            await asyncio.sleep(0.01)


@gateway
async def test_a_change_is_heard_within_a_second(acme, routes):
    assert await routing.resolve(acme.id, "late") is None
    await routes.to("one", name="late")
    await until(lambda: routing.resolve(acme.id, "late"))

    def lead_elsewhere() -> None:
        with tenant_transaction(acme):
            route = Route.objects.within(acme).get(name="late")
            route.lead_to((Provider.objects.within(acme).get(), "two"))

    await sync_to_async(lead_elsewhere)()

    async def leads_elsewhere() -> bool:
        route = await routing.resolve(acme.id, "late")
        return route is not None and route.targets[0].upstream_model == "two"

    await until(leads_elsewhere)


def test_a_route_leads_to_providers_of_its_own_tenant_only(acme, globex):
    with tenant_transaction(globex):
        foreign = Provider.objects.create(tenant=globex, slug="theirs", kind=Provider.Kind.EXTRACT)
    with pytest.raises(IntegrityError), tenant_transaction(acme):
        Route.objects.create(tenant=acme, name="stolen").lead_to((foreign, "extract"))


def test_a_sealed_credential_is_no_use_in_another_row(acme):
    with tenant_transaction(acme):
        provider = Provider(tenant=acme, slug="a", kind=Provider.Kind.OPENAI)
        provider.set_credential("sk-secret")
        provider.save()
        assert provider.has_credential
        assert b"sk-secret" not in bytes(provider.sealed)
        provider.set_credential("")
        assert not provider.has_credential


@pytest.mark.parametrize("name", ["assistant:docs", "", " gpt", "gpt 4", "/gpt", "gpt\n", "gpt-4o\u00e4"])
def test_a_name_that_could_not_be_asked_for_is_refused(acme, name):
    with tenant_transaction(acme), pytest.raises(ValidationError):
        Route(tenant=acme, name=name).full_clean()


def test_provisioning_twice_changes_nothing(acme):
    with tenant_transaction(acme):
        for _ in range(2):
            provision_builtin(acme)
            provision_openai(acme, api_key="sk-1", base_url="http://127.0.0.1:9/v1/")
        assert sorted(Route.objects.within(acme).values_list("name", flat=True)) == [
            "extract",
            "gpt-4o",
            "gpt-4o-mini",
            "local/all-MiniLM-L6-v2",
            "text-embedding-3-small",
        ]
        assert Provider.objects.within(acme).count() == 3
        assert Target.objects.within(acme).count() == 5
        assert [str(target) for target in Target.objects.within(acme).filter(route__name="gpt-4o")] == ["openai · gpt-4o"]
