"""Vectors as a client asked for them: many servers that speak OpenAI's wire know only lists of numbers."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson


def in_base64(body: bytes) -> bytes:
    """Give an answer whose vectors are base64 of little-endian floats of 32 bits; one of another shape is left as it is.

    >>> in_base64(b'{"data": [{"index": 0, "embedding": [1.0, -2.0]}]}')
    b'{"data":[{"index":0,"embedding":"AACAPwAAAMA="}]}'
    >>> in_base64(b'{"data": [{"embedding": "AACAPw=="}]}')
    b'{"data": [{"embedding": "AACAPw=="}]}'
    """
    try:
        answer: Any = orjson.loads(body)
        changed = False
        for item in answer["data"]:
            vector = item["embedding"]
            if isinstance(vector, list):
                item["embedding"] = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
                changed = True
    except (orjson.JSONDecodeError, KeyError, OverflowError, TypeError, struct.error):
        return body
    return orjson.dumps(answer) if changed else body
