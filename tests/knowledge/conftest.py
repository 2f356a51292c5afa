"""A small embeddings server, tenants whose route leads to it, and a worker that runs until nothing is left to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from knowledge.modelpeer import Peer
from procrastinate.contrib.django import app as jobs
from procrastinate.contrib.django.models import ProcrastinateJob

from apps.gateway.models import Provider, Route
from apps.knowledge import ingestion, retrieval
from apps.knowledge.models import Collection, Document
from apps.knowledge.models.collection import DEFAULT_MODEL
from apps.knowledge.passages import Passage
from menhir.tenancy.transaction import tenant_transaction
from menhir.wiring.lifespan import running

from stage.cast import Person

T = TypeVar("T")


@pytest.fixture(scope="session")
def running_peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def peer(running_peer: Peer) -> Iterator[Peer]:
    running_peer.reset()
    yield running_peer
    running_peer.reset()


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run something in a process that holds what web and worker hold."""

    async def held() -> T:
        async with running():
            return await work()

    return asyncio.run(held())


async def until_idle() -> None:
    """Run the jobs that are due, by procrastinate's own worker, until none is left: one run does not come back for jobs that waited for a lock."""
    app = jobs.with_connector(jobs.connector.get_worker_connector())
    due = Q(scheduled_at=None) | Q(scheduled_at__lte=Now())
    async with app.open_async():
        while True:
            await app.run_worker_async(queues=["knowledge"], wait=False, concurrency=4, install_signal_handlers=False, listen_notify=False)
            if not await ProcrastinateJob.objects.filter(due, queue_name="knowledge", status="todo").aexists():
                return


def work() -> None:
    """Let a worker run until it has nothing left to do."""
    run(until_idle)


@dataclass
class Library:
    """One person's documents: uploads them, has them read, asks."""

    person: Person
    peer: Peer

    def collection(self, slug: str = "docs", **options: Any) -> Collection:
        with tenant_transaction(self.person.tenant):
            found = Collection.objects.within(self.person.tenant).filter(slug=slug).first()
            return found or Collection.create(self.person.tenant, slug=slug, by=self.person.principal, **options)

    def upload(self, external_id: str, content: bytes | str, *, slug: str = "docs", **options: Any) -> Document:
        collection = self.collection(slug)
        content = content.encode() if isinstance(content, str) else content
        options = {"filename": "", "media_type": "text/plain", **options}
        with tenant_transaction(self.person.tenant):
            return Document.upload(collection, external_id=external_id, content=content, by=self.person.principal, **options)

    def learn(self, *, slug: str = "docs", **texts: str) -> None:
        """Upload texts and have them read, without a worker between."""
        documents = [self.upload(name, text, slug=slug) for name, text in texts.items()]

        async def read() -> None:
            for document in documents:
                await ingestion.ingest(document.tenant_id, document.id, document.latest_edition, last_try=True)

        run(read)

    def document(self, external_id: str, *, slug: str = "docs") -> Document:
        with tenant_transaction(self.person.tenant):
            return (
                Document.objects.within(self.person.tenant).select_related("collection").get(collection__slug=slug, external_id=external_id)
            )

    def ask(self, query: str, *, limit: int = 10, slug: str = "docs") -> list[Passage]:
        collection = self.collection(slug)
        tenant_id, principal = self.person.tenant.id, self.person.principal
        return run(lambda: retrieval.search(tenant_id, [collection.id], query, limit, principal))


def routed(person: Person, peer: Peer, model: str = DEFAULT_MODEL) -> Library:
    with tenant_transaction(person.tenant):
        provider = Provider.objects.create(tenant=person.tenant, slug="peer", kind="openai", base_url=peer.base_url)
        Route.objects.create(tenant=person.tenant, name=model).lead_to((provider, "peer-model"))
    return Library(person, peer)


@pytest.fixture
def acmes(alice: Person, peer: Peer) -> Library:
    return routed(alice, peer)


@pytest.fixture
def globexs(mallory: Person, peer: Peer) -> Library:
    return routed(mallory, peer)


@pytest.fixture(autouse=True)
def nothing_left_over() -> None:
    """Jobs that earlier tests did not run are not ours to run."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET status = 'cancelled' WHERE status = 'todo' AND queue_name = 'knowledge'")
