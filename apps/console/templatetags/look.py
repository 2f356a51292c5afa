"""What every template may say: an icon, a relative time, a sum of money, a grouped number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.conf import settings
from django.template import Context
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language_info, gettext, ngettext

register = template.Library()

SMALLEST_SHOWN_USD = Decimal("0.0001")
NOTHING = "\N{EN DASH}"


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """One icon of the sprite; silent to screen readers unless it has a label."""
    href = f"{static('icons.svg')}#{name}"
    if label:
        return format_html('<svg class="icon" role="img" aria-label="{}"><use href="{}"></use></svg>', label, href)
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"></use></svg>', href)


@register.filter
def since(moment: datetime | None) -> str:
    """A `<time>` that says how long ago or how far ahead, with the exact time on hover."""
    if moment is None:
        return NOTHING
    exact = f"{date_format(moment.astimezone(UTC), 'DATETIME_FORMAT')} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, relative(moment, now=timezone.now()))


def relative(moment: datetime, *, now: datetime) -> str:
    """The distance from now to the moment in the one unit that matters; a date when it is more than a month away.

    >>> from datetime import UTC, datetime, timedelta
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> relative(noon - timedelta(seconds=20), now=noon), relative(noon - timedelta(minutes=90), now=noon)
    ('just now', '1 hour ago')
    >>> relative(noon + timedelta(days=3), now=noon)
    'in 3 days'
    """
    distance = abs(now - moment)
    if distance < timedelta(minutes=1):
        return gettext("just now") if moment <= now else gettext("in a moment")
    if distance >= timedelta(days=31):
        return date_format(moment, "DATE_FORMAT")
    if distance < timedelta(hours=1):
        count = int(distance.total_seconds() // 60)
        past, future = ngettext("%(n)d minute ago", "%(n)d minutes ago", count), ngettext("in %(n)d minute", "in %(n)d minutes", count)
    elif distance < timedelta(days=1):
        count = int(distance.total_seconds() // 3600)
        past, future = ngettext("%(n)d hour ago", "%(n)d hours ago", count), ngettext("in %(n)d hour", "in %(n)d hours", count)
    else:
        count = distance.days
        past, future = ngettext("%(n)d day ago", "%(n)d days ago", count), ngettext("in %(n)d day", "in %(n)d days", count)
    return (past if moment <= now else future) % {"n": count}


@register.filter
def usd(amount: Decimal | float | None) -> str:
    """Dollars with their currency; four places below a dollar, where tokens live.

    >>> usd(Decimal("1234.5")), usd(Decimal("0.01234")), usd(Decimal("0.00001")), usd(Decimal(0))
    ('$1,234.50', '$0.0123', '< $0.0001', '$0.00')
    """
    if amount is None:
        return NOTHING
    amount = Decimal(amount)
    if not amount:
        return "$0.00"
    if amount < SMALLEST_SHOWN_USD:
        return f"< ${number_format(SMALLEST_SHOWN_USD)}"
    places = 2 if amount >= 1 else 4
    return f"${number_format(amount, decimal_pos=places, use_l10n=True, force_grouping=True)}"


@register.filter
def grouped(number: float | None) -> str:
    """A whole number with its thousands grouped.

    >>> grouped(1234567)
    '1,234,567'
    """
    return NOTHING if number is None else number_format(number, decimal_pos=0, use_l10n=True, force_grouping=True)


@register.filter
def percent(share: float | None) -> str:
    """A share of one as percent, with one place below ten.

    >>> percent(0.0123), percent(0.5), percent(0)
    ('1.2 %', '50 %', '0 %')
    """
    if share is None:
        return NOTHING
    hundredth = share * 100
    places = 1 if 0 < hundredth < 10 else 0  # noqa: PLR2004
    return f"{number_format(hundredth, decimal_pos=places, use_l10n=True)} %"


@register.filter
def milliseconds(duration: float | None) -> str:
    """A duration as one reads it: milliseconds below a second, else seconds.

    >>> milliseconds(240), milliseconds(1530)
    ('240 ms', '1.5 s')
    """
    if duration is None:
        return NOTHING
    if duration < 1000:  # noqa: PLR2004
        return f"{number_format(duration, decimal_pos=0)} ms"
    return f"{number_format(duration / 1000, decimal_pos=1)} s"


@register.filter
def initial(name: str) -> str:
    """The first letter, for an avatar."""
    return name.strip()[:1] or "?"


@register.simple_tag(takes_context=True)
def to(context: Context, name: str, **arguments: Any) -> str:
    """The address of a console page in the tenant one is in: `{% to "keys" %}`."""
    return reverse(f"console:{name}", kwargs={"tenant": context["tenant"].slug, **arguments})


@register.simple_tag
def other_languages(current: str) -> list[tuple[str, str]]:
    """The languages one could switch to, each by its own name."""
    return [(code, get_language_info(code)["name_local"]) for code, _name in settings.LANGUAGES if code != current]
