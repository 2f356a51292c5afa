"""Which calls an address bar asks for: `?model=small&key=…&outcome=failed&unit=carol&period=24h&cursor=…`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext_lazy

from apps.console import addresses
from apps.gateway.capture.finding import OUTCOMES, Wanted
from apps.gateway.cursor import Cursor
from menhir.errors import Invalid

PERIODS = {
    "1h": (timedelta(hours=1), gettext_lazy("1 hour")),
    "24h": (timedelta(hours=24), gettext_lazy("24 hours")),
    "7d": (timedelta(days=7), gettext_lazy("7 days")),
    "30d": (timedelta(days=30), gettext_lazy("30 days")),
}
DEFAULT_PERIOD = "7d"
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
MOST_CHARACTERS = 300
FILTERS = ("model", "key", "outcome", "unit")


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked for; what makes no sense in the address bar is as if it were not there."""

    wanted: Wanted
    period: str
    cursor: Cursor | None
    params: QueryDict

    @classmethod
    def of(cls, request: HttpRequest, *, now: datetime) -> Filter:
        """Read the address bar. `since` (a day or a moment) goes before `period`; `parts=1` shows legs and shadows, too."""
        said = {name: request.GET.get(name, "").replace("\x00", "").strip()[:MOST_CHARACTERS] for name in (*FILTERS, "period", "parts")}
        since = _moment(request.GET.get("since", ""))
        period = "" if since is not None else said["period"] if said["period"] in PERIODS else DEFAULT_PERIOD
        wanted = Wanted(
            since=since or now - PERIODS[period][0],
            model=said["model"] or None,
            key=_uuid(said["key"]),
            outcome=said["outcome"] if said["outcome"] in OUTCOMES else None,
            unit=said["unit"] or None,
            whole=said["parts"] != "1",
        )
        return cls(wanted, period, _cursor(request.GET.get("cursor", "")), request.GET)

    @property
    def narrows(self) -> bool:
        """Whether anything is asked for but a stretch of time."""
        wanted = self.wanted
        return any(value is not None for value in (wanted.model, wanted.key, wanted.outcome, wanted.unit))

    @property
    def periods(self) -> list[tuple[str, object, str]]:
        """The stretches to choose from, with their addresses."""
        return [(key, words, self.address(period=key, since="", cursor="")) for key, (_length, words) in PERIODS.items()]

    @property
    def carried(self) -> list[tuple[str, str]]:
        """What the form must carry on, beside its fields."""
        return [(name, str(self.params[name])) for name in ("period", "since") if self.params.get(name)]

    @property
    def newest(self) -> str:
        """The address of the first page."""
        return self.address(cursor="")

    @property
    def csv(self) -> str:
        """The address of all of them as a file."""
        return self.address(cursor="", format="csv")

    @property
    def cleared(self) -> str:
        """The address without any filter but the stretch of time."""
        return self.address(cursor="", parts="", **dict.fromkeys(FILTERS, ""))

    def address(self, **changes: str) -> str:
        """The list's address with some parameters changed; an empty one is left out."""
        return addresses.changed(self.params, **changes)


def _moment(written: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(written.replace(" ", "+"))  # a plus sign that nobody escaped
    except ValueError:
        return None
    return max(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC), EARLIEST)


def _uuid(written: str) -> UUID | None:
    try:
        return UUID(written)
    except ValueError:
        return None


def _cursor(written: str) -> Cursor | None:
    try:
        return Cursor.read(written) if written else None
    except Invalid:
        return None
