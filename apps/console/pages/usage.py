"""What was used and what it cost: a chart that states its finding, and the same as a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext, gettext_lazy, ngettext
from django.views.decorators.http import require_GET

from apps.console import charts
from apps.console.groupings import GROUPINGS
from apps.console.listing import as_csv, wants_csv
from apps.console.snippets import ApiCall
from apps.console.templatetags.look import grouped, usd
from menhir.metering import usage
from menhir.metering.usage import Dimension, Summary, Used
from menhir.tenancy.http import TenantRequest, needs_role
from menhir.tenancy.models import Tenant

DEFAULT_DAYS = 30
STRETCHES = (7, 30, 90)
MOST_LINES = 200
"""Of users there may be thousands: the page shows the dearest, the file has them all."""
CSV_HEADS = [
    *("calls", "errors", "cancelled", "unsettled", "unpriced"),
    *("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_usd"),
]
EARLIEST = date(2000, 1, 1)
"""Nothing was ever used before; what is asked about earlier days is asked about this one."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to plot: its name in the address bar, its title, how it is read from sums and how written."""

    key: str
    title: Any
    unit: Any

    def of(self, used: Used) -> Decimal | int:
        """The number."""
        numbers: dict[str, Decimal | int] = {
            "cost": used.cost,
            "calls": used.calls,
            "tokens": used.input_tokens + used.output_tokens,
        }
        return numbers[self.key]

    def written(self, value: Decimal | float) -> str:
        """The number as one reads it."""
        return usd(value) if self.key == "cost" else grouped(float(value))

    def tick(self, value: float) -> str:
        """A round number of the axis."""
        written = number_format(Decimal(f"{value:.6g}").normalize(), use_l10n=True, force_grouping=True)
        return f"${written}" if self.key == "cost" else written

    def drawn(self, chart: charts.BarChart) -> dict[str, Any]:
        """A chart with its words."""
        return {
            "chart": chart,
            "bars": [(bar, self.written(bar.value)) for bar in chart.bars],
            "ticks": [(tick, self.tick(tick.value)) for tick in chart.ticks],
        }


MEASURES = {
    "cost": Measure("cost", gettext_lazy("Cost"), gettext_lazy("US dollars a day")),
    "calls": Measure("calls", gettext_lazy("Calls"), gettext_lazy("calls a day")),
    "tokens": Measure("tokens", gettext_lazy("Tokens"), gettext_lazy("tokens a day")),
}


@require_GET
@needs_role("admin")
def page(request: TenantRequest) -> HttpResponse:
    """A stretch of days: `?from=2026-01-01&to=2026-01-31&by=model&measure=calls`."""
    first_day, last_day = stretch(request.GET.get("from", ""), request.GET.get("to", ""), today=datetime.now(UTC).date())
    by: Dimension = next((name for name in GROUPINGS if name == request.GET.get("by")), "day")
    summary = usage.summary(request.tenant, first_day=first_day, last_day=last_day, group_by=[by])
    lines = _lines(request.tenant, summary, by)
    if wants_csv(request):
        rows = [[name, *_sums(used)] for name, used in lines]
        return as_csv(f"usage-{first_day}-{last_day}-by-{by}", [by, *CSV_HEADS], rows)
    days = summary if by == "day" else usage.summary(request.tenant, first_day=first_day, last_day=last_day)
    measure = MEASURES.get(request.GET.get("measure", ""), MEASURES["cost"])
    series = [(day, float(measure.of(used))) for day, used in days.by_day()]
    chart = charts.bars(series)
    query = request.GET.copy()
    words = {
        "wide": measure.drawn(chart),
        "phone": measure.drawn(charts.bars(series, width=charts.PHONE_WIDTH)),
        "finding": finding(measure, days, chart),
        "measure": measure,
        "measures": [(one, _address(query, measure=one.key)) for one in MEASURES.values()],
        "groupings": [(name, one.title, _address(query, by=name)) for name, one in GROUPINGS.items()],
        "by": by,
        "head": GROUPINGS[by].head,
        "lines": lines if by == "day" else lines[:MOST_LINES],
        "left_out": 0 if by == "day" else max(0, len(lines) - MOST_LINES),
        "total": summary.total,
        "first_day": first_day,
        "last_day": last_day,
        "stretches": [
            (count, _address(query, **{"from": str(last_day - timedelta(days=count - 1)), "to": str(last_day)})) for count in STRETCHES
        ],
        "day_count": (last_day - first_day).days + 1,
        "csv": _address(query, format="csv"),
        "call": ApiCall("GET", f"/api/v1/usage?from={first_day}&to={last_day}&group_by={by}"),
    }
    return render(request, "console/usage/page.html", words)


def stretch(first: str, last: str, *, today: date) -> tuple[date, date]:
    """The days asked for, made sensible: in order, not beyond today, not more than a year.

    >>> stretch("", "2026-03-31", today=date(2026, 4, 2))
    (datetime.date(2026, 3, 2), datetime.date(2026, 3, 31))
    >>> stretch("nonsense", "1999-13-01", today=date(2026, 4, 2))[1]
    datetime.date(2026, 4, 2)
    """
    last_day = max(min(_day(last) or today, today), EARLIEST)
    first_day = _day(first) or last_day - timedelta(days=DEFAULT_DAYS - 1)
    if first_day > last_day:
        first_day, last_day = last_day, min(first_day, today)
    return max(first_day, last_day - timedelta(days=usage.MOST_DAYS - 1)), max(last_day, EARLIEST)


def finding(measure: Measure, days: Summary, chart: charts.BarChart) -> str:
    """What the chart shows, in a sentence."""
    count = len(chart.bars)
    highest = chart.highest
    if highest is None:
        nothing = ngettext("Nothing on this day", "Nothing in these %(n)d days", count) % {"n": count}
        return f"{measure.title}: {nothing}"
    words = {
        "measure": measure.title,
        "total": measure.written(measure.of(days.total)),
        "n": count,
        "day": date_format(highest.day, "MONTH_DAY_FORMAT"),
        "most": measure.written(highest.value),
    }
    if count == 1:
        return gettext("%(measure)s: %(total)s on %(day)s") % words
    return gettext("%(measure)s: %(total)s in %(n)d days, most on %(day)s (%(most)s)") % words


def _lines(tenant: Tenant, summary: Summary, by: Dimension) -> list[tuple[str, Used]]:
    if by == "day":
        return [(str(day), used) for day, used in reversed(summary.by_day())]
    named = GROUPINGS[by].naming(tenant, summary.groups)
    return sorted(((named(group), group.used) for group in summary.groups), key=lambda line: (-line[1].cost, -line[1].calls))


def _sums(used: Used) -> list[Any]:
    return [*(getattr(used, name) for name in CSV_HEADS[:-1]), format(used.cost, "f")]


def _day(written: str) -> date | None:
    try:
        return date.fromisoformat(written)
    except ValueError:
        return None


def _address(query: Any, **changes: str) -> str:
    changed = query.copy()
    for key, value in changes.items():
        changed[key] = value
    return f"?{changed.urlencode()}"
