"""A real small embeddings server: the OpenAI wire on a real socket, and vectors that mean something without a model.

Each text becomes a bag of its words, each word hashed onto a few of 384 dimensions: texts that share words are near. It counts what it is asked
and can be away, refuse, wait, or answer in another size.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIMENSIONS = 384


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """The bag of a text's words."""
    found = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.sha256(word.encode()).digest()
        for at in range(0, 12, 3):
            found[int.from_bytes(digest[at : at + 2], "big") % dimensions] += 1 if digest[at + 2] & 1 else -1
    norm = math.sqrt(sum(number * number for number in found)) or 1.0
    return [number / norm for number in found]


@dataclass
class Peer:
    """The server, what it was asked, and how it is to behave."""

    dimensions: int = DIMENSIONS
    status: int = 200
    failures_left: int | None = None
    batches: list[list[str]] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.reset()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    @property
    def texts(self) -> list[str]:
        return [text for batch in self.batches for text in batch]

    def reset(self) -> None:
        self.dimensions, self.status, self.failures_left = DIMENSIONS, 200, None
        self.batches.clear()
        self.held.set()
        self.asked.clear()

    def fail(self, status: int, times: int | None = None) -> None:
        """Answer with this status, so many times or for ever."""
        self.status, self.failures_left = status, times

    def next_status(self) -> int:
        if self.status == 200 or self.failures_left == 0:
            return 200
        if self.failures_left is not None:
            self.failures_left -= 1
        return self.status

    def close(self) -> None:
        self.held.set()
        self.server.shutdown()
        self.server.server_close()

    def _handler(peer) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
                peer.batches.append(texts)
                peer.asked.set()
                peer.held.wait(30)
                status = peer.next_status()
                if status == 200:
                    data = [{"object": "embedding", "index": i, "embedding": vector(text, peer.dimensions)} for i, text in enumerate(texts)]
                    told = {"object": "list", "model": body["model"], "data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}}
                else:
                    told = {"error": {"message": f"the peer says {status}", "type": "peer", "param": None, "code": None}}
                answer = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        return Handler
