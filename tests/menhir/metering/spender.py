"""Processes that spend, without a web server: forked from one that has read the settings, each with a loop, a ledger and limits of its own.

    python spender.py <unix socket> <how many>

Each connects to the socket, says who it is, and does what it is told, one JSON object a line (see `Spender`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
os.environ["DJANGO_SETTINGS_MODULE"] = "menhir.wiring.settings"

import django  # noqa: E402

django.setup()

from menhir.errors import LimitReached, Unavailable  # noqa: E402
from menhir.metering import prices  # noqa: E402
from menhir.metering.entries import Opening, Settlement, Usage  # noqa: E402
from menhir.metering.ledger import Ledger  # noqa: E402
from menhir.metering.limits import Limits  # noqa: E402
from menhir.postgres import pools  # noqa: E402
from menhir.postgres.ids import uuid7  # noqa: E402
from menhir.postgres.listener import listener  # noqa: E402

NOBODY = {"key_id": None, "user": None, "route": "r"}


class Spender:
    def __init__(self, patience: float) -> None:
        self.ledger = Ledger()
        self.limits = Limits(lambda: self.ledger.process_id, patience_seconds=patience)
        self.kept = []

    async def call(self, tenant_id: UUID, order: dict) -> str:
        """One call: hold, open, work, settle."""
        try:
            hold = await self._hold(tenant_id, order)
        except LimitReached:
            return "refused"
        except Unavailable:
            return "unavailable"
        cost = Decimal(order.get("cost", "0"))
        if order.get("ledger"):
            try:
                await self._book(tenant_id, cost)
            except Unavailable:
                hold.release()
                return "unavailable"
        if order.get("work_ms"):
            await asyncio.sleep(order["work_ms"] / 1000)
        if hold is not None:
            hold.settle(tokens=order.get("used", order.get("tokens", 0)), cost=cost)
        return "passed"

    async def _hold(self, tenant_id, order):
        caller = {**NOBODY, **order.get("caller", {})}
        meters = await self.limits.meters(tenant_id, **caller)
        return await self.limits.hold(meters, tokens=order.get("tokens", 0), money=Decimal(order.get("money", "0")))

    async def _book(self, tenant_id, cost):
        opened = datetime.now(UTC)
        opening = Opening(
            tenant_id=tenant_id, call_id=uuid7(), opened_at=opened, operation="chat", model="m", route="r", api_key_id=None, user_id=None,
            assistant_id=None, prompt_version_id=None, stream=False, estimate=cost,
        )  # fmt: skip
        await self.ledger.open(opening)
        settlement = Settlement(
            tenant_id=tenant_id, call_id=opening.call_id, opened_at=opened, settled_at=datetime.now(UTC), outcome="completed", status=200,
            provider="p", upstream_model="m", attempts=1, usage=Usage(1, 1), cost=cost, first_token_ms=None, latency_ms=1, error_code=None,
        )  # fmt: skip
        await self.ledger.settle(settlement)

    async def obey(self, order: dict) -> dict:
        if order["do"] == "stop":
            await self.limits.stop()
            await self.ledger.stop()
            return {}
        tenant_id = UUID(order["tenant"])
        if order["do"] == "take":  # and keep
            self.kept += [await self._hold(tenant_id, order) for _ in range(order["n"])]
            return {"kept": len(self.kept)}
        turn = asyncio.Semaphore(order.get("at_once", 50))

        async def one():
            async with turn:
                return await self.call(tenant_id, order)

        results = await asyncio.gather(*(one() for _ in range(order["n"])))
        return {name: results.count(name) for name in ("passed", "refused", "unavailable")}


async def live(path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    spender = Spender(float(os.environ.get("SPENDER_PATIENCE", "0.25")))
    await pools.open_all()
    await listener.start()
    await spender.ledger.start()
    await spender.limits.start()
    await listener.ready()
    writer.write(json.dumps({"pid": os.getpid(), "process_id": str(spender.ledger.process_id)}).encode() + b"\n")
    while line := await reader.readline():
        answer = await spender.obey(json.loads(line))
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
    await listener.stop()
    await pools.close_all()


def main() -> None:
    path, children = sys.argv[1], int(sys.argv[2])
    prices.load()
    pids = []
    for _ in range(children):
        pid = os.fork()
        if not pid:
            asyncio.run(live(path))
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
