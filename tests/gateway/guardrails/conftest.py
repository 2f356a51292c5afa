"""Guardrails of Acme's, beside a gateway that runs in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from apps.gateway.guardrails import events
from apps.gateway.guardrails.models import Guardrail, GuardrailEvent
from menhir.tenancy.transaction import tenant_transaction

from peers.webhook import Webhook
from stage.cast import Person


@dataclass
class Guards:
    """Makes guardrails of one tenant, and reads what they found."""

    person: Person

    async def add(self, name: str, kind: str, **fields: Any) -> str:
        """A guardrail; gives its secret."""
        return (await sync_to_async(self._add)(name, kind, fields))[1]

    async def events(self) -> list[GuardrailEvent]:
        """Everything that was found, oldest first."""
        await events.writer.written()
        return await sync_to_async(self._events)()

    def _add(self, name: str, kind: str, fields: dict[str, Any]) -> tuple[Guardrail, str]:
        with tenant_transaction(self.person.tenant):
            return Guardrail.create(self.person.tenant, name=name, kind=kind, by=self.person.principal, **fields)

    def _events(self) -> list[GuardrailEvent]:
        with tenant_transaction(self.person.tenant):
            return list(GuardrailEvent.objects.within(self.person.tenant).order_by("at", "id"))


@pytest.fixture
def guards(alice: Person) -> Guards:
    return Guards(alice)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A peer on a private address, in an installation that allows those."""
    with override_settings(MENHIR_PRIVATE_NETWORKS=(ip_network("127.0.0.0/8"),)), Webhook() as peer:
        yield peer


@pytest.fixture
async def written() -> AsyncIterator[None]:
    yield
    await events.writer.written()
