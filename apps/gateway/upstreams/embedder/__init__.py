"""The upstream kind `embedder`: our own model server, one more upstream. Local vectors and OpenAI's differ by a route, not by code.

Two processes share this folder. `upstream.py` is the adapter in `web` and `worker`; `server.py` and what it imports (`batching.py`,
`model.py`) is the role `embedder`, and alone ever imports torch.
"""

from __future__ import annotations

from apps.gateway.upstreams import Upstream
from apps.gateway.upstreams.embedder.upstream import Embedder

adapter: Upstream = Embedder()
