"""The whole application on a real socket, a model server behind it, and models for Acme and Globex."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from openai import AsyncOpenAI, OpenAI
from psycopg.rows import dict_row

from apps.assistants.models import Assistant
from apps.gateway.models import Provider, Route
from apps.gateway.provisioning import provision_builtin
from apps.knowledge.ingestion import ingest
from apps.knowledge.models import Collection, Document
from apps.prompts.models import Prompt
from menhir.tenancy.models import Tenant
from menhir.tenancy.transaction import tenant_transaction

from peers.upstream import Upstream
from stage.cast import Person
from stage.served import Served

EMBEDDINGS = "local/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Company:
    """What a person needs in order to ask: models to name, and clients to ask with."""

    person: Person
    server: Served
    upstream: Upstream

    @property
    def tenant(self) -> Tenant:
        return self.person.tenant

    def model(self, name: str, orders: str = "", *, base_url: str | None = None, kind: str = "openai", upstream_model: str = "fake") -> str:
        """A route of this name, to the fake upstream with these orders."""
        with tenant_transaction(self.tenant):
            url = base_url or (self.upstream.gemini_url if kind == "gemini" else self.upstream.base_url)
            provider = Provider(tenant=self.tenant, slug=f"fake-{name}".replace("/", "-").lower(), kind=kind, base_url=url)
            provider.set_credential("sk-upstream")
            provider.save()
            route = Route.objects.create(tenant=self.tenant, name=name)
            route.lead_to((provider, f"{upstream_model}?{orders}" if orders else upstream_model))
        return name

    def chatting(self, orders: str = "", *, kind: str = "anthropic", model: str = "fake") -> str:
        """A route to a provider that does not speak OpenAI's wire."""
        with tenant_transaction(self.tenant):
            provider = Provider(tenant=self.tenant, slug=f"fake-{kind}", kind=kind, base_url=self.upstream.base_url)
            provider.set_credential("sk-upstream")
            provider.save()
            route = Route.objects.create(tenant=self.tenant, name=f"only-{kind}")
            route.lead_to((provider, f"{model}?{orders}" if orders else model))
        return route.name

    def prompt(self, slug: str, text: str, *, label: str | None = "production") -> Prompt:
        """A prompt with one version, released."""
        with tenant_transaction(self.tenant):
            prompt = Prompt.create(self.tenant, slug=slug, by=self.person.principal)
            version = prompt.add_version(text, by=self.person.principal)
            if label is not None:
                prompt.release(version, label, by=self.person.principal)
        return prompt

    def assistant(self, slug: str, prompt: Prompt, route: str, **more: object) -> Assistant:
        with tenant_transaction(self.tenant):
            return Assistant.create(self.tenant, slug=slug, prompt=prompt, route_name=route, by=self.person.principal, **more)

    def learn(self, slug: str, **texts: str) -> Collection:
        """A collection that has read these texts, each a document of its own."""
        with tenant_transaction(self.tenant):
            collection = Collection.objects.within(self.tenant).filter(slug=slug).first()
            collection = collection or Collection.create(self.tenant, slug=slug, by=self.person.principal)
            read = [
                Document.upload(
                    collection,
                    external_id=name,
                    filename=f"{name}.txt",
                    content=text.encode(),
                    title=name.title(),
                    by=self.person.principal,
                )
                for name, text in texts.items()
            ]
        for document in read:
            reading = ingest(self.tenant.id, document.id, document.latest_edition, last_try=True)
            asyncio.run_coroutine_threadsafe(reading, self.server.loop).result(60)
        return collection

    def extract(self) -> str:
        """The route `extract`, which answers by quoting."""
        with tenant_transaction(self.tenant):
            provision_builtin(self.tenant)
        return "extract"

    def client(self, *scopes: str, key: str | None = None) -> OpenAI:
        return OpenAI(base_url=f"{self.server.base_url}/v1", api_key=key or self.person.key(*scopes), max_retries=0)

    def async_client(self, *scopes: str) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.server.base_url}/v1", api_key=self.person.key(*scopes), max_retries=0)


def calls_of(company: Company) -> list[dict[str, Any]]:
    """Everything that the ledger has of a tenant, oldest first."""
    superuser = psycopg.conninfo.make_conninfo(os.environ["MENHIR_TEST_SUPERUSER"], dbname=os.environ["MENHIR_TEST_DATABASE"])
    with psycopg.connect(superuser, row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT call.operation, call.model, call.stream, settled.* FROM metering_call AS call "
            "LEFT JOIN metering_settlement AS settled USING (tenant_id, id) WHERE call.tenant_id = %s ORDER BY call.opened_at",
            [company.tenant.id],
        ).fetchall()


@pytest.fixture
def company(server: Served, upstream: Upstream) -> Callable[[Person], Company]:
    return lambda person: Company(person, server, upstream)


@pytest.fixture
def acmes(alice: Person, company: Callable[[Person], Company]) -> Company:
    """Acme, with the model `plain` and one for embeddings."""
    made = company(alice)
    made.model("plain")
    made.model(EMBEDDINGS)
    return made


@pytest.fixture
def globexs(mallory: Person, company: Callable[[Person], Company]) -> Company:
    """Globex, with a model `plain` of its own."""
    made = company(mallory)
    made.model("plain")
    return made
