"""A gateway that runs in this process, and routes of Acme's to the fake upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async

from apps.gateway import runtime
from apps.gateway.cache import exact
from apps.gateway.cache.embeddings import embeddings
from apps.gateway.models import Provider, Route, Target
from menhir.metering.ledger import ledger
from menhir.metering.limits import limits
from menhir.metering.limits.models import Limit
from menhir.postgres import pools
from menhir.postgres.listener import listener
from menhir.tenancy.models import Tenant
from menhir.tenancy.transaction import tenant_transaction

from peers.upstream import Upstream


@pytest.fixture
async def gateway() -> AsyncIterator[None]:
    """What wiring starts in a web process, as far as a call needs it."""
    embeddings.clear()
    exact.memory.clear()
    await pools.open_all()
    await listener.start()
    await ledger.start()
    await limits.start()
    await runtime.start()
    yield
    await runtime.stop()
    await limits.stop()
    await ledger.stop()
    await listener.stop()
    await pools.close_all()


@dataclass
class Routes:
    """Makes routes of one tenant to the fake upstream."""

    tenant: Tenant
    base_url: str
    made: int = 0

    async def to(
        self,
        *models: str,
        name: str = "",
        base_url: str = "",
        tariff: str = "",
        policy: Mapping[str, object] | None = None,
        weights: Sequence[int] = (),
        shadows: Mapping[str, int] | None = None,
        kind: str = "openai",
        **patience: float,
    ) -> str:
        """A new route that leads to these models, in this order, each at a provider of its own.

        `policy` is the route's; with `weights` the models stand beside each other; `shadows` gives each a percentage.
        """
        self.made += 1
        name = name or f"route-{self.made}"
        fields = {"kind": kind, "base_url": base_url or self.base_url, "tariff": tariff, **patience}
        await sync_to_async(self._make)(name, models, fields, policy or {}, weights, shadows or {})
        return name

    async def among(self, *targets: tuple[str, str], **policy: object) -> str:
        """A new route that leads to these, each of a kind of its own: `("anthropic", "fake")`."""
        self.made += 1
        await sync_to_async(self._make_among)(name := f"route-{self.made}", targets, policy)
        return name

    async def set(self, name: str, **fields: object) -> str:
        """Change a route's policy."""
        await sync_to_async(self._set)(name, fields)
        return name

    def _set(self, name: str, fields: dict[str, object]) -> None:
        with tenant_transaction(self.tenant):
            route = Route.objects.within(self.tenant).get(name=name)
            for field, value in fields.items():
                setattr(route, field, value)
            route.save()

    def _make(
        self,
        name: str,
        models: tuple[str, ...],
        fields: Mapping[str, object],
        policy: Mapping[str, object],
        weights: Sequence[int],
        shadows: Mapping[str, int],
    ) -> None:
        with tenant_transaction(self.tenant):
            route = Route.objects.create(tenant=self.tenant, name=name, **policy)
            route.lead_to(*((self._provider(f"{name}-{number}", fields), model) for number, model in enumerate(models)))
            for target, weight in zip(route.targets.order_by("position"), weights, strict=False):
                target.position, target.weight = 0, weight
                target.save()
            for number, (model, weight) in enumerate(shadows.items(), len(models)):
                provider = self._provider(f"{name}-{number}", fields)
                Target.objects.create(
                    tenant=self.tenant,
                    route=route,
                    provider=provider,
                    upstream_model=model,
                    position=number,
                    weight=weight,
                    role=Target.Role.SHADOW,
                )

    def _make_among(self, name: str, targets: tuple[tuple[str, str], ...], policy: Mapping[str, object]) -> None:
        urls = {"gemini": self.base_url.removesuffix("v1") + "v1beta", "extract": ""}
        with tenant_transaction(self.tenant):
            route = Route.objects.create(tenant=self.tenant, name=name, **policy)
            fields = [{"kind": kind, "base_url": urls.get(kind, self.base_url)} for kind, _ in targets]
            route.lead_to(*((self._provider(f"{name}-{number}", fields[number]), model) for number, (_, model) in enumerate(targets)))

    def _provider(self, slug: str, fields: Mapping[str, object]) -> Provider:
        provider = Provider(tenant=self.tenant, slug=slug, **fields)
        provider.set_credential("sk-fake")
        provider.save()
        return provider


@pytest.fixture
def routes(acme: Tenant, upstream: Upstream) -> Routes:
    return Routes(acme, upstream.base_url)


@pytest.fixture
def limit(acme: Tenant) -> Callable[..., Awaitable[Limit]]:
    """Sets a limit of Acme's; the whole tenant's when nothing else is said."""

    def make(subject: str = "tenant", subject_id: str = "", *, metric: str, period: str = "minute", amount: object) -> Limit:
        period = "" if metric == "parallel" else period
        with tenant_transaction(acme):
            return Limit.set(acme, subject=subject, subject_id=subject_id, metric=metric, period=period, amount=Decimal(str(amount)))

    return sync_to_async(make)
