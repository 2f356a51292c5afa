"""The first page: what runs, what it costs, is it well, and what wants somebody's attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy, ngettext
from django.views.decorators.http import require_GET

from apps.assistants.models import Assistant
from apps.console.charts import Spark, spark
from apps.console.pages.collections import count_documents
from apps.console.pages.keys import EXPIRES_SOON
from apps.console.places import to
from apps.console.templatetags.look import grouped, milliseconds, percent, usd
from apps.knowledge.models import Collection, Document
from apps.prompts.models import Prompt, Release
from menhir.metering import usage
from menhir.metering.usage import Summary, Used
from menhir.tenancy.http import TenantRequest, needs_role
from menhir.tenancy.models import ApiKey

DAYS = 14
HIGH_ERROR_SHARE = 0.05
STUCK_AFTER = timedelta(minutes=30)
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Tile:
    """One number of the stretch, with its small line."""

    title: Any
    value: str
    line: Spark
    note: str = ""
    href: str = ""
    """Where one sees more; the page of usage when nothing is said."""


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that wants attention, and where to give it."""

    level: str
    words: str
    href: str
    action: str


@require_GET
@needs_role("admin")
def page(request: TenantRequest) -> HttpResponse:
    """Calls, cost, speed and errors of the last 14 days; what is wrong; what is set up."""
    today = datetime.now(UTC).date()
    summary = usage.summary(request.tenant, first_day=today - timedelta(days=DAYS - 1), last_day=today)
    assistants = Assistant.objects.within(request.tenant).select_related("prompt").order_by("name")[:SHOWN]
    collections = list(Collection.objects.within(request.tenant).order_by("-created_at")[:SHOWN])
    count_documents(collections)
    words = {
        "tiles": tiles(summary, failed=to(request, "calls") + f"?outcome=failed&since={summary.first_day}"),
        "concerns": list(concerns(request, summary.total)),
        "assistants": assistants,
        "collections": collections,
        "releases": Release.objects.within(request.tenant).select_related("prompt", "version").order_by("-released_at")[:SHOWN],
        "has_calls": summary.total.calls > 0,
        "days": DAYS,
    }
    return render(request, "console/overview.html", words)


def tiles(summary: Summary, *, failed: str) -> list[Tile]:
    """The four numbers that say whether all is well; `failed` is the address of the calls that did."""
    total, days = summary.total, [used for _day, used in summary.by_day()]

    def line(number: Callable[[Used], Any]) -> Spark:
        return spark([None if number(used) is None else float(number(used)) for used in days])

    unpriced = ngettext("%(n)d call without a known price", "%(n)d calls without a known price", total.unpriced) % {"n": total.unpriced}
    return [
        Tile(gettext_lazy("Calls"), grouped(total.calls), line(lambda used: used.calls)),
        Tile(gettext_lazy("Cost"), usd(total.cost), line(lambda used: used.cost), unpriced if total.unpriced else ""),
        Tile(
            gettext_lazy("Time to first token, p95"),
            milliseconds(total.first_token_ms_p95),
            line(lambda used: used.first_token_ms_p95),
        ),
        Tile(
            gettext_lazy("Errors"),
            percent(share_of_errors(total)),
            line(share_of_errors),
            gettext("%(errors)s of %(calls)s calls") % {"errors": grouped(total.errors), "calls": grouped(total.calls)},
            failed,
        ),
    ]


def share_of_errors(used: Used) -> float | None:
    """Failed calls among all; None where there were none."""
    return used.errors / used.calls if used.calls else None


def concerns(request: TenantRequest, total: Used) -> Iterator[Concern]:
    """What is wrong or soon will be, worst first."""
    now, tenant = timezone.now(), request.tenant
    if (share := share_of_errors(total)) is not None and share >= HIGH_ERROR_SHARE:
        words = gettext("%(share)s of all calls fail.") % {"share": percent(share)}
        yield Concern("bad", words, to(request, "usage") + "?measure=calls&by=model", gettext("See which models"))
    unreleased = Assistant.objects.within(tenant).exclude(
        id__in=[assistant.id for assistant in Assistant.objects.within(tenant).filter(prompt__releases__label="production")]
    )
    for assistant in unreleased.select_related("prompt")[:SHOWN]:
        if assistant.label == "production":
            words = gettext("“%(name)s” cannot answer: nothing of its prompt is released.") % {"name": assistant.name}
            yield Concern("bad", words, to(request, "prompt", prompt=assistant.prompt.slug), gettext("Release a version"))
    yield from _concerns_of_documents(request, now)
    yield from _concerns_of_keys(request, now)
    if not Prompt.objects.within(tenant).exists():
        yield Concern("info", gettext("There is no prompt yet."), to(request, "new_prompt"), gettext("Write one"))


def _concerns_of_documents(request: TenantRequest, now: datetime) -> Iterator[Concern]:
    documents = Document.objects.within(request.tenant)
    stuck = documents.filter(status__in=["queued", "processing"], updated_at__lt=now - STUCK_AFTER).count()
    if stuck:
        words = ngettext("%(n)d document waits for more than half an hour.", "%(n)d documents wait for more than half an hour.", stuck)
        yield Concern("warn", words % {"n": stuck}, to(request, "collections"), gettext("Look at the collections"))
    by_collection = documents.filter(status="failed").values_list("collection__slug", "collection__name").annotate(number=Count("*"))
    for slug, name, failed in by_collection.order_by("collection__slug")[:SHOWN]:
        words = ngettext("%(n)d document of “%(name)s” could not be read.", "%(n)d documents of “%(name)s” could not be read.", failed)
        href = to(request, "collection", collection=slug) + "?status=failed"
        yield Concern("warn", words % {"n": failed, "name": name}, href, gettext("See why"))


def _concerns_of_keys(request: TenantRequest, now: datetime) -> Iterator[Concern]:
    live = ApiKey.objects.within(request.tenant).filter(revoked_at=None)
    expiring = live.filter(expires_at__gt=now, expires_at__lt=now + EXPIRES_SOON).count()
    if expiring:
        words = ngettext("%(n)d key expires within two weeks.", "%(n)d keys expire within two weeks.", expiring)
        yield Concern("warn", words % {"n": expiring}, to(request, "keys") + "?sort=expires", gettext("Make its successor"))
