"""One of the two processes of `roundtrip.py`: told what to do line by line on stdin, answers each with a line of JSON."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from menhir.postgres import pools
from menhir.postgres.listener import listener
from menhir.realtime.journal import journal
from menhir.realtime.layer import PostgresChannelLayer


class Client:
    """A consumer that answers whoever asks, and asks its counterpart in the other process."""

    def __init__(self, layer: PostgresChannelLayer, *, here: str, there: str, number: int) -> None:
        self.layer, self.here, self.there = layer, f"bench-{here}-{number}", f"bench-{there}-{number}"
        self.answers: asyncio.Queue[int] = asyncio.Queue()
        self.joined = asyncio.Event()

    async def attend(self) -> None:
        channel = await self.layer.new_channel()
        await self.layer.group_add(self.here, channel)
        self.joined.set()
        while True:
            message = await self.layer.receive(channel)
            if "ask" in message:
                await self.layer.group_send(self.there, {"answer": message["ask"]})
            else:
                self.answers.put_nowait(message["answer"])

    async def ask(self, number: int) -> float:
        """Milliseconds until the answer to a question has come."""
        began = time.monotonic()
        await self.layer.group_send(self.there, {"ask": number})
        while await asyncio.wait_for(self.answers.get(), 10) != number:
            pass
        return (time.monotonic() - began) * 1000

    async def ask_steadily(self, *, every: float, seconds: float) -> list[float]:
        """Ask once in each period, at a moment of its own."""
        found, begin, number = [], time.monotonic() + random.random() * every, 0
        while begin + number * every < begin + seconds:
            await asyncio.sleep(max(0.0, begin + number * every - time.monotonic()))
            found.append(await self.ask(number))
            number += 1
        return found


@asynccontextmanager
async def clients(here: str, there: str, count: int) -> AsyncIterator[list[Client]]:
    layer = PostgresChannelLayer()
    found = [Client(layer, here=here, there=there, number=number) for number in range(count)]
    tasks = [asyncio.create_task(client.attend()) for client in found]
    await asyncio.gather(*(client.joined.wait() for client in found))
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await layer.close()


async def layer_phase(here: str, there: str, *, count: int, every: float, seconds: float) -> dict[str, Any]:
    async with clients(here, there, count) as found:
        await barrier()
        cpu = cpu_seconds()
        samples = await asyncio.gather(*(client.ask_steadily(every=every, seconds=seconds) for client in found))
        used = cpu_seconds() - cpu
        await barrier()
    return {"samples": [round(sample, 3) for row in samples for sample in row], "cpu": used}


async def journal_phase(here: str, there: str, *, tenant: str, runs: int, readers: int, every: float, seconds: float) -> dict[str, Any]:
    """Side `a` writes; `b` follows, and measures from append to the follower's hands."""
    if here == "a":
        writing = [await journal.begin(UUID(tenant), f"bench:{number}") for number in range(runs)]
        answer({"runs": [str(run.id) for run in writing]})
        await line()

        async def write(run: Any) -> None:
            await asyncio.sleep(random.random() * every)
            for _ in range(int(seconds / every)):
                await run.append({"kind": "text", "text": "word ", "at": time.monotonic()})
                await asyncio.sleep(every)
            await run.end("completed")

        cpu = cpu_seconds()
        await asyncio.gather(*map(write, writing))
        return {"cpu": cpu_seconds() - cpu}

    run_ids = (await line())["runs"]
    samples: list[float] = []

    async def read(run_id: str) -> None:
        async for _, event in journal.follow(UUID(tenant), UUID(run_id)):
            if "at" in event:
                samples.append((time.monotonic() - event["at"]) * 1000)

    reading = [asyncio.create_task(read(run_id)) for run_id in run_ids for _ in range(readers)]
    await asyncio.sleep(0.5)
    answer({"following": len(reading)})
    cpu = cpu_seconds()
    await asyncio.gather(*reading)
    return {"samples": [round(sample, 3) for sample in samples], "cpu": cpu_seconds() - cpu}


PHASES: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {"layer": layer_phase, "journal": journal_phase}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def answer(value: object) -> None:
    print("#" + json.dumps(value), flush=True)


async def line() -> Any:
    return json.loads(await asyncio.to_thread(sys.stdin.readline) or "null")


async def barrier() -> None:
    """Wait until the other side is as far."""
    answer("ready")
    await line()


async def main(here: str, there: str) -> None:
    await pools.open_all()
    await listener.start()
    await journal.start()
    answer("up")
    while order := await line():
        answer(await PHASES[order.pop("phase")](here, there, **order))
    await journal.stop()
    await listener.stop()
    await pools.close_all()


asyncio.run(main(*sys.argv[1:3]))
