"""A tenant's first providers and routes. Each function may be called again: what is there already is brought up to date.

All of them run inside the tenant's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

from apps.gateway.models import Provider, Route

if TYPE_CHECKING:
    from menhir.tenancy.models import Tenant

OPENAI_BASE_URL = "https://api.openai.com/v1"
OPENAI_MODELS = ("gpt-4o-mini", "gpt-4o", "text-embedding-3-small")
EXTRACT = "extract"


def provision_builtin(tenant: Tenant) -> None:
    """Give a tenant what needs no key and no network: the local embedding model and the quoting `extract`."""
    model = settings.MENHIR_LOCAL_MODEL
    local = _provider(tenant, slug="local", kind=Provider.Kind.EMBEDDER)
    extract = _provider(tenant, slug=EXTRACT, kind=Provider.Kind.EXTRACT)
    _route(tenant, local_embedding_model(), local, model)
    _route(tenant, EXTRACT, extract, EXTRACT)


def provision_openai(tenant: Tenant, *, api_key: str, base_url: str = "") -> None:
    """Give a tenant OpenAI, or a server that speaks its wire, and routes to the usual models there."""
    provider = _provider(
        tenant, slug="openai", kind=Provider.Kind.OPENAI, base_url=base_url or OPENAI_BASE_URL, tariff="openai", credential=api_key
    )
    for model in OPENAI_MODELS:
        _route(tenant, model, provider, model)


def local_embedding_model() -> str:
    """What clients write into `model` for the built-in embeddings."""
    return f"local/{settings.MENHIR_LOCAL_MODEL}"


def _provider(tenant: Tenant, *, slug: str, kind: Provider.Kind, base_url: str = "", tariff: str = "", credential: str = "") -> Provider:
    provider = Provider.objects.within(tenant).filter(slug=slug).first() or Provider(tenant=tenant, slug=slug)
    provider.kind, provider.base_url, provider.tariff = kind, base_url.rstrip("/"), tariff
    provider.set_credential(credential)
    provider.save()
    return provider


def _route(tenant: Tenant, name: str, provider: Provider, upstream_model: str) -> None:
    route = Route.objects.within(tenant).filter(name=name).first() or Route.objects.create(tenant=tenant, name=name)
    if not route.targets.exists():
        route.lead_to((provider, upstream_model))
