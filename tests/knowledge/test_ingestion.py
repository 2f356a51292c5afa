from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from knowledge.conftest import run, until_idle, work
from procrastinate.contrib.django.models import ProcrastinateJob

from apps.knowledge import ingestion, jobs, rescuing
from apps.knowledge.errors import BadUpload, EmbeddingBusy, UploadTooLarge
from apps.knowledge.intake import Upload, take_in
from apps.knowledge.models import Chunk, Document, Edition, Status
from menhir.tenancy.transaction import tenant_transaction

STONES = "A menhir is one standing stone. It was raised by people. " * 120 + "The end."


def vectors_of(document: Document) -> int:
    with tenant_transaction(document.tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM knowledge_embedding e JOIN knowledge_chunk c ON c.tenant_id = e.tenant_id AND c.id = e.chunk_id"
            " WHERE e.tenant_id = %s AND c.document_id = %s",
            [document.tenant_id, document.id],
        )
        return cursor.fetchone()[0]


def jobs_of(document: Document) -> list[ProcrastinateJob]:
    return list(ProcrastinateJob.objects.filter(args__document_id=str(document.id)).order_by("id"))


def test_a_worker_makes_an_upload_answer(acmes, peer):
    document = acmes.upload("stones", STONES, title="On stones")
    assert (document.status, document.progress) == (Status.QUEUED, (0, 0))
    work()
    document = acmes.document("stones")
    assert document.status == Status.READY, document.failure
    done, total = document.progress
    assert done == total == vectors_of(document) > 2
    assert document.text == STONES
    with tenant_transaction(document.tenant_id):
        chunks = list(document.chunks.order_by("ordinal"))
    assert [chunk.ordinal for chunk in chunks] == list(range(total))
    assert all(document.text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert all(text.startswith("On stones\n") for text in peer.texts)
    assert jobs_of(document)[0].status == "succeeded"


@pytest.mark.parametrize("name", ["test.pdf", "test.docx", "test.pptx", "test.xlsx", "test.epub", "test_blog.html", "test_mskanji.csv"])
def test_a_file_is_read(acmes, documents_folder, name):
    if not (documents_folder / name).exists():
        pytest.skip(f"no {name}")
    acmes.upload(name, (documents_folder / name).read_bytes(), filename=name, media_type="application/octet-stream")
    work()
    document = acmes.document(name)
    assert document.status == Status.READY, document.failure
    assert document.text


def test_an_encrypted_pdf_fails_with_its_sentence(acmes, documents_folder, peer):
    content = (documents_folder / "libreoffice-writer-password.pdf").read_bytes()
    acmes.upload("secret", content, filename="secret.pdf", media_type="application/pdf")
    work()
    document = acmes.document("secret")
    assert document.status == Status.FAILED
    assert document.failure == "This PDF is protected by a password. Remove the password and upload it again."
    assert not peer.texts
    assert vectors_of(document) == 0


def test_the_same_bytes_again_do_nothing(acmes, peer):
    first = acmes.upload("a", STONES)
    again = acmes.upload("a", STONES)
    assert again.id == first.id
    assert len(jobs_of(first)) == 1
    work()
    asked = len(peer.texts)
    assert acmes.upload("a", STONES).status == Status.READY
    assert len(jobs_of(first)) == 1
    work()
    assert len(peer.texts) == asked


def test_the_same_bytes_again_take_new_metadata(acmes):
    acmes.upload("a", STONES, metadata={"year": 1})
    assert acmes.upload("a", STONES, metadata={"year": 2}).metadata == {"year": 2}
    assert acmes.upload("a", STONES).metadata == {"year": 2}


def test_what_failed_is_tried_again(acmes, peer):
    peer.fail(400)
    acmes.upload("a", STONES)
    work()
    assert "refused" in acmes.document("a").failure
    assert "the peer says 400" in acmes.document("a").failure
    peer.reset()
    acmes.upload("a", STONES)
    work()
    assert acmes.document("a").status == Status.READY


def test_the_old_edition_answers_until_the_new_one_is_ready(acmes, peer):
    acmes.learn(a="The door is green.")
    document = acmes.upload("a", "The door is purple now.")
    peer.held.clear()

    async def ask_in_the_middle() -> None:
        reading = asyncio.create_task(ingestion.ingest(document.tenant_id, document.id, document.latest_edition, last_try=True))
        await asyncio.to_thread(peer.asked.wait, 10)
        found = await asyncio.to_thread(acmes.document, "a")
        assert (found.status, found.progress, found.text) == (Status.PROCESSING, (0, 1), "The door is green.")
        with_words = await search_by_words(acmes, "door")
        assert [row[0] for row in with_words] == ["The door is green."]
        peer.held.set()
        await reading

    peer.asked.clear()
    run(ask_in_the_middle)
    assert [hit.text for hit in acmes.ask("door")] == ["The door is purple now."]
    with tenant_transaction(document.tenant_id):
        assert Edition.objects.within(document.tenant_id).filter(document=document).count() == 1
        assert Chunk.objects.within(document.tenant_id).filter(document=document).count() == 1


async def search_by_words(library, question):
    def asked():
        collection = library.collection()
        with tenant_transaction(library.person.tenant), connection.cursor() as cursor:
            cursor.execute("SELECT passage FROM menhir.search_chunks(%s::uuid[], %s, '{}', '{}', 10)", [[collection.id], question])
            rows = cursor.fetchall()
        connection.close()
        return rows

    return await asyncio.to_thread(asked)


def test_a_failed_new_edition_leaves_the_old_one_answering(acmes):
    acmes.learn(a="The door is green.")
    acmes.upload("a", b"\x89PNG....", media_type="image/png", filename="door.png")
    work()
    document = acmes.document("a")
    assert document.status == Status.FAILED
    assert "image" in document.failure
    assert document.is_answering
    assert [hit.text for hit in acmes.ask("door")] == ["The door is green."]


def test_what_is_deleted_meanwhile_is_not_resurrected(acmes, peer):
    document = acmes.upload("a", STONES)
    peer.held.clear()

    async def delete_in_the_middle() -> None:
        reading = asyncio.create_task(ingestion.ingest(document.tenant_id, document.id, document.latest_edition, last_try=False))
        await asyncio.to_thread(peer.asked.wait, 10)

        def remove() -> None:
            with tenant_transaction(document.tenant_id):
                document.remove(by=acmes.person.principal)
            connection.close()

        await asyncio.to_thread(remove)
        peer.held.set()
        await reading

    run(delete_in_the_middle)
    with tenant_transaction(document.tenant_id):
        for noun in (Document, Edition, Chunk):
            assert not noun.objects.within(document.tenant_id).exists()
    assert vectors_of(document) == 0


def test_a_newer_upload_meanwhile_wins(acmes, peer):
    first = acmes.upload("a", "The first text.")
    acmes.upload("a", "The second text.")

    run(lambda: ingestion.ingest(first.tenant_id, first.id, first.latest_edition, last_try=False))
    assert acmes.document("a").status == Status.QUEUED
    assert not peer.texts
    work()
    assert acmes.document("a").text == "The second text."


def test_a_busy_model_is_asked_again_later(acmes, peer):
    peer.fail(503)
    document = acmes.upload("a", STONES)
    work()
    assert acmes.document("a").status == Status.PROCESSING
    job = jobs_of(document)[0]
    assert (job.status, job.attempts) == ("todo", 1)
    assert timedelta(seconds=1) < job.scheduled_at - timezone.now() < timedelta(seconds=4)


def test_a_retry_goes_on_where_it_stopped(acmes, peer):
    document = acmes.upload("a", " ".join(f"Stone number {number} stands on its own hill." for number in range(1200)))
    edition = document.tenant_id, document.id, document.latest_edition
    peer.held.clear()

    async def break_off_after_the_first_batch() -> None:
        reading = asyncio.create_task(ingestion.ingest(*edition, last_try=False))
        await asyncio.to_thread(peer.asked.wait, 10)
        peer.failures_left = 1_000_000  # the batch on its way is answered …
        peer.held.set()
        while len(peer.batches) < 2:
            await asyncio.sleep(0)
        peer.status = 503  # … and those after it are not
        with pytest.raises(EmbeddingBusy):
            await reading

    run(break_off_after_the_first_batch)
    done, total = acmes.document("a").progress
    assert 0 < done < total
    peer.reset()
    run(lambda: ingestion.ingest(*edition, last_try=False))
    assert acmes.document("a").status == Status.READY
    assert len(peer.texts) == total - done


def test_a_model_that_stays_away_fails_the_document(acmes, peer):
    peer.fail(503)
    document = acmes.upload("a", STONES)
    run(lambda: ingestion.ingest(document.tenant_id, document.id, document.latest_edition, last_try=True))
    failure = acmes.document("a").failure
    assert "did not answer" in failure
    assert "Upload the document again" in failure


def test_a_model_that_does_not_exist_fails_the_document(alice, peer):
    from knowledge.conftest import Library

    nobodys = Library(alice, peer)
    nobodys.upload("a", STONES)
    work()
    assert nobodys.document("a").status == Status.FAILED
    assert "local/all-MiniLM-L6-v2" in nobodys.document("a").failure


def test_a_model_that_changes_its_size_is_refused(acmes, peer):
    acmes.learn(a="One text.")
    peer.dimensions = 256
    acmes.learn(b="Another text.")
    assert "384 dimensions and now does with 256" in acmes.document("b").failure
    assert acmes.document("a").status == Status.READY


def test_the_first_of_a_tenant_overtakes_the_hundredth_of_another(acmes, globexs):
    many = [Upload(f"d{number}", f"Text {number}.".encode(), media_type="text/plain") for number in range(100)]
    collection = acmes.collection()
    with tenant_transaction(acmes.person.tenant):
        documents = take_in(collection, many, by=acmes.person.principal)
    single = globexs.upload("single", "One text.")
    priorities = [jobs_of(document)[0].priority for document in documents]
    assert priorities == [-place for place in range(100)]
    assert jobs_of(single)[0].priority == 0
    assert jobs_of(acmes.upload("later", "Another."))[0].priority == -100


def test_a_batch_is_all_or_nothing(acmes):
    collection = acmes.collection()
    with pytest.raises(BadUpload), tenant_transaction(acmes.person.tenant):
        take_in(collection, [Upload("good", b"x"), Upload("", b"y")], by=acmes.person.principal)
    with tenant_transaction(acmes.person.tenant):
        assert not Document.objects.within(acmes.person.tenant).exists()


def test_too_large_an_upload_is_refused(acmes):
    with override_settings(MENHIR_UPLOAD_LIMIT_BYTES=1024), pytest.raises(UploadTooLarge):
        acmes.upload("a", b"x" * 1025)


def test_a_document_whose_job_is_gone_gets_another(acmes):
    document = acmes.upload("a", STONES)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE id = %s", [jobs_of(document)[0].id])
    run(rescuing.rescue)
    assert len(jobs_of(document)) == 1  # it was touched a moment ago
    with tenant_transaction(document.tenant_id):
        Document.objects.within(document.tenant_id).update(updated_at=timezone.now() - timedelta(minutes=3))
    run(rescuing.rescue)
    run(rescuing.rescue)
    assert [job.status for job in jobs_of(document)] == ["failed", "todo"]


def test_a_job_of_a_dead_worker_is_given_to_another(acmes):
    document = acmes.upload("a", STONES)
    job = jobs_of(document)[0]
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '5 minutes') RETURNING id")
        (worker,) = cursor.fetchone()
        cursor.execute("UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE id = %s", [worker, job.id])

    async def rescued() -> None:
        from procrastinate.contrib.django import app as contrib

        app = contrib.with_connector(contrib.connector.get_worker_connector())
        async with app.open_async():
            await rescuing.rescue()

    run(rescued)
    assert jobs_of(document)[0].status == "todo"
    work()
    assert acmes.document("a").status == Status.READY


def test_what_kills_workers_is_given_up(acmes):
    document = acmes.upload("a", STONES)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET attempts = %s WHERE id = %s", [jobs.TRIES + 1, jobs_of(document)[0].id])
    run(until_idle)
    assert "again and again" in acmes.document("a").failure


def test_removing_a_collection_takes_everything_with_it(acmes):
    acmes.learn(a=STONES, b="Another text.")
    document = acmes.document("a")
    collection = acmes.collection()
    with tenant_transaction(document.tenant_id):
        collection.remove(by=acmes.person.principal)
        for noun in (Document, Edition, Chunk):
            assert not noun.objects.within(document.tenant_id).exists()
    assert vectors_of(document) == 0
