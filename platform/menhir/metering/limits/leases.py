"""The exchange with Postgres: what this process knows of its slices, for what it may have. One statement for any number of meters.

It is written so that it may be repeated: what was spent and what is held are told absolutely, so an answer lost on its way costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from menhir.metering.limits.meters import MONEY, Amount, Granted, Slice
from menhir.postgres import sql
from menhir.postgres.line import Line

LEASE = sql.load("menhir.metering", "lease")

_encode = msgspec.json.Encoder(decimal_format="string").encode


class Ask(msgspec.Struct):
    """What is asked of one meter: `need` for all who wait, of whom the most modest wants `least`; `want` if there is plenty."""

    piece: Slice
    need: Amount
    least: Amount
    want: Amount
    is_over: bool = False
    """As far as this process knows, the window has ended."""
    answers: bool = False
    """Somebody waits to hear that this was given back."""
    final: bool = False


class Reached(msgspec.Struct, frozen=True):
    """A limit that has just come to so many per cent."""

    tenant_id: UUID
    limit_id: UUID
    subject: str
    percent: int
    spent: Decimal
    amount: Decimal

    def said(self) -> dict[str, Any]:
        """As it goes into the log."""
        return {
            "tenant_id": str(self.tenant_id),
            "limit_id": str(self.limit_id),
            "subject": self.subject,
            "percent": self.percent,
            "spent": f"{self.spent:f}",
            "amount": f"{self.amount.normalize():f}",
        }


async def exchange(
    line: Line, asks: Sequence[Ask], *, process_id: UUID, now: float, at: datetime | None = None
) -> tuple[list[Slice], list[Reached]]:
    """Ask, and let every slice learn what was said; gives the slices whose limit is gone, and what was reached.

    `now` is when it was asked, on this process's clock; `at` overrides the clock of Postgres.
    """
    payload = [_told(number, ask) for number, ask in enumerate(asks)]
    debts = [ask.piece.debt for ask in asks]
    rows = await line.all(LEASE, process=process_id, asks=Jsonb(payload, dumps=_encode), at=at)
    gone: list[Slice] = []
    reached: list[Reached] = []
    for row in rows:
        ask, piece = asks[row.n], asks[row.n].piece
        if row.state == "gone":
            piece.forget()
            gone.append(piece)
            continue
        piece.said = payload[row.n]["total"]
        if row.pending and piece.since is None:
            piece.since = row.asked_at.isoformat()
        said = _granted(row, money=piece.kind == MONEY)
        piece.take_in(said, need=ask.need, least=ask.least, debt=debts[row.n], asked=now, final=ask.final)
        if row.percent:
            reached.append(Reached(piece.tenant_id, piece.limit_id, piece.subject, row.percent, row.spent, row.amount))
    return gone, reached


def _told(number: int, ask: Ask) -> dict[str, Any]:
    piece = ask.piece
    return {
        "n": number,
        "tenant_id": piece.tenant_id,
        "limit_id": piece.limit_id,
        "subject": piece.subject,
        "turn": piece.turn,
        "epoch": piece.epoch,
        "total": piece.total,
        "keep": piece.keep,
        "busy": piece.busy + max(ask.need, piece.zero),
        "is_over": ask.is_over,
        "least": ask.least,
        "need": ask.need,
        "want": ask.want,
        "since": piece.since,
        "answers": ask.answers,
    }


def _granted(row: Any, *, money: bool) -> Granted:
    def of(value: Decimal) -> Amount:
        return value if money else int(value)

    return Granted(
        state=row.state,
        turn=row.turn,
        epoch=row.epoch,
        told=of(row.told),
        granted=of(row.granted),
        amount=of(row.amount),
        room=of(row.room),
        others=of(row.others),
        pending=row.pending,
        seconds=row.seconds,
    )
