"""Limits in plain words: how much, of what, and for whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils.formats import number_format
from django.utils.translation import gettext, gettext_lazy, ngettext

from menhir.metering.limits.models import Limit
from menhir.tenancy.models import ApiKey, Tenant

CENTS = 2
PERIOD_WORDS = {
    "": gettext_lazy("at the same time"),
    "minute": gettext_lazy("a minute"),
    "hour": gettext_lazy("an hour"),
    "day": gettext_lazy("a day"),
    "week": gettext_lazy("a week"),
    "month": gettext_lazy("a month"),
}
SUBJECT_WORDS = {
    "tenant": gettext_lazy("The whole workspace"),
    "key": gettext_lazy("Each API key"),
    "user": gettext_lazy("Each user"),
    "route": gettext_lazy("Each model"),
}
TURNS = {
    "minute": gettext_lazy("Counting begins anew every minute."),
    "hour": gettext_lazy("Counting begins anew every full hour."),
    "day": gettext_lazy("Counting begins anew at midnight (UTC)."),
    "week": gettext_lazy("Counting begins anew on Mondays at midnight (UTC)."),
    "month": gettext_lazy("Counting begins anew on the first of the month (UTC)."),
}


def exactly(amount: Decimal, metric: str) -> str:
    """An amount with every place that it has, grouped; money with its currency and at least its cents.

    >>> exactly(Decimal("1500"), "requests"), exactly(Decimal("12.5"), "money"), exactly(Decimal("0.00025"), "money")
    ('1,500', '$12.50', '$0.00025')
    """
    plain = amount.normalize()
    places = max(0, -int(plain.as_tuple().exponent))
    written = number_format(plain, decimal_pos=max(places, CENTS) if metric == "money" else places, use_l10n=True, force_grouping=True)
    return f"${written}" if metric == "money" else written


def counted(amount: Decimal, metric: str) -> str:
    """An amount and what it counts.

    >>> counted(Decimal(1), "requests"), counted(Decimal(2000), "tokens"), counted(Decimal(5), "money")
    ('1 request', '2,000 tokens', '$5.00')
    """
    written, number = exactly(amount, metric), int(amount)
    match metric:
        case "requests":
            return ngettext("%(n)s request", "%(n)s requests", number) % {"n": written}
        case "tokens":
            return ngettext("%(n)s token", "%(n)s tokens", number) % {"n": written}
        case "parallel":
            return ngettext("%(n)s call", "%(n)s calls", number) % {"n": written}
        case _:
            return written


def allowance(limit: Limit) -> str:
    """How much, in how long: `60 requests a minute`."""
    return f"{counted(limit.amount, limit.metric)} {PERIOD_WORDS[limit.period]}"


def whose(limit: Limit, names: Mapping[str, str]) -> str:
    """For whom it is, in two words; `names` are those of keys by id."""
    if not limit.subject_id:
        return str(SUBJECT_WORDS[limit.subject])
    return named(limit.subject, limit.subject_id, names)


def named(subject: str, subject_id: str, names: Mapping[str, str]) -> str:
    """A key, a user or a model by name."""
    if subject == "key":
        return names.get(subject_id) or gettext("a key that is gone")
    return subject_id or str(SUBJECT_WORDS["tenant"])


def meaning(limit: Limit, names: Mapping[str, str]) -> str:
    """Whom it stops and when, in a sentence."""
    words = {"much": allowance(limit), "name": named(limit.subject, limit.subject_id, names)}
    if limit.subject_id:
        sentence = {
            "key": gettext("The key “%(name)s” has %(much)s, in place of what each key has."),
            "user": gettext("The user “%(name)s” has %(much)s, in place of what each user has."),
            "route": gettext("All calls of the model “%(name)s” together have %(much)s, in place of what each model has."),
        }[limit.subject]
    else:
        sentence = {
            "tenant": gettext("All calls of this workspace together have %(much)s."),
            "key": gettext("Each API key has %(much)s of its own."),
            "user": gettext("Each user has %(much)s of their own."),
            "route": gettext("Each model has %(much)s of its own, whoever calls it."),
        }[limit.subject]
    return sentence % words


def names_of_keys(tenant: Tenant, ids: Iterable[str]) -> dict[str, str]:
    """The names of keys by their ids as text."""
    wanted = {UUID(one) for one in ids if one}
    found: Any = ApiKey.objects.within(tenant).filter(id__in=wanted).values_list("id", "name") if wanted else ()
    return {str(key_id): name for key_id, name in found}
