"""`/api/v1/prompts`: write prompts, keep versions, release them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from django.db.models import Max, QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Status

from apps.prompts import rendering
from apps.prompts.errors import NotReleased, UnknownPrompt
from apps.prompts.models import Prompt, Release, Version
from apps.prompts.shapes import (
    Listing,
    PromptIn,
    PromptOut,
    PromptPage,
    ReleaseEventOut,
    ReleaseIn,
    ReleaseOut,
    ReleasePage,
    RenderIn,
    RenderOut,
    VersionIn,
    VersionOut,
    VersionPage,
)
from menhir.tenancy.http import TenantRequest, in_tenant, needs

READ: Final = needs("prompts:read")
WRITE: Final = needs("prompts:write")

router = Router(tags=["prompts"])
router.add_decorator(in_tenant, mode="operation")


@router.get("/prompts", response=PromptPage, auth=READ)
def list_prompts(request: TenantRequest, listing: Query[Listing]) -> PromptPage:
    """List prompts by slug, those with `q` in slug or name when it is given."""
    found = Prompt.objects.within(request.tenant).filter(archived_at__isnull=not listing.archived)
    if listing.q:
        found = found.filter(slug__icontains=listing.q) | found.filter(name__icontains=listing.q)
    page = list(found.filter(slug__gt=listing.after).order_by("slug")[: listing.limit + 1])
    shown = page[: listing.limit]
    return PromptPage(prompts=_shown(request, shown), next=shown[-1].slug if len(page) > len(shown) else None)


@router.post("/prompts", response={201: PromptOut}, auth=WRITE)
def create_prompt(request: TenantRequest, body: PromptIn) -> Status[PromptOut]:
    """Begin a prompt."""
    prompt = Prompt.create(request.tenant, slug=body.slug, name=body.name, by=request.principal)
    if body.text is not None:
        prompt.add_version(body.text, note=body.note, by=request.principal)
    return Status(201, _shown(request, [prompt])[0])


@router.get("/prompts/{slug}", response=PromptOut, auth=READ)
def get_prompt(request: TenantRequest, slug: str) -> PromptOut:
    """Show one prompt."""
    return _shown(request, [_prompt(request, slug)])[0]


@router.put("/prompts/{slug}/archive", response={204: None}, auth=WRITE)
def archive_prompt(request: TenantRequest, slug: str) -> HttpResponse:
    """Take a prompt out of service; calls that name it, and assistants that use it, get 404 until it is restored."""
    _prompt(request, slug).archive(by=request.principal)
    return HttpResponse(status=204)


@router.delete("/prompts/{slug}/archive", response={204: None}, auth=WRITE)
def restore_prompt(request: TenantRequest, slug: str) -> HttpResponse:
    """Take a prompt back into service."""
    _prompt(request, slug).restore(by=request.principal)
    return HttpResponse(status=204)


@router.get("/prompts/{slug}/versions", response=VersionPage, auth=READ)
def list_versions(request: TenantRequest, slug: str) -> VersionPage:
    """List every version of a prompt, newest first."""
    versions = _prompt(request, slug).versions.order_by("-number")
    return VersionPage(versions=[VersionOut.of(version) for version in versions])


@router.post("/prompts/{slug}/versions", response={201: VersionOut}, auth=WRITE)
def add_version(request: TenantRequest, slug: str, body: VersionIn) -> Status[VersionOut]:
    """Keep a text as the next version; the newest version's text once more gives that version."""
    version = _prompt(request, slug).add_version(body.text, note=body.note, by=request.principal)
    return Status(201, VersionOut.of(version))


@router.get("/prompts/{slug}/versions/{int:number}", response=VersionOut, auth=READ)
def get_version(request: TenantRequest, slug: str, number: int) -> VersionOut:
    """Show one version."""
    return VersionOut.of(_prompt(request, slug).version(number))


@router.get("/prompts/{slug}/releases", response=ReleasePage, auth=READ)
def list_releases(request: TenantRequest, slug: str) -> ReleasePage:
    """Show what every label points at, and the last 200 moves, newest first."""
    prompt = _prompt(request, slug)
    releases = prompt.releases.select_related("version").order_by("label")
    events = prompt.release_events.select_related("version").order_by("-at")[:200]
    return ReleasePage(
        releases=[ReleaseOut.of(release) for release in releases],
        history=[ReleaseEventOut.of(event) for event in events],
    )


@router.put("/prompts/{slug}/releases/{label}", response=ReleaseOut, auth=WRITE)
def put_release(request: TenantRequest, slug: str, label: str, body: ReleaseIn) -> ReleaseOut:
    """Serve a version under a label, from the next call on."""
    return ReleaseOut.of(_prompt(request, slug).release(body.version, label, by=request.principal))


@router.delete("/prompts/{slug}/releases/{label}", response={204: None}, auth=WRITE)
def delete_release(request: TenantRequest, slug: str, label: str) -> HttpResponse:
    """Serve nothing under a label any more."""
    _prompt(request, slug).withdraw(label, by=request.principal)
    return HttpResponse(status=204)


@router.post("/prompts/{slug}/render", response=RenderOut, auth=READ)
def render_prompt(request: TenantRequest, slug: str, body: RenderIn) -> RenderOut:
    """Preview the words that a model would read; refuse missing and unknown variables by name."""
    prompt = _prompt(request, slug)
    if body.text is not None:
        return RenderOut(text=rendering.render(body.text, body.variables), version=None)
    version = prompt.version(body.version) if body.version is not None else _released(prompt, body.label)
    return RenderOut(text=rendering.render(version.text, body.variables), version=version.number)


def _prompt(request: TenantRequest, slug: str) -> Prompt:
    found: Prompt | None = Prompt.objects.within(request.tenant).filter(slug=slug).first() if "\x00" not in slug else None
    if found is None:
        raise UnknownPrompt(f"There is no prompt `{slug}`.", param="slug")
    return found


def _released(prompt: Prompt, label: str) -> Version:
    release: Release | None = prompt.releases.select_related("version").filter(label=label).first()
    if release is None:
        raise NotReleased(f"Nothing of `{prompt.slug}` is released as `{label}`.", param="label")
    version: Version = release.version
    return version


def _shown(request: TenantRequest, prompts: list[Prompt]) -> list[PromptOut]:
    ids = [prompt.id for prompt in prompts]
    versions: QuerySet[Version] = Version.objects.within(request.tenant).filter(prompt_id__in=ids)
    latest: Mapping[UUID, int] = dict(versions.values_list("prompt_id").annotate(Max("number")))
    releases: dict[UUID, list[Release]] = {id_: [] for id_ in ids}
    for release in Release.objects.within(request.tenant).filter(prompt_id__in=ids).select_related("version").order_by("label"):
        releases[release.prompt_id].append(release)
    return [PromptOut.of(p, latest=latest.get(p.id), releases=releases[p.id]) for p in prompts]
