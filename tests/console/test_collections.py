"""Documents come in, say how they stand, and go."""

from __future__ import annotations

from console.conftest import Console, words
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings

from apps.knowledge.models import Collection, Document
from menhir.tenancy.transaction import tenant_transaction


def titles(console: Console) -> set[str]:
    with tenant_transaction(console.owner.tenant):
        return set(Document.objects.within(console.owner.tenant).values_list("external_id", flat=True))


def test_several_files_are_taken_in_at_once(console: Console) -> None:
    files = [SimpleUploadedFile("b.md", b"# Travel"), SimpleUploadedFile("c.txt", b"Salaries")]
    done = console.owner.browser().post(console.at("collections/handbook/"), {"files": files}, follow=True)
    assert "2 files are kept" in words(done)
    assert "waiting" in words(done)
    assert titles(console) == {"a.txt", "b.md", "c.txt"}


@override_settings(MENHIR_UPLOAD_LIMIT_BYTES=1024)
def test_a_file_over_the_limit_is_refused_by_name_and_the_others_are_kept(console: Console) -> None:
    files = [SimpleUploadedFile("big.txt", b"x" * 1025), SimpleUploadedFile("small.txt", b"x")]
    answer = console.owner.browser().post(console.at("collections/handbook/"), {"files": files})
    assert answer.status_code == 413
    assert "<strong>big.txt</strong>" in words(answer)
    assert titles(console) == {"a.txt", "small.txt"}


def test_no_file_is_said_so(console: Console) -> None:
    answer = console.owner.browser().post(console.at("collections/handbook/"))
    assert (answer.status_code, "Choose at least one file." in words(answer)) == (422, True)


def test_a_failed_document_says_why_and_is_tried_again(console: Console) -> None:
    with tenant_transaction(console.owner.tenant):
        found = Document.objects.within(console.owner.tenant).filter(id=console.document.id)
        found.update(status="failed", failure="The file is protected by a password.")
    browser = console.owner.browser()
    page = words(browser.get(console.at("collections/handbook/?status=failed")))
    assert "protected by a password" in page
    assert "Try again" in page
    assert "could not be read" in words(browser.get(console.at()))
    browser.post(console.at(f"documents/{console.document.id}/retry"))
    with tenant_transaction(console.owner.tenant):
        again = Document.objects.within(console.owner.tenant).get(id=console.document.id)
        assert (again.status, again.failure) == ("queued", "")


def test_progress_is_asked_for_while_something_is_under_way(console: Console) -> None:
    browser = console.owner.browser()
    page = words(browser.get(console.at("collections/handbook/")))
    assert 'hx-trigger="every 2s"' in page
    part = words(browser.get(console.at("collections/handbook/"), headers={"hx-request": "true"}))
    assert part.lstrip().startswith('<section class="card flush" id="documents"')
    with tenant_transaction(console.owner.tenant):
        Document.objects.within(console.owner.tenant).update(status="ready")
    assert "hx-trigger" not in words(browser.get(console.at("collections/handbook/")))


def test_a_collection_is_begun_and_deleted_with_what_is_in_it(console: Console) -> None:
    browser = console.owner.browser()
    assert "already" in words(browser.post(console.at("collections/new"), {"slug": "handbook", "name": "X", "language": "english"}))
    made = browser.post(console.at("collections/new"), {"slug": "contracts", "name": "Contracts", "language": "german"})
    assert made["location"] == console.at("collections/contracts/")
    question = words(browser.get(console.at("collections/handbook/remove")))
    assert "1 document is destroyed" in question
    assert "<strong>Docs</strong>" in question
    browser.post(console.at("collections/handbook/remove"))
    assert titles(console) == set()
    with tenant_transaction(console.owner.tenant):
        assert [c.slug for c in Collection.objects.within(console.owner.tenant)] == ["contracts"]


def test_documents_are_exported(console: Console) -> None:
    exported = words(console.owner.browser().get(console.at("collections/handbook/?format=csv")))
    assert exported.splitlines()[0].startswith("external_id,title,status")
    assert exported.splitlines()[1].startswith("a.txt,")
