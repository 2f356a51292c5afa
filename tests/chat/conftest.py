"""A served Menhir, people with an assistant that streams as told, and sockets as a browser opens them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from django.test import Client
from websockets.asyncio.client import ClientConnection, connect

from apps.assistants.models import Assistant
from apps.chat.models import Conversation, Message
from apps.gateway.models import Provider, Route
from apps.prompts.models import Prompt
from menhir.tenancy.transaction import tenant_transaction

from peers.upstream import Upstream
from stage.cast import Person
from stage.served import Served

PATIENCE_SECONDS = 20


@pytest.fixture
def assistant(upstream: Upstream) -> Callable[..., str]:
    """Gives a person's tenant an assistant whose model does as ordered (see `peers.script.Orders`); its slug."""

    def make(person: Person, slug: str = "docs", orders: str = "", **more: object) -> str:
        with tenant_transaction(person.tenant):
            provider = Provider(tenant=person.tenant, slug=f"fake-{slug}", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
            provider.set_credential("sk-fake")
            provider.save()
            Route.objects.create(tenant=person.tenant, name=f"fake-{slug}").lead_to((provider, f"fake?{orders}" if orders else "fake"))
            prompt = Prompt.create(person.tenant, slug=slug, by=person.principal)
            prompt.release(prompt.add_version("Answer shortly.", by=person.principal), "production", by=person.principal)
            Assistant.create(
                person.tenant, slug=slug, name=slug.title(), prompt=prompt, route_name=f"fake-{slug}", by=person.principal, **more
            )
        return slug

    return make


def begun(person: Person, slug: str = "docs", title: str = "A question") -> Conversation:
    """A conversation of this person's without messages."""
    with tenant_transaction(person.tenant):
        return Conversation.objects.create(tenant=person.tenant, owner=person.user, title=title, model=f"assistant:{slug}")


def messages_of(person: Person, conversation_id: UUID) -> list[Message]:
    with tenant_transaction(person.tenant):
        found = Message.objects.within(person.tenant).filter(conversation_id=conversation_id)
        return list(found.prefetch_related("citations").order_by("created_at"))


@dataclass
class Tab:
    """One browser tab: what it says and what it hears."""

    socket: ClientConnection
    heard: list[dict] = field(default_factory=list)

    async def say(self, **words: object) -> None:
        await self.socket.send(json.dumps(words, default=str))

    async def ask(self, text: str, *, below: object = None, as_id: object = None) -> None:
        await self.say(type="ask", id=as_id or uuid4(), text=text, below=below)

    async def hear(self, *kinds: str) -> dict:
        """The next event of one of these kinds; what comes before it is kept in `heard`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                event = json.loads(await self.socket.recv())
                self.heard.append(event)
                if event["type"] in kinds:
                    return event

    async def hear_turn_and_end(self) -> tuple[dict, dict]:
        """The next turn and its end; of an answer that was quicker than its turn, the turn shows the end already."""
        turn = await self.hear("turn")
        return turn, await self.hear("settled") if turn["run"] else {"status": "complete", "foot": turn["html"], "html": turn["html"]}


class Document:
    """What the browser makes of the events of one run: the same few steps as `transcript.js`."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self.open = ""
        self.seq = 0

    def take(self, event: dict) -> None:
        if event["type"] != "text":
            return
        assert event["seq"] > self.seq
        assert event["first"] == len(self.blocks)
        if event["blocks"]:
            self.blocks += event["blocks"]
            self.open = ""
        self.open = self.open.encode("utf-16-le")[: 2 * event["keep"]].decode("utf-16-le") + event["open"]
        self.seq = event["seq"]

    @property
    def html(self) -> str:
        return "".join(self.blocks) + self.open


def cookie_of(person: Person) -> str:
    return person.browser().cookies["menhir_session"].value


@asynccontextmanager
async def opened(
    base_url: str, person: Person, conversation_id: object, *, tenant: str = "", origin: str = "", lang: str = "en"
) -> AsyncIterator[Tab]:
    """A tab of this person's on this conversation."""
    from asgiref.sync import sync_to_async

    cookie = await sync_to_async(cookie_of)(person)
    address = f"{base_url.replace('http', 'ws')}/ws/t/{tenant or person.tenant.slug}/c/{conversation_id}?lang={lang}"
    async with connect(address, origin=origin or base_url, additional_headers={"Cookie": f"menhir_session={cookie}"}) as socket:
        yield Tab(socket)


class Web:
    """A signed-in browser without scripts, over a real socket."""

    def __init__(self, base_url: str, person: Person) -> None:
        import httpx2

        self.person = person
        self.http = httpx2.Client(base_url=base_url, cookies={"menhir_session": cookie_of(person)}, timeout=30)

    def get(self, path: str, **options: object):
        return self.http.get(f"/t/{self.person.tenant.slug}/{path}", **options)

    def post(self, path: str, **data: object):
        if "menhir_csrf" not in self.http.cookies:
            self.get("")
        token = self.http.cookies.get("menhir_csrf")
        data = {"csrfmiddlewaretoken": token, **{key: str(value) for key, value in data.items()}}
        return self.http.post(f"/t/{self.person.tenant.slug}/{path}", data=data, headers={"referer": str(self.http.base_url)})


@pytest.fixture
def browser(server: Served) -> Iterator[Callable[[Person], Web]]:
    made: list[Web] = []

    def make(person: Person) -> Web:
        made.append(Web(server.base_url, person))
        return made[-1]

    yield make
    for web in made:
        web.http.close()


__all__ = ["Client", "Document", "Tab", "Web", "begun", "messages_of", "opened"]
