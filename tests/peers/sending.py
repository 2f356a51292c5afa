"""How the peer writes: all at once or in pieces, slowly, or cut off in the middle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from peers.script import Orders


async def send(request: web.Request, response: web.StreamResponse, events: list[bytes], orders: Orders) -> bool:
    """Write the events of a stream as ordered; whether it came to its end."""
    for number, event in enumerate(events):
        if number and orders.gap_ms:
            await asyncio.sleep(orders.gap_ms / 1000)
        if number == orders.cut:
            if orders.half:
                await response.write(event[: len(event) // 2])
            drop(request)
            return False
        async for piece in pieces(event, orders.split):
            await response.write(piece)
        if b'"error"' in event:
            return False
        if orders.alive:
            await response.write(b": still there\n\n")
    return True


async def pieces(event: bytes, size: int) -> AsyncIterator[bytes]:
    """An event in pieces of so many bytes, each in a packet of its own."""
    if not size:
        yield event
        return
    for start in range(0, len(event), size):
        yield event[start : start + size]
        await asyncio.sleep(0)


async def half(request: web.Request, data: bytes) -> web.StreamResponse:
    """Promise an answer, write half of it and cut the connection."""
    response = web.StreamResponse(headers={"content-type": "application/json", "content-length": str(len(data))})
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    drop(request)
    return response


def drop(request: web.Request) -> None:
    """Cut the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
