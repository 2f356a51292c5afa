"""Many streams at once, as their clients see them: when the first token came, and when the end.

    BENCH_KEY=mh_live_… python benchmarks/gateway/streams.py http://127.0.0.1:8000/v1/chat/completions --at-once 100 --rounds 3

Connections are opened first; the clock of a stream starts when its request is sent. All of a round begin in the same moment, or one after
the other over `--spread` seconds, as callers who know nothing of each other do. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from urllib.parse import urlsplit

import uvloop

PATIENCE_SECONDS = 15.0
BODY = json.dumps(
    {
        "model": "gpt-4o-mini",
        "stream": True,
        "messages": [{"role": "user", "content": "How do I create an API key, and who may see it?"}],
    }
).encode()


class Client(asyncio.Protocol):
    """One stream after the other over one connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: bytes) -> None:
        self.loop = loop
        self.request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.began = 0.0

    def ask(self) -> asyncio.Future[tuple[float, float]]:
        """Send the request; gives the seconds to the first token and to the end."""
        self.ended = self.loop.create_future()
        self.tail = b""
        self.first = 0.0
        self.began = time.perf_counter()
        self.transport.write(self.request)
        return self.ended

    def data_received(self, data: bytes) -> None:
        seen = self.tail + data
        if not self.first and b'"content"' in seen:
            self.first = time.perf_counter() - self.began
        # The end of the body, not of the answer: only then the connection is free for the next.
        if seen.endswith(b"\r\n0\r\n\r\n") and b"data: [DONE]" in seen and not self.ended.done():
            self.ended.set_result((self.first, time.perf_counter() - self.began))
        self.tail = seen[-512:] if self.first else seen

    def connection_lost(self, exc: Exception | None) -> None:
        if self.began and not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("cut"))


async def measured(url: str, *, key: str, at_once: int, rounds: int, spread: float) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    to = urlsplit(url)
    head = f"POST {to.path} HTTP/1.1\r\nHost: {to.netloc}\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
    request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY

    async def client() -> Client:
        return (await loop.create_connection(lambda: Client(loop, request), to.hostname, to.port))[1]

    clients = [await client() for _ in range(at_once)]
    took: list[tuple[float, float]] = []
    for _ in range(rounds):
        asked, began = [], loop.time()
        for number, each in enumerate(clients):
            if spread and (pause := began + spread * number / at_once - loop.time()) > 0:
                await asyncio.sleep(pause)
            asked.append(each.ask())
        done, _ = await asyncio.wait(asked, timeout=PATIENCE_SECONDS)
        took += [stream.result() for stream in done if stream.exception() is None]
        for number, each in enumerate(clients):
            if asked[number] not in done or asked[number].exception() is not None:
                asked[number].cancel()
                each.transport.abort()
                clients[number] = await client()
    firsts, wholes = sorted(first for first, _ in took), sorted(whole for _, whole in took)
    return {
        "streams": len(took),
        "broken": at_once * rounds - len(took),
        "median_seconds": share(wholes, 0.5),
        "p99_seconds": share(wholes, 0.99),
        "first_median_ms": share(firsts, 0.5) * 1000,
        "first_p99_ms": share(firsts, 0.99) * 1000,
    }


def share(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--at-once", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spread", type=float, default=0.0)
    options = parser.parse_args()
    key = os.environ.get("BENCH_KEY", "none")
    print(json.dumps(uvloop.run(measured(options.url, key=key, at_once=options.at_once, rounds=options.rounds, spread=options.spread))))
