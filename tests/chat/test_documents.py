"""The document that a citation points at, with its passage marked."""

from __future__ import annotations

import asyncio
from html import unescape
from uuid import uuid4

import pytest

from apps.chat.models import Citation, Conversation, Message
from apps.gateway.models import Provider, Route
from apps.knowledge import ingestion
from apps.knowledge.models import Chunk, Collection, Document
from menhir.postgres.ids import uuid7
from menhir.tenancy.transaction import tenant_transaction

EMBEDDINGS = "local/all-MiniLM-L6-v2"
LINES = [f"Line {number}: the stone of <b>{number}</b> & its moss — 石 🪨." for number in range(2_000)]


@pytest.fixture
def upload(server, upstream):
    """Uploads a text for a person and has it read; the document."""

    def make(person, text: str, *, external_id: str = "stones") -> Document:
        with tenant_transaction(person.tenant):
            if not Collection.objects.within(person.tenant).filter(slug="docs").exists():
                provider = Provider(tenant=person.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
                provider.set_credential("sk-fake")
                provider.save()
                Route.objects.create(tenant=person.tenant, name=EMBEDDINGS).lead_to((provider, "fake"))
                Collection.create(person.tenant, slug="docs", name="Docs", by=person.principal)
            collection = Collection.objects.within(person.tenant).get(slug="docs")
            content = text.encode()
            document = Document.upload(
                collection, external_id=external_id, filename="stones.txt", content=content, title="On <stones>", by=person.principal
            )
        reading = ingestion.ingest(person.tenant.id, document.id, document.latest_edition, last_try=True)
        asyncio.run_coroutine_threadsafe(reading, server.loop).result(60)
        return document

    return make


def chunks_of(person, document):
    with tenant_transaction(person.tenant):
        return list(Chunk.objects.within(person.tenant).filter(document=document).order_by("start"))


def marked(page: str) -> str:
    return unescape(page.partition('<mark id="passage" tabindex="-1">')[2].partition("</mark>")[0])


def test_every_passage_is_marked_where_it_stands(browser, alice, bob, upload):
    document = upload(alice, "\n\n".join(LINES))
    chunks = chunks_of(alice, document)
    assert len(chunks) > 10
    for person, chunk in [(alice, chunks[0]), (alice, chunks[len(chunks) // 2]), (bob, chunks[-1])]:
        page = browser(person).get(f"documents/{document.id}?chunk={chunk.id}").text
        assert marked(page) == chunk.text
        assert "On &lt;stones&gt;" in page
        assert "<b>" not in page.partition('class="reading-text"')[2].partition("</div>")[0]


def test_a_long_document_is_read_part_by_part(browser, alice, upload):
    document = upload(alice, "\n\n".join(LINES))
    web = browser(alice)
    page = web.get(f"documents/{document.id}").text
    assert "Line 0:" in page
    assert "<mark" not in page
    assert "Earlier in this document" not in page
    seen = 1
    while "Further in this document" in page:
        following = page.rpartition('<a class="button small" href="?from=')[2].partition('"')[0]
        page = web.get(f"documents/{document.id}?from={following}").text
        seen += 1
    assert "Line 1999:" in page
    assert 3 < seen < 12


def test_another_tenants_document_is_none(browser, alice, mallory, upload):
    document = upload(alice, "A secret of Acme.")
    chunk = chunks_of(alice, document)[0]
    assert browser(mallory).get(f"documents/{document.id}?chunk={chunk.id}").status_code == 404
    web = browser(alice)
    assert web.get(f"documents/{uuid4()}").status_code == 404
    assert web.get(f"documents/{document.id}?chunk=nonsense").status_code == 404
    assert web.get(f"documents/{document.id}?from=nonsense").status_code == 404
    assert web.get(f"documents/{document.id}?chunk={uuid4()}").status_code == 200
    assert web.get(f"documents/{document.id}?from=99999999").status_code == 200


def cite(person, document, text):
    """A citation of a passage that is not in the document's present edition."""
    with tenant_transaction(person.tenant):
        talk = Conversation.objects.create(tenant=person.tenant, owner=person.user, title="T", model="assistant:docs")
        answer = Message.objects.create(tenant=person.tenant, conversation=talk, author="assistant", text="[1]")
        return Citation.objects.create(
            tenant=person.tenant, message=answer, number=1, chunk=uuid7(), document=document.id, title="T", start=0, end=9, text=text
        )


def test_a_passage_of_an_earlier_edition_is_found_again_or_shown_as_it_was(browser, alice, bob, upload):
    document = upload(alice, "First this. Then the kept words. Then that.")
    kept, lost = cite(alice, document, "the kept words"), cite(alice, document, "words that are gone")
    assert marked(browser(alice).get(f"documents/{document.id}?chunk={kept.chunk}").text) == "the kept words"
    page = browser(alice).get(f"documents/{document.id}?chunk={lost.chunk}").text
    assert "This document has changed since it was cited" in page
    assert "words that are gone" in page
    assert "words that are gone" not in browser(bob).get(f"documents/{document.id}?chunk={lost.chunk}").text
