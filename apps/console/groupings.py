"""By what usage is grouped, and what each group is called: the ledger knows ids, and rows that they point at may be gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils.translation import gettext, gettext_lazy

from apps.assistants.models import Assistant
from apps.console.templatetags.look import NOTHING
from apps.prompts.models import Version
from menhir.metering.usage import Dimension, Group
from menhir.tenancy.models import Membership, Tenant

Naming = Callable[[Tenant, Sequence[Group]], Callable[[Group], str]]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A dimension in the console: the words of the switch, the head of its column, and who names its groups."""

    title: Any
    head: Any
    naming: Naming


def _models(_tenant: Tenant, _groups: Sequence[Group]) -> Callable[[Group], str]:
    return lambda group: group.model or NOTHING


def _keys(_tenant: Tenant, _groups: Sequence[Group]) -> Callable[[Group], str]:
    def name(group: Group) -> str:
        if group.key_id is None:
            return gettext("people and the platform itself")
        return group.key or gettext("a key that is gone")

    return name


def _users(tenant: Tenant, _groups: Sequence[Group]) -> Callable[[Group], str]:
    """Whom a client names goes by that name; who is signed in here, by the person's own."""
    members = Membership.objects.within(tenant).select_related("user")
    people = {str(member.user_id): member.user.name or member.user.email for member in members}
    return lambda group: gettext("nobody in particular") if group.user is None else people.get(group.user, group.user)


def _routes(_tenant: Tenant, _groups: Sequence[Group]) -> Callable[[Group], str]:
    return lambda group: group.route or NOTHING


def _providers(_tenant: Tenant, _groups: Sequence[Group]) -> Callable[[Group], str]:
    def name(group: Group) -> str:
        return gettext("answered from the cache") if group.provider == "cache" else group.provider or gettext("nobody answered")

    return name


def _assistants(tenant: Tenant, groups: Sequence[Group]) -> Callable[[Group], str]:
    ids = {group.assistant_id for group in groups if group.assistant_id is not None}
    names: Mapping[UUID, str] = dict(Assistant.objects.within(tenant).filter(id__in=ids).values_list("id", "name"))

    def name(group: Group) -> str:
        if group.assistant_id is None:
            return gettext("without an assistant")
        return names.get(group.assistant_id) or gettext("an assistant that is gone")

    return name


def _versions(tenant: Tenant, groups: Sequence[Group]) -> Callable[[Group], str]:
    ids = {group.prompt_version_id for group in groups if group.prompt_version_id is not None}
    found = Version.objects.within(tenant).filter(id__in=ids).values_list("id", "prompt__name", "number")
    names = {version_id: gettext("%(prompt)s, version %(n)d") % {"prompt": prompt, "n": number} for version_id, prompt, number in found}

    def name(group: Group) -> str:
        if group.prompt_version_id is None:
            return gettext("without a managed prompt")
        return names.get(group.prompt_version_id) or gettext("a version that is gone")

    return name


def _days(_tenant: Tenant, _groups: Sequence[Group]) -> Callable[[Group], str]:
    return lambda group: str(group.day)


GROUPINGS: dict[Dimension, Grouping] = {
    "day": Grouping(gettext_lazy("by day"), gettext_lazy("Day"), _days),
    "model": Grouping(gettext_lazy("by model"), gettext_lazy("Model"), _models),
    "key": Grouping(gettext_lazy("by key"), gettext_lazy("Key"), _keys),
    "user": Grouping(gettext_lazy("by user"), gettext_lazy("User"), _users),
    "route": Grouping(gettext_lazy("by route"), gettext_lazy("Route"), _routes),
    "provider": Grouping(gettext_lazy("by provider"), gettext_lazy("Provider"), _providers),
    "assistant": Grouping(gettext_lazy("by assistant"), gettext_lazy("Assistant"), _assistants),
    "prompt_version": Grouping(gettext_lazy("by prompt version"), gettext_lazy("Prompt version"), _versions),
}
