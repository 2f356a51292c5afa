"""What a tenant used and what it cost: one statement over the ledger, for the JSON API, the console's chart and its totals."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, get_args
from uuid import UUID

from django.db import connection
from psycopg import RawCursor
from psycopg.rows import namedtuple_row

from menhir.errors import Invalid
from menhir.postgres import sql
from menhir.tenancy.models import ApiKey, Tenant
from menhir.tenancy.transaction import id_of

Dimension = Literal["day", "model", "key", "user", "route", "provider", "assistant", "prompt_version"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
BY_DAY: tuple[Dimension, ...] = ("day",)
MOST_DAYS = 366

USAGE = sql.load(__package__, "usage")


@dataclass(frozen=True, slots=True)
class Used:
    """The calls of one group: of a day, a model, a key, a user, …, of several of these, or all.

    `errors` are calls that failed or whose process died; `unsettled` are under way; `unpriced` used tokens of a model without a known
    price, so that `cost` (USD, exact) says too little. Tokens are counted as OpenAI does: cached ones are part of the input,
    reasoning ones of the output. `first_token_ms_p95` is the 95th percentile over streamed calls, None where there was none.
    """

    calls: int = 0
    errors: int = 0
    cancelled: int = 0
    unsettled: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Decimal = Decimal(0)
    first_token_ms_p95: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """What the calls of `used` have in common; None for what was not grouped by, and for what a call does not have: the key of one that a
    person made, the user of one that named nobody, the provider of one that nobody answered. A provider `cache` is no provider's.

    `user` is whose call it was among the callers of one key, or a person's id; `model` is the name that was called, `route` where it led.
    """

    day: date | None
    model: str | None
    key_id: UUID | None
    key: str | None
    user: str | None
    route: str | None
    provider: str | None
    assistant_id: UUID | None
    prompt_version_id: UUID | None
    used: Used


@dataclass(frozen=True, slots=True)
class Summary:
    """A stretch of days, both included (UTC)."""

    first_day: date
    last_day: date
    groups: tuple[Group, ...]
    total: Used

    def by_day(self) -> list[tuple[date, Used]]:
        """Each day of the stretch, those without calls too, as a chart wants it; for a summary grouped by day alone."""
        found = {group.day: group.used for group in self.groups}
        days = (self.first_day + timedelta(days=count) for count in range((self.last_day - self.first_day).days + 1))
        return [(day, found.get(day, Used())) for day in days]


def summary(tenant: Tenant | UUID, *, first_day: date, last_day: date, group_by: Collection[Dimension] = BY_DAY) -> Summary:
    """A tenant's usage from the first day to the last, both included; runs inside the tenant's transaction.

    Raises Invalid when the stretch runs backwards or over more than 366 days.
    """
    if last_day == date.max or not 0 <= (last_day - first_day).days < MOST_DAYS:
        raise Invalid(f"`to` must not be before `from`, and at most {MOST_DAYS} days may be asked for at once.", param="to")
    values = {
        "tenant_id": id_of(tenant),
        "since": _midnight(first_day),
        "until": _midnight(last_day + timedelta(days=1)),
        **{f"by_{dimension}": dimension in group_by for dimension in DIMENSIONS},
    }
    connection.ensure_connection()
    with RawCursor(connection.connection, row_factory=namedtuple_row) as cursor:
        rows: list[Any] = cursor.execute(USAGE.text.encode(), [values[name] for name in USAGE.names]).fetchall()
    names = _names_of_keys(tenant, [row.key_id for row in rows if row.key_id is not None])
    groups = tuple(_group(row, names) for row in rows if not row.total)
    total = next((_used(row) for row in rows if row.total), Used())
    return Summary(first_day, last_day, groups, total)


def dimensions(wanted: str) -> tuple[Dimension, ...]:
    """The dimensions of a comma-separated list; raises Invalid for others.

    >>> dimensions("day, model")
    ('day', 'model')
    """
    asked = {word.strip() for word in wanted.split(",") if word.strip()}
    if unknown := asked - set(DIMENSIONS):
        raise Invalid(f"`group_by` knows {', '.join(DIMENSIONS)}; not {', '.join(sorted(unknown))}.", param="group_by")
    return tuple(dimension for dimension in DIMENSIONS if dimension in asked)


def _names_of_keys(tenant: Tenant | UUID, ids: Collection[UUID]) -> dict[UUID, str]:
    return dict(ApiKey.objects.within(tenant).filter(id__in=ids).values_list("id", "name")) if ids else {}


def _group(row: Any, names: dict[UUID, str]) -> Group:
    return Group(
        day=row.day,
        model=row.model,
        key_id=row.key_id,
        key=names.get(row.key_id),
        user=row.unit,
        route=row.route,
        provider=row.provider,
        assistant_id=row.assistant_id,
        prompt_version_id=row.prompt_version_id,
        used=_used(row),
    )


def _used(row: Any) -> Used:
    return Used(**{name: getattr(row, name) for name in Used.__dataclass_fields__})


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)
