"""A process whose one consumer sends back what its group hears. Takes the group's name; prints `ready`."""

from __future__ import annotations

import asyncio
import sys

from menhir.realtime.layer import PostgresChannelLayer


async def main(group: str) -> None:
    layer = PostgresChannelLayer()
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    print("ready", flush=True)
    while True:
        message = await layer.receive(channel)
        await layer.send(message["reply"], {"n": message["n"]})


asyncio.run(main(sys.argv[1]))
