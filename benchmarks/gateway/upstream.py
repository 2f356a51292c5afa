"""A model server as small as one can be: it reads a request, counts it, and gives the same answer again, whole or as a stream.

    python benchmarks/gateway/upstream.py --port 9100

`GET /count` says how many completions it gave. It is much faster than what it measures, so that it is not what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json

import uvloop

ANSWER = json.dumps(
    {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Open the console, choose Keys, and press New key. " * 4, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 120,
            "completion_tokens": 48,
            "total_tokens": 168,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
).encode()


def response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


COMPLETION = response(ANSWER)

CHUNKS = 50
GAP_SECONDS = 0.02
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(**members: object) -> bytes:
    chunk = {"id": "chatcmpl-benchmark", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o-mini-2024-07-18"}
    return framed(b"data: " + json.dumps({**chunk, **members}).encode() + b"\n\n")


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


TOKEN = event(choices=[{"index": 0, "delta": {"content": " Keys"}, "finish_reason": None}], usage=None)
LAST = (
    event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None)
    + event(choices=[], usage={"prompt_tokens": 20, "completion_tokens": CHUNKS, "total_tokens": 20 + CHUNKS})
    + framed(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


class Peer(asyncio.Protocol):
    """One connection, kept alive, one request after the other."""

    given = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            if head.startswith(b"get /count"):
                self.transport.write(response(b"%d" % Peer.given))
                continue
            Peer.given += 1
            if b'"stream":true' in body.replace(b" ", b""):
                self.began = asyncio.get_running_loop().time()
                self.transport.write(STREAM_HEAD + TOKEN)
                self.go_on(1)
            else:
                self.transport.write(COMPLETION)

    def go_on(self, sent: int) -> None:
        """Send the rest of a stream, each chunk at its time by the clock, so that lateness does not add up."""
        loop = asyncio.get_running_loop()
        if self.transport.is_closing():
            return
        if sent == CHUNKS:
            self.transport.write(LAST)
            return
        loop.call_at(self.began + sent * GAP_SECONDS, self.next, sent)

    def next(self, sent: int) -> None:
        self.transport.write(TOKEN)
        self.go_on(sent + 1)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))
