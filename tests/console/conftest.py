"""An Acme that has something of everything, and the addresses of its console."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from apps.assistants.models import Assistant
from apps.gateway.models import Guardrail, Provider, Route
from apps.knowledge.models import Collection, Document
from apps.prompts.models import Prompt
from menhir.metering.limits.models import Limit
from menhir.tenancy.models import ApiKey, Membership, TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person

TEXT = "You answer for {{ product }}.\nBe brief."


@dataclass(frozen=True)
class Console:
    """Acme's console: where its pages are, and what they are about."""

    owner: Person
    key: ApiKey
    prompt: Prompt
    collection: Collection
    document: Document
    membership_id: UUID
    limit_id: UUID
    route_id: UUID
    issuer_id: UUID

    def at(self, path: str = "") -> str:
        return f"/t/{self.owner.tenant.slug}/console/{path}"

    @property
    def pages(self) -> list[str]:
        """Every page that can be looked at."""
        return [
            self.at(path)
            for path in (
                "",
                "usage/",
                "usage/?by=model&measure=calls",
                "usage/?by=key&measure=tokens",
                "models/",
                "models/?q=sma&sort=-strategy",
                "models/new",
                f"models/{self.route_id}/",
                f"models/{self.route_id}/edit",
                f"models/{self.route_id}/remove",
                "providers/new",
                "providers/far/",
                "providers/far/remove",
                "limits/",
                "limits/?subject=key&sort=whose",
                "limits/new",
                f"limits/{self.limit_id}/",
                f"limits/{self.limit_id}/remove",
                "guardrails/",
                "guardrails/?sort=-kind",
                "guardrails/new",
                *(f"guardrails/new?kind={kind}" for kind in Guardrail.Kind.values),
                "guardrails/no-addresses/",
                "guardrails/no-addresses/remove",
                "keys/",
                "keys/new",
                f"keys/{self.key.id}/revoke",
                "end-users/",
                "end-users/new",
                f"end-users/{self.issuer_id}/",
                f"end-users/{self.issuer_id}/remove",
                "people/",
                "people/new",
                f"people/{self.membership_id}/remove",
                "prompts/",
                "prompts/new",
                "prompts/greeting/",
                "prompts/greeting/compare",
                "prompts/greeting/archive",
                "assistants/",
                "assistants/new",
                "assistants/docs/",
                "collections/",
                "collections/new",
                "collections/handbook/",
                "collections/handbook/remove",
                f"documents/{self.document.id}/",
                f"documents/{self.document.id}/?show=text",
                f"documents/{self.document.id}/remove",
            )
        ]

    @property
    def membership(self) -> Membership:
        with tenant_transaction(self.owner.tenant):
            return Membership.objects.within(self.owner.tenant).get(user=self.owner.user)


@pytest.fixture
def console(alice: Person) -> Console:
    """Acme with a key, a released prompt and a newer version, an assistant, a collection with a document, a route."""
    by, tenant = alice.principal, alice.tenant
    with tenant_transaction(tenant):
        key, _plaintext = ApiKey.issue(tenant, name="Website", scopes=["inference"], by=by)
        prompt = Prompt.create(tenant, slug="greeting", name="Greeting", by=by)
        prompt.add_version(TEXT, by=by)
        prompt.release(1, by=by)
        prompt.add_version(TEXT.replace("brief", "brief and kind"), note="Kinder", by=by)
        collection = Collection.create(tenant, slug="handbook", name="Handbook", by=by)
        document = Document.upload(collection, external_id="a.txt", filename="a.txt", content=b"Thirty days of holidays.", by=by)
        Assistant.create(tenant, slug="docs", name="Docs", prompt=prompt, route_name="extract", collections=[collection], by=by)
        provider = Provider.objects.create(tenant=tenant, slug="far", kind="openai", base_url="https://api.example.com/v1")
        provider.set_credential("sk-a-secret-that-no-page-shows")
        provider.save()
        route = Route.objects.create(tenant=tenant, name="small")
        route.lead_to((provider, "small-1"))
        login = "https://login.example.com/"
        issuer = TokenIssuer(tenant=tenant, name="Sign-in", issuer=login, algorithms=["RS256"], keys_url=f"{login}jwks.json")
        issuer.keep()
        settings = {"kinds": ["email", "iban"]}
        Guardrail.create(tenant, name="no-addresses", kind="pii", action="redact", settings=settings, routes=["small"], by=by)
        limit = Limit.set(tenant, subject="user", subject_id="carol", metric="parallel", amount=Decimal(3))
        membership = Membership.objects.within(tenant).get(user=alice.user)
    return Console(alice, key, prompt, collection, document, membership.id, limit.id, route.id, issuer.id)


def words(response: Any) -> str:
    """What a page says."""
    text: str = response.content.decode()
    return text
