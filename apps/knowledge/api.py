"""Knowledge over JSON: collections, their documents, and search.

An external id may hold slashes (`guides/install.md`), percent-encoded or as they are.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.http import HttpResponse
from ninja import Query, Router
from ninja import Status as Answer

from apps.knowledge import retrieval
from apps.knowledge.bodies import UPLOAD_BODY, upload_of
from apps.knowledge.errors import UnknownCollection, UnknownDocument
from apps.knowledge.intake import take_in
from apps.knowledge.models import Collection, Document, Status
from apps.knowledge.shapes import (
    BatchIn,
    BatchOut,
    BatchResult,
    CollectionIn,
    CollectionList,
    CollectionOut,
    DocumentList,
    DocumentOut,
    DocumentWithText,
    Hit,
    Page,
    SearchIn,
    SearchOut,
)
from menhir.tenancy.http import TenantRequest, in_tenant, needs
from menhir.tenancy.transaction import tenant_transaction

READ: Final = needs("knowledge:read")
WRITE: Final = needs("knowledge:write")

router = Router(tags=["knowledge"])


@router.post("/collections", response={201: CollectionOut}, auth=WRITE)
@in_tenant
def create_collection(request: TenantRequest, body: CollectionIn) -> Answer[Any]:
    """Begin an empty collection."""
    made = Collection.create(
        request.tenant, slug=body.slug, name=body.name, language=body.language, embedding_model=body.embedding_model, by=request.principal
    )
    return Answer(201, CollectionOut.of(made))


@router.get("/collections", response=CollectionList, auth=READ)
@in_tenant
def list_collections(request: TenantRequest) -> CollectionList:
    """List the collections."""
    found = Collection.objects.within(request.tenant).with_document_counts().order_by("slug")
    return CollectionList(collections=[CollectionOut.of(collection) for collection in found])


@router.get("/collections/{slug}", response=CollectionOut, auth=READ)
@in_tenant
def get_collection(request: TenantRequest, slug: str) -> CollectionOut:
    """Show a collection, and how its documents are doing."""
    return CollectionOut.of(collection_of(request, slug))


@router.delete("/collections/{slug}", response={204: None}, auth=WRITE)
@in_tenant
def delete_collection(request: TenantRequest, slug: str) -> HttpResponse:
    """Delete a collection with every document in it."""
    collection_of(request, slug).remove(by=request.principal)
    return HttpResponse(status=204)


@router.post("/collections/{slug}/search", response=SearchOut, auth=READ)
async def search(request: TenantRequest, slug: str, body: SearchIn) -> SearchOut:
    """Find passages by words and by meaning."""
    collection = await asyncio.to_thread(collection_id_of, request, slug)
    found = await retrieval.search(request.principal.tenant_id, [collection], body.query, body.limit, request.principal)
    return SearchOut(hits=[Hit.of(passage) for passage in found])


@router.get("/collections/{slug}/documents", response=DocumentList, auth=READ)
@in_tenant
def list_documents(request: TenantRequest, slug: str, page: Query[Page]) -> DocumentList:
    """List documents, a page at a time."""
    found = Document.objects.within(request.tenant).without_text().filter(collection=collection_of(request, slug))
    if page.after is not None:
        found = found.filter(external_id__gt=page.after)
    if page.status is not None:
        found = found.filter(status=page.status)
    documents = list(found.order_by("external_id")[: page.limit + 1])
    more = len(documents) > page.limit
    return DocumentList(
        documents=[DocumentOut.of(document) for document in documents[: page.limit]],
        next=documents[page.limit - 1].external_id if more else None,
    )


@router.post("/collections/{slug}/documents:batch", response={202: BatchOut}, auth=WRITE)
@in_tenant
def put_documents(request: TenantRequest, slug: str, body: BatchIn) -> Answer[Any]:
    """Take in many documents at once, as text: all of them, or none."""
    collection = collection_of(request, slug)
    documents = take_in(collection, [item.upload(item.external_id) for item in body.documents], by=request.principal)
    results = [BatchResult(id=each.id, external_id=each.external_id, status=each.status) for each in documents]
    return Answer(202, BatchOut(documents=results))


@router.put(
    "/collections/{slug}/documents/{path:external_id}", response={202: DocumentOut, 200: DocumentOut}, auth=WRITE, openapi_extra=UPLOAD_BODY
)
@in_tenant
def put_document(request: TenantRequest, slug: str, external_id: str) -> Answer[Any]:
    """Take in a document, or a new edition of it: 202, and it is read in a while; 200 when these very bytes are here already."""
    collection = collection_of(request, slug)
    (document,) = take_in(collection, [upload_of(request, external_id)], by=request.principal)
    return Answer(200 if document.status == Status.READY else 202, DocumentOut.of(document))


@router.get("/collections/{slug}/documents/{path:external_id}", response=DocumentWithText, auth=READ)
@in_tenant
def get_document(request: TenantRequest, slug: str, external_id: str) -> DocumentWithText:
    """Show a document with its text."""
    document = document_of(request, slug, external_id)
    return DocumentWithText(**DocumentOut.of(document).model_dump(), text=document.text)


@router.delete("/collections/{slug}/documents/{path:external_id}", response={204: None}, auth=WRITE)
@in_tenant
def delete_document(request: TenantRequest, slug: str, external_id: str) -> HttpResponse:
    """Delete a document; it stops answering at once."""
    document_of(request, slug, external_id).remove(by=request.principal)
    return HttpResponse(status=204)


def collection_of(request: TenantRequest, slug: str) -> Collection:
    """The tenant's collection of this slug; raises UnknownCollection."""
    if "\x00" in slug:
        raise UnknownCollection
    found: Collection = Collection.objects.within(request.tenant).named(slug)
    return found


def document_of(request: TenantRequest, slug: str, external_id: str) -> Document:
    """The document of this external id in a collection; raises UnknownCollection or UnknownDocument."""
    collection = collection_of(request, slug)
    if "\x00" in external_id:
        raise UnknownDocument
    found: Document = Document.objects.within(request.tenant).filter(collection=collection).named(external_id)
    return found


def collection_id_of(request: TenantRequest, slug: str) -> UUID:
    """The id of a collection, from a thread that holds a connection no longer than that."""
    try:
        with tenant_transaction(request.principal.tenant_id):
            return collection_of(request, slug).id
    finally:
        connection.close()
