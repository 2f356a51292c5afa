"""Upstreams that tenants name themselves do not reach the operator's network; the operator's own do."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from apps.gateway.errors import UpstreamDown
from apps.gateway.models import Provider
from menhir.tenancy.transaction import tenant_transaction
from menhir.wiring import environment

from peers.caller import ask, call_of

gateway = pytest.mark.usefixtures("gateway")


def guard(tenant):
    with tenant_transaction(tenant):
        for provider in Provider.objects.within(tenant):
            provider.is_guarded = True
            provider.save()


@gateway
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "[::ffff:127.0.0.1]"])
async def test_a_guarded_provider_does_not_reach_loopback_by_any_name(alice, routes, upstream, host):
    name = await routes.to("fake", base_url=f"http://{host}:{upstream.port}/v1")
    await sync_to_async(guard)(alice.tenant)
    with pytest.raises(UpstreamDown):
        await ask(call_of(alice.principal, name))
    assert upstream.stats.requests == 0


@gateway
async def test_a_connection_that_the_operators_provider_left_open_is_not_taken_up(alice, routes, upstream):
    name = await routes.to("fake")
    assert (await ask(call_of(alice.principal, name))).status == 200
    await sync_to_async(guard)(alice.tenant)
    with pytest.raises(UpstreamDown, match="closed to it"):
        await ask(call_of(alice.principal, name))
    assert upstream.stats.requests == 1


@gateway
@pytest.mark.parametrize("allowed", [["any"], ["127.0.0.0/8"], ["localhost"]])
async def test_what_the_operator_allows_is_reached(alice, routes, upstream, monkeypatch, allowed):
    monkeypatch.setattr(settings, "MENHIR_PRIVATE_UPSTREAMS", allowed)
    name = await routes.to("fake", base_url=f"http://localhost:{upstream.port}/v1")
    await sync_to_async(guard)(alice.tenant)
    assert (await ask(call_of(alice.principal, name))).status == 200


@pytest.mark.parametrize("given", ["http://10.0.0.1", "10.0.0.0/99", "a b"])
def test_nonsense_is_refused_by_the_name_of_the_variable(monkeypatch, given):
    monkeypatch.setenv("MENHIR_PRIVATE_UPSTREAMS", given)
    with pytest.raises(ImproperlyConfigured, match="MENHIR_PRIVATE_UPSTREAMS"):
        environment.places("MENHIR_PRIVATE_UPSTREAMS")
