"""Providers and routes as a tenant arranges them: checked as a whole, written in one transaction, and in the audit.

All of these run inside the tenant's transaction; the data plane hears of the change when that commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from apps.gateway.addresses import is_open, literal
from apps.gateway.errors import NameTaken, StillUsed, UnfitProvider, UnfitRoute, UnknownProvider, UnknownRoute
from apps.gateway.models import Branch, Provider, Route, Target
from apps.gateway.session import Origin, endpoint
from menhir import audit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from uuid import UUID

    from django.db import models

    from menhir.tenancy.models import Tenant
    from menhir.tenancy.principal import Principal

BUILT_IN = frozenset({Provider.Kind.EMBEDDER, Provider.Kind.EXTRACT})
MOST_LEVELS = 4
"""Of classifiers that lead to classifiers; `classifier.MOST_HOPS` follows so many."""


def provider_named(tenant: Tenant, slug: str, *, param: str = "slug") -> Provider:
    """Give a provider; raise UnknownProvider."""
    found: Provider | None = Provider.objects.within(tenant).filter(slug=slug).first() if "\x00" not in slug else None
    if found is None:
        raise UnknownProvider(f"There is no provider `{slug}`.", param=param)
    return found


def route_named(tenant: Tenant, name: str, *, param: str = "name") -> Route:
    """Give a route; raise UnknownRoute."""
    found: Route | None = Route.objects.within(tenant).filter(name=name).first() if "\x00" not in name else None
    if found is None:
        raise UnknownRoute(f"There is no route `{name}`.", param=param)
    return found


def put_provider(
    provider: Provider, changes: Mapping[str, Any], *, credential: str | None, by: Principal, unseen_headers: Collection[str] = ()
) -> None:
    """Write a provider that a tenant describes himself: where he says where it is, it is guarded from now on.

    `unseen_headers` names those of `changes["headers"]` whose values were carried over by us and not said by him.
    """
    made = provider._state.adding  # noqa: SLF001 - Django's documented door to whether a row is there already
    before = None if made else provider.base_url
    earlier = _place(provider)
    if "headers" not in changes:
        unseen_headers = provider.headers
    for name, value in changes.items():
        setattr(provider, name, value)
    if provider.base_url != before:
        provider.is_guarded = True
    _check_place(provider)
    if not made and _place(provider) != earlier:
        _check_secrets_stay(provider, credential=credential, unseen_headers=unseen_headers)
    if credential is not None:
        provider.set_credential(credential)
    _save(provider, taken=f"There is a provider `{provider.slug}` already.", unfit=UnfitProvider)
    detail = {"slug": provider.slug, "changed": sorted([*changes, *(["credential"] if credential is not None else [])])}
    audit.record(by, verb="provider.created" if made else "provider.changed", noun="provider", noun_id=provider.id, detail=detail)


def delete_provider(provider: Provider, *, by: Principal) -> None:
    """Take a provider away; raise StillUsed while a route leads there."""
    if used := provider.targets.select_related("route").first():
        raise StillUsed(f"The route `{used.route.name}` leads to the provider `{provider.slug}`.", param="slug")
    audit.record(by, verb="provider.deleted", noun="provider", noun_id=provider.id, detail={"slug": provider.slug})
    provider.delete()


def put_route(
    route: Route,
    changes: Mapping[str, Any],
    *,
    targets: Sequence[Target] | None,
    branches: Sequence[Branch] | None,
    by: Principal,
) -> None:
    """Write a route with its targets and branches; those given replace all that were there. Raises UnfitRoute when it makes no sense."""
    made = route._state.adding  # noqa: SLF001 - as above
    for name, value in changes.items():
        setattr(route, name, value)
    _save(route, taken=f"There is a route `{route.name}` already.", unfit=UnfitRoute)
    if targets is not None:
        _replace(route.targets.all(), targets, taken="Two targets of one position are the same.")
    if branches is not None:
        _replace(route.branches.all(), branches, taken="Two branches have the same label.")
    _check_sense(route)
    changed = sorted([*changes, *(name for name, given in (("targets", targets), ("branches", branches)) if given is not None)])
    audit.record(
        by,
        verb="route.created" if made else "route.changed",
        noun="route",
        noun_id=route.id,
        detail={"name": route.name, "changed": changed},
    )


def delete_route(route: Route, *, by: Principal) -> None:
    """Take a route away; raise StillUsed while a classifier leads there or asks it."""
    if branch := route.led_to_by.exclude(route=route).select_related("route").first():
        raise StillUsed(f"The route `{branch.route.name}` leads to `{route.name}`.", param="name")
    if asking := route.classifies_for.exclude(id=route.id).first():
        raise StillUsed(f"The route `{asking.name}` asks `{route.name}` which way to go.", param="name")
    audit.record(by, verb="route.deleted", noun="route", noun_id=route.id, detail={"name": route.name})
    for part in (*route.targets.all(), *route.branches.all()):
        part.delete()
    route.delete()


def _check_place(provider: Provider) -> None:
    if provider.kind in BUILT_IN:
        if provider.base_url:
            raise UnfitProvider("What is built in has no base URL.", param="base_url")
        return
    if not provider.base_url:
        raise UnfitProvider("`base_url` is required: up to and including the version, such as https://api.openai.com/v1.", param="base_url")
    try:
        host = endpoint(provider.base_url).origin.host
    except ValueError as e:
        raise UnfitProvider("This is no URL of http or https.", param="base_url") from e
    address = literal("127.0.0.1" if host == "localhost" else host)
    if provider.is_guarded and address is not None and not is_open(host, address):
        raise UnfitProvider("This address is inside a network that tenants' providers may not reach.", param="base_url")


def _place(provider: Provider) -> tuple[str, Origin | str]:
    """To whom it sends its credential, and in which wire."""
    try:
        return provider.kind, endpoint(provider.base_url).origin
    except ValueError:  # what is built in has no address
        return provider.kind, provider.base_url


def _check_secrets_stay(provider: Provider, *, credential: str | None, unseen_headers: Collection[str]) -> None:
    """Whoever may change an address must not thereby read, on a server of his own, a secret that nobody may read."""
    if provider.has_credential and credential is None:
        raise UnfitProvider(
            "The stored credential is not sent to another scheme, host, port or kind: give one anew, or an empty one to take it away.",
            param="credential",
        )
    if kept := sorted(unseen_headers):
        raise UnfitProvider(
            f"Stored headers are not sent to another scheme, host, port or kind: give the value of `{kept[0]}` anew, or leave it out.",
            param="headers",
        )


def _check_sense(route: Route) -> None:
    if route.strategy != Route.Strategy.CLASSIFIER:
        if not route.targets.filter(role=Target.Role.ANSWER).exists():
            raise UnfitRoute("A route needs a target that answers.", param="targets")
        if Branch.objects.within(route.tenant_id).filter(route=route).exists():
            raise UnfitRoute("Only a classifier has branches.", param="branches")
        return
    if not route.branches.exists():
        raise UnfitRoute("A classifier needs a branch.", param="branches")
    if route.classifier is not None and route.classifier.strategy == Route.Strategy.CLASSIFIER:
        raise UnfitRoute("The model that classifies cannot itself be a classifier.", param="classifier_model")
    if asking := route.classifies_for.first():
        raise UnfitRoute(f"The route `{asking.name}` asks this one which way to go, so it must answer itself.", param="strategy")
    edges: dict[UUID, list[UUID]] = {}
    for start, end in Branch.objects.within(route.tenant_id).values_list("route_id", "leads_to_id"):
        edges.setdefault(start, []).append(end)
    if any(depth_from(start, edges) > MOST_LEVELS for start in edges):
        raise UnfitRoute(f"The branches lead in a circle, or through more than {MOST_LEVELS} classifiers.", param="branches")


def depth_from(start: Any, edges: Mapping[Any, Sequence[Any]], *, most: int = MOST_LEVELS) -> int:
    """How many classifiers a question may pass from here; more than `most` for a circle.

    >>> depth_from("a", {"a": ["b", "c"], "b": ["c"]}), depth_from("c", {}), depth_from("a", {"a": ["b"], "b": ["a"]})
    (2, 0, 5)
    """
    reached, depth = {start}, 0
    while depth <= most:
        reached = {end for place in reached for end in edges.get(place, ())}
        if not reached:
            return depth
        depth += 1
    return depth


def _replace(before: models.QuerySet[Any], after: Sequence[models.Model], *, taken: str) -> None:
    for part in before:
        part.delete()
    for part in after:
        _save(part, taken=taken, unfit=UnfitRoute)


def _save(noun: models.Model, *, taken: str, unfit: type[UnfitProvider | UnfitRoute]) -> None:
    try:
        noun.clean_fields(exclude=["tenant", "route", "provider", "leads_to", "classifier"])
        noun.clean()
    except ValidationError as e:
        field, messages = next(iter(e.message_dict.items()))
        raise unfit(str(messages[0]), param=field) from e
    try:
        with transaction.atomic():
            noun.save()
    except IntegrityError as e:
        raise NameTaken(taken, param="name") from e
