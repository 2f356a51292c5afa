"""The ledger's rows as people read them: who called, how it ended in a word, and all of them as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import StreamingHttpResponse
from django.utils.translation import gettext, gettext_lazy

from apps.console.listing import EXPORT_ROWS, cell
from apps.gateway.capture.finding import Wanted, settlements
from apps.gateway.cursor import Cursor
from menhir.metering.models import Call, Settlement
from menhir.tenancy.models import ApiKey, Membership, Tenant
from menhir.tenancy.transaction import tenant_transaction

CACHE = "cache"
"""Who is said to have answered when no upstream was asked."""
EXPORT_BATCH_ROWS = 1_000
HEADS = [
    *("id", "opened_at", "operation", "model", "route", "api_key_id", "key", "user_id", "unit", "stream", "parent_id"),
    *("outcome", "status", "error_code", "provider", "upstream_model", "attempts", "cached"),
    *("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "first_token_ms", "latency_ms"),
]


class Ending(NamedTuple):
    """How a call ended: in a word, with a colour and a sign."""

    words: Any
    colour: str
    sign: str


ENDINGS = {
    "completed": Ending(gettext_lazy("completed"), "good", "check"),
    "failed": Ending(gettext_lazy("failed"), "bad", "warning"),
    "cancelled": Ending(gettext_lazy("cancelled"), "", "stop"),
    "interrupted": Ending(gettext_lazy("interrupted"), "warn", "warning"),
    "unsettled": Ending(gettext_lazy("under way"), "accent", "clock"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A call with how it ended and who made it."""

    call: Call
    settlement: Settlement | None
    who: str
    unit: str
    """Whose call it was among the callers of one key; empty when `who` says it already."""

    @property
    def ending(self) -> Ending:
        """How it ended."""
        return ENDINGS[self.settlement.outcome if self.settlement is not None else "unsettled"]

    @property
    def numbers(self) -> Settlement:
        """What was counted; each is None while the call is under way."""
        return self.settlement or Settlement()

    @property
    def is_cached(self) -> bool:
        """Whether no upstream was asked."""
        return self.settlement is not None and self.settlement.provider == CACHE

    @property
    def traits(self) -> list[str]:
        """What else is worth a word: by which route when it was asked for by another name, a leg, streamed, from the cache."""
        call = self.call
        said = [gettext("by %(route)s") % {"route": call.route}] if call.route != call.model else []
        kinds = (
            (call.parent_id, gettext("leg or shadow")),
            (call.stream, gettext("streamed")),
            (self.is_cached, gettext("from the cache")),
        )
        return [*said, *(words for is_so, words in kinds if is_so)]


def shown(tenant: Tenant, calls: Sequence[Call]) -> list[Shown]:
    """Calls with their endings and the names of who made them."""
    ended = settlements(tenant, calls)
    keys = names_of_keys(tenant, calls)
    people = _names_of_people(tenant, {call.user_id for call in calls if call.user_id is not None})
    return [Shown(call, ended.get(call.id), _who(call, keys, people), _unit(call)) for call in calls]


def names_of_keys(tenant: Tenant | UUID, calls: Sequence[Call]) -> dict[UUID, str]:
    """The names of the keys that made them."""
    ids = {call.api_key_id for call in calls if call.api_key_id is not None}
    return dict(ApiKey.objects.within(tenant).filter(id__in=ids).values_list("id", "name")) if ids else {}


def export(tenant_id: UUID, wanted: Wanted, *, most_rows: int = EXPORT_ROWS) -> StreamingHttpResponse:
    """The calls as a CSV file, the newest 100,000 of them, sent while they are read."""
    response = StreamingHttpResponse(_lines(tenant_id, wanted, most_rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="calls.csv"'
    return response


async def _lines(tenant_id: UUID, wanted: Wanted, most_rows: int) -> AsyncIterator[str]:
    # A batch is read in a transaction of its own: a file that somebody takes slowly holds neither memory nor a connection.
    yield _written([HEADS])
    cursor, left = None, most_rows
    while left > 0:
        rows, cursor = await sync_to_async(_batch)(tenant_id, wanted, cursor, min(left, EXPORT_BATCH_ROWS))
        if rows:
            yield _written(rows)
        if cursor is None:
            return
        left -= len(rows)


def _batch(tenant_id: UUID, wanted: Wanted, cursor: Cursor | None, most_rows: int) -> tuple[list[list[Any]], Cursor | None]:
    try:
        with tenant_transaction(tenant_id):
            tenant = Tenant(id=tenant_id)
            found = wanted.of(tenant)
            if cursor is not None:
                found = found.filter(cursor.after("opened_at"))
            calls = list(found[:most_rows])
            ended, keys = settlements(tenant, calls), names_of_keys(tenant, calls)
    finally:
        connection.close()
    rows = [_row(call, ended.get(call.id), keys) for call in calls]
    return rows, Cursor(calls[-1].opened_at, calls[-1].id) if len(calls) == most_rows else None


def _row(call: Call, settlement: Settlement | None, keys: dict[UUID, str]) -> list[Any]:
    key = keys.get(call.api_key_id) if call.api_key_id is not None else None
    opened = [call.id, call.opened_at, call.operation, call.model, call.route, call.api_key_id, key]
    opened += [call.user_id, call.unit, call.stream, call.parent_id]
    if settlement is None:
        return [*opened, "unsettled", *[None] * (len(HEADS) - len(opened) - 1)]
    ended = settlement
    return [
        *(*opened, ended.outcome, ended.status, ended.error_code, ended.provider, ended.upstream_model, ended.attempts),
        *(ended.provider == CACHE, ended.input_tokens, ended.cached_input_tokens, ended.output_tokens, ended.reasoning_tokens),
        *(format(ended.cost, "f"), ended.first_token_ms, ended.latency_ms),
    ]


def _written(rows: Sequence[Sequence[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows([cell(value) for value in row] for row in rows)
    return file.getvalue()


def _names_of_people(tenant: Tenant, ids: set[UUID]) -> dict[UUID, str]:
    members = Membership.objects.within(tenant).filter(user_id__in=ids).select_related("user") if ids else ()
    return {membership.user_id: membership.user.display_name for membership in members}


def _who(call: Call, keys: dict[UUID, str], people: dict[UUID, str]) -> str:
    if call.api_key_id is not None:
        return keys.get(call.api_key_id) or gettext("a key that is gone")
    if call.user_id is not None:
        return people.get(call.user_id) or gettext("somebody who has left")
    return gettext("an end user") if call.unit else gettext("the platform itself")


def _unit(call: Call) -> str:
    return call.unit if call.unit and call.unit != str(call.user_id) else ""
