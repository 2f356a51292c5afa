"""Thoughts that a model's maker has signed, carried in the member of an item where OpenAI's clients carry such.

Some models go on from a call of a function only when they are given back what they thought before it, to the letter. An upstream of that
kind says so in `thinking_blocks` beside the text. They travel as `encrypted_content`: opaque to a client, who gives the item back as it is.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

Block = dict[str, str]

MARK: Final = "mh1."
"""Before what we wrote: another's encrypted content is not read, and not sent to a model that could not read it."""
TOLD: Final = ("thinking", "signature", "data")


def sealed(blocks: Iterable[Mapping[str, Any]]) -> str:
    """Write blocks, or the pieces of blocks that a stream brings, as one text.

    >>> unsealed(sealed([{"index": 0, "type": "thinking", "thinking": "Hm"}, {"index": 0, "type": "thinking", "signature": "s"}]))
    [{'type': 'thinking', 'thinking': 'Hm', 'signature': 's'}]
    """
    found: dict[int, Block] = {}
    for number, piece in enumerate(blocks):
        index = piece.get("index")
        block = found.setdefault(index if type(index) is int else -1 - number, {"type": str(piece.get("type"))})
        for name in TOLD:
            if isinstance(piece.get(name), str):
                block[name] = block.get(name, "") + piece[name]
    return MARK + urlsafe_b64encode(orjson.dumps([*found.values()])).decode()


def unsealed(text: object) -> list[Block]:
    """Read them again; nothing when they are not of our writing.

    >>> unsealed("gAAAAABo"), unsealed("mh1.x"), unsealed(None)
    ([], [], [])
    """
    if not isinstance(text, str) or not text.startswith(MARK):
        return []
    try:
        blocks = orjson.loads(urlsafe_b64decode(text[len(MARK) :].encode()))
    except (Error, ValueError):
        return []
    if not isinstance(blocks, list):
        return []
    names = ("type", *TOLD)
    return [{name: block[name] for name in names if isinstance(block.get(name), str)} for block in blocks if isinstance(block, dict)]
