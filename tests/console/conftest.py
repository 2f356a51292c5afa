"""An Acme that has something of everything, and the addresses of its console."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from apps.assistants.models import Assistant
from apps.gateway.capture.models import CapturePolicy
from apps.gateway.models import Guardrail, Provider, Route
from apps.knowledge.models import Collection, Document
from apps.prompts.models import Prompt
from menhir.metering.entries import Usage
from menhir.metering.limits.models import Limit
from menhir.tenancy.models import ApiKey, Membership, TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person
from stage.clerk import Clerk

TEXT = "You answer for {{ product }}.\nBe brief."
REQUEST = {
    "model": "assistant:docs",
    "messages": [
        {"role": "system", "content": "Be brief. " * 200},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "How many <b>holidays</b>?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;"}},
            ],
        },
    ],
}
LOOK = {"type": "function", "function": {"name": "look", "arguments": '{"at": "handbook"}'}}
ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Thirty days.", "tool_calls": [LOOK]}}]}


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
                "calls/",
                "calls/?model=small&outcome=failed&period=24h&parts=1",
                "calls/texts/",
                "calls/texts/change",
                "calls/texts/change?route=small",
                "calls/texts/remove?route=small",
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
        CapturePolicy.put(tenant, route="small", enabled=True, keep_days=7, redact=False, by=by)
        membership = Membership.objects.within(tenant).get(user=alice.user)
    return Console(alice, key, prompt, collection, document, membership.id, limit.id, route.id, issuer.id)


@dataclass(frozen=True)
class Calls:
    """Some calls of Acme, of the last minutes."""

    console: Console
    kept: UUID
    leg: UUID
    failed: UUID
    cached: UUID
    under_way: UUID

    def at(self, call_id: UUID, path: str = "") -> str:
        return self.console.at(f"calls/{call_id}/{path}")

    @property
    def pages(self) -> list[str]:
        """Every page that can be looked at."""
        lists = [self.console.at(f"calls/{query}") for query in ("", "?parts=1", "?outcome=cancelled")]
        ids = (self.kept, self.leg, self.failed, self.cached, self.under_way)
        return [*lists, *(self.at(call_id) for call_id in ids), self.at(self.kept, "forget")]


@pytest.fixture
async def calls(console: Console) -> AsyncIterator[Calls]:
    """A call with its texts, a leg and what a guardrail found; one that failed, one from the cache, one that is under way."""
    owner = console.owner

    def made_by() -> tuple[UUID, UUID]:
        with tenant_transaction(owner.tenant):
            assistant = Assistant.objects.within(owner.tenant).get(slug="docs")
            return assistant.id, console.prompt.versions.get(number=1).id

    assistant_id, version_id = await sync_to_async(made_by)()
    async with Clerk.at_work(owner.tenant.id, console.key.id) as clerk:
        kept = await clerk.open(
            minutes=5, model="assistant:docs", unit="carol", stream=True, assistant_id=assistant_id, prompt_version_id=version_id
        )
        await clerk.settle(kept)
        leg = await clerk.open(minutes=4.99, parent_id=kept.call_id)
        await clerk.settle(leg, outcome="cancelled", status=499, error_code="lost_the_race")
        failed = await clerk.open(minutes=3)
        await clerk.settle(failed, outcome="failed", status=502, error_code="upstream_unavailable", usage=Usage(0, 0), first_token_ms=None)
        cached = await clerk.note(minutes=2)
        under_way = await clerk.open(minutes=1, key_id=None, user_id=owner.user.id, unit=str(owner.user.id))
        await clerk.keep(kept, request=REQUEST, answer=ANSWER)
        await clerk.find(kept, guardrail="no-addresses", outcome="redacted", counts={"email": 2})
        yield Calls(console, kept.call_id, leg.call_id, failed.call_id, cached, under_way.call_id)


def words(response: Any) -> str:
    """What a page says."""
    text: str = response.content.decode()
    return text
