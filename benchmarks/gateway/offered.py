"""A steady rate of calls, each sent when its time has come whether or not the ones before were answered (an open loop).

    BENCH_KEY=mh_live_… python benchmarks/gateway/offered.py http://127.0.0.1:8000/v1/chat/completions --rate 100 --seconds 10

A closed loop, in which a slow answer makes the next question wait, hides exactly the latencies that are of interest here ("coordinated
omission"). A latency is counted from the moment a call was due. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import deque
from urllib.parse import urlsplit

import uvloop
from streams import share

PATIENCE_SECONDS = 30.0
BODY = json.dumps(
    {
        "model": "gpt-4o-mini",
        "max_tokens": 256,
        "messages": [
            {"role": "system", "content": "You answer questions about the product, briefly and only from its documentation."},
            {"role": "user", "content": "How do I create an API key, who may see it, and what happens when I revoke it?"},
        ],
    }
).encode()


class Line(asyncio.Protocol):
    """A kept connection: one call at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.answered: asyncio.Future[int] | None = None

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Send a request; gives its status when the whole answer is here."""
        self.answered = asyncio.get_running_loop().create_future()
        self.seen, self.length = b"", -1
        self.transport.write(request)
        return self.answered

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if self.length < 0 and (end := self.seen.find(b"\r\n\r\n")) >= 0:
            head = self.seen[:end].lower()
            if b"content-length:" in head:
                self.length = end + 4 + int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        whole = len(self.seen) >= self.length if self.length >= 0 else self.seen.endswith(b"\r\n0\r\n\r\n")
        if whole and self.answered is not None and not self.answered.done():
            self.answered.set_result(int(self.seen[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(exc or ConnectionError("cut"))


async def measured(url: str, *, key: str, rate: float, seconds: float) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    to = urlsplit(url)
    head = f"POST {to.path} HTTP/1.1\r\nHost: {to.netloc}\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
    request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    free: deque[Line] = deque()
    took: list[float] = []
    failed = 0

    async def one(due: float) -> None:
        nonlocal failed
        line = free.popleft() if free else (await loop.create_connection(Line, to.hostname, to.port))[1]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                status = await line.ask(request)
        except (OSError, TimeoutError):
            failed += 1
            return
        failed += status != 200
        took.append(time.perf_counter() - due)
        free.append(line)

    began = time.perf_counter()
    calls = []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        calls.append(loop.create_task(one(due)))
    await asyncio.gather(*calls)
    took.sort()
    return {
        "calls": len(calls),
        "failed": failed,
        "p50_ms": share(took, 0.5) * 1000,
        "p99_ms": share(took, 0.99) * 1000,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    key = os.environ.get("BENCH_KEY", "none")
    print(json.dumps(uvloop.run(measured(options.url, key=key, rate=options.rate, seconds=options.seconds))))
