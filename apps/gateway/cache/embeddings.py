"""Embeddings that were computed before: by tenant, target, text and form, in this process, bounded in bytes.

A question asked twice is embedded once. Only short requests are looked up and kept (questions, not documents on their
way into a collection, which would push everything else out), and a request is answered from here only as a whole.
Nothing is shared between tenants.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

if TYPE_CHECKING:
    from apps.gateway.call import Call, ResolvedTarget

LIMIT_BYTES = 32 * 1024 * 1024
MOST_INPUTS = 4
ENTRY_BYTES = 300
"""What an entry takes besides its vector: key, links, headers."""

Key = tuple[object, ...]


class _Item(msgspec.Struct):
    index: int
    embedding: msgspec.Raw


class _Answer(msgspec.Struct):
    data: list[_Item]


_answer = msgspec.json.Decoder(_Answer)


class EmbeddingCache:
    """Least recently used out first."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._vectors: OrderedDict[Key, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def answer(self, call: Call, target: ResolvedTarget) -> bytes | None:
        """Give the whole answer when every input is here, else None. It used no tokens, and says so."""
        keys = keys_of(call, target)
        vectors = [self._vectors.get(key) for key in keys]
        if not keys or None in vectors:
            return None
        for key in keys:
            self._vectors.move_to_end(key)
        return orjson.dumps(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": index, "embedding": orjson.Fragment(vector)}
                    for index, vector in enumerate(vectors)
                    if vector is not None
                ],
                "model": target.upstream_model,
                "usage": {"prompt_tokens": 0, "total_tokens": 0},
            }
        )

    def keep(self, call: Call, target: ResolvedTarget, body: bytes) -> None:
        """Remember the vectors of an answer that has one for each input."""
        keys = keys_of(call, target)
        if not keys:
            return
        try:
            items = sorted(_answer.decode(body).data, key=lambda item: item.index)
        except msgspec.DecodeError:
            return
        if [item.index for item in items] != list(range(len(keys))):
            return
        for key, item in zip(keys, items, strict=True):
            self._put(key, bytes(item.embedding))

    def clear(self) -> None:
        """Forget everything."""
        self._vectors.clear()
        self.bytes = 0

    def _put(self, key: Key, vector: bytes) -> None:
        if (before := self._vectors.pop(key, None)) is not None:
            self.bytes -= len(before) + ENTRY_BYTES
        self._vectors[key] = vector
        self.bytes += len(vector) + ENTRY_BYTES
        while self.bytes > self.limit_bytes:
            _, oldest = self._vectors.popitem(last=False)
            self.bytes -= len(oldest) + ENTRY_BYTES


def keys_of(call: Call, target: ResolvedTarget) -> list[Key]:
    """One key for each input; none at all for a request that is not for this cache."""
    inputs: Any = call.body.get("input")
    texts = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(texts, list) or not 0 < len(texts) <= MOST_INPUTS or not all(isinstance(text, str) for text in texts):
        return []
    form = (
        call.principal.tenant_id,
        target.provider_id,
        target.upstream_model,
        str(call.body.get("dimensions")),
        str(call.body.get("encoding_format")),
    )
    return [(*form, hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()) for text in texts]


embeddings = EmbeddingCache()
