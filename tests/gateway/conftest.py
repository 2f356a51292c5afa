"""A gateway that runs in this process, and routes of Acme's to the fake upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from asgiref.sync import sync_to_async

from apps.gateway import runtime
from apps.gateway.cache import embeddings
from apps.gateway.models import Provider, Route
from menhir.metering.ledger import ledger
from menhir.postgres import pools
from menhir.postgres.listener import listener
from menhir.tenancy.models import Tenant
from menhir.tenancy.transaction import tenant_transaction

from peers.upstream import Upstream


@pytest.fixture
async def gateway() -> AsyncIterator[None]:
    """What wiring starts in a web process, as far as a call needs it."""
    embeddings.clear()
    await pools.open_all()
    await listener.start()
    await ledger.start()
    await runtime.start()
    yield
    await runtime.stop()
    await ledger.stop()
    await listener.stop()
    await pools.close_all()


@dataclass
class Routes:
    """Makes routes of one tenant to the fake upstream."""

    tenant: Tenant
    base_url: str
    made: int = 0

    async def to(self, *models: str, name: str = "", base_url: str = "", tariff: str = "", **patience: float) -> str:
        """A new route that leads to these models, in this order, each at a provider of its own."""
        self.made += 1
        name = name or f"route-{self.made}"
        await sync_to_async(self._make)(name, models, base_url=base_url or self.base_url, tariff=tariff, **patience)
        return name

    def _make(self, name: str, models: tuple[str, ...], **fields: object) -> None:
        with tenant_transaction(self.tenant):
            targets = []
            for number, model in enumerate(models):
                provider = Provider(tenant=self.tenant, slug=f"{name}-{number}", kind=Provider.Kind.OPENAI, **fields)
                provider.set_credential("sk-fake")
                provider.save()
                targets.append((provider, model))
            Route.objects.create(tenant=self.tenant, name=name).lead_to(*targets)


@pytest.fixture
def routes(acme: Tenant, upstream: Upstream) -> Routes:
    return Routes(acme, upstream.base_url)
