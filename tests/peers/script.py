"""What the peer says: its orders, read out of a model's name, and the bytes that follow from them."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from peers import said

TEXT = "A menhir is one standing stone, and this answer is made of words – “naïve” ones, 石, 🪨 too."  # noqa: RUF001 - the dash is there for its three bytes
DIMENSIONS = 384


@dataclass
class Orders:
    """What a model's name may ask for."""

    status: int = 0  # refuse with this status
    busy: int = 0  # refuse the first n requests for this model with 429
    retry_after: str = ""  # what the refusal's header says
    code: str = ""  # what the refusal's, or the error's, `code` says
    text: str = ""  # these words instead of its own
    role: int = 0  # so many chunks that say who speaks and nothing else come before the first word
    torn: int = 0  # the first word is half an emoji, and the first probability is none
    empty: int = 0  # say nothing
    big: int = 0  # the first word has so many bytes
    first_ms: int = 0  # wait before the first byte
    gap_ms: int = 0  # wait between two chunks
    chunks: int = 0  # so many chunks; 0: one for each word of the text. Of embeddings: so many, whatever was asked
    cut: int = -1  # drop the connection after n chunks
    half: int = 0  # … and in the middle of an event
    error: int = -1  # an error event after n chunks
    malformed: int = -1  # something that is no JSON after n chunks (or instead of the answer)
    done: int = 1  # 0: close without [DONE]
    finish: int = 1  # 0: no chunk says finish_reason
    unfinished: int = 0  # so many choices, the last ones, do not say it
    usage: str = "right"  # right | none | zero | wild | early (in the last chunk that has choices)
    split: int = 0  # write n bytes at a time
    crlf: int = 0  # lines end in \r\n
    comments: int = 0  # n keep-alive comments before the first event
    alive: int = 0  # … and one after each event
    linger_ms: int = 0  # keep the connection open after [DONE]
    calls: int = 0  # call so many of the tools it was given
    interleave: int = 0  # … and say a piece of each in turn
    same: int = 0  # … and say each of them whole, and as if it were the first
    ids: int = 1  # 0: … and give none of them an id
    thinks: int = 0  # think before it speaks, and sign it
    speaks: int = 0  # say it aloud: a sound and what is heard in it
    reason: str = ""  # why it stops, in its own word
    stopped: str = ""  # the stop sequence that it met
    cached: int = 0  # tokens of the prompt that came from a cache
    written: int = 0  # … and that went into one
    heard: int = 0  # … and that were sound
    spoken: int = 0  # tokens of the answer that are sound
    form: str = ""  # give embeddings in this form, whatever was asked for
    # what only Claude and Gemini do
    blocked: str = ""  # refuse to say anything, for this reason
    kind: str = ""  # which error it is
    says: str = ""  # the error's message
    echo: int = 0  # say what the last message says, n characters at a time


def orders_of(model: str) -> Orders:
    """Read the orders out of a model's name."""
    orders = Orders()
    for name, value in parse_qsl(model.partition("?")[2]):
        if not hasattr(orders, name):
            raise ValueError(f"no such order: {name}")
        setattr(orders, name, type(getattr(orders, name))(value))
    return orders


def words_of(orders: Orders, messages: Any = ()) -> list[str]:
    """What it generates, one word a token."""
    if orders.echo:
        said = str(messages[-1]["content"])
        return [said[start : start + orders.echo] for start in range(0, len(said), orders.echo)]
    if orders.empty:
        return []
    words = [word + " " for word in (orders.text or TEXT).split()]
    if orders.torn:
        words[0] = "\ud83d"
    if orders.big:
        words[0] = "x" * orders.big
    return [words[number % len(words)] for number in range(orders.chunks)] if orders.chunks else words


def script(orders: Orders, *, head: dict[str, Any], words: list[str], prompt: int, asked: bool, body: dict[str, Any]) -> list[bytes]:
    """Every event of a stream, in order."""
    usage = usage_of(orders, prompt, len(words)) if asked else None
    early = usage if orders.usage == "early" else None
    quiet = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    events = [event_of({**head, "object": "chat.completion.chunk", "choices": [quiet], "usage": None}, orders)] * orders.role
    for number, choice in enumerate(said.steps(orders, words, body)):
        if number == orders.error:
            code = orders.code or "overheated"
            error = {"message": "the model fell over", "type": "server_error", "code": code, "param": None}
            events.append(event_of({"error": error}, orders))
            return events
        if number == orders.malformed:
            events.append(b"data: {not json\n\n")
        events.append(event_of({**head, "object": "chat.completion.chunk", "choices": [choice], "usage": None}, orders))
    if orders.finish:
        chunk = {**head, "object": "chat.completion.chunk", "usage": early}
        events += [event_of({**chunk, "choices": [choice]}, orders) for choice in said.ends(orders, body)]
    if usage is not None and early is None:
        events.append(event_of({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}, orders))
    if orders.done:
        events.append(event_of("[DONE]", orders))
    return events


def event_of(content: object, orders: Orders) -> bytes:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=bool(orders.torn))
    end = "\r\n" if orders.crlf else "\n"
    return f"data: {text}{end}{end}".encode()


def usage_of(orders: Orders, prompt: int, completion: int) -> dict[str, Any] | None:
    """What it says it used, which need not be so."""
    match orders.usage:
        case "none":
            return None
        case "zero":
            return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        case "wild":
            return {"prompt_tokens": -5, "completion_tokens": 10**15, "total_tokens": "many"}
    apart = {"cache_write_tokens": orders.written, "audio_tokens": orders.heard}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": orders.cached, **{name: count for name, count in apart.items() if count}},
        "completion_tokens_details": {"reasoning_tokens": 0, **({"audio_tokens": orders.spoken} if orders.spoken else {})},
    }


def prompt_tokens(messages: Any) -> int:
    return sum(len(str(message.get("content", "")).split()) for message in messages or ())


def vector_of(text: str, size: int) -> list[float]:
    """A unit vector that depends on the text alone."""
    seed = hashlib.shake_256(text.encode()).digest(size * 2)
    raw = [struct.unpack_from("<h", seed, 2 * i)[0] / 32768 for i in range(size)]
    length = math.sqrt(sum(x * x for x in raw)) or 1.0
    return [x / length for x in raw]


def encoded(vector: list[float], form: str | None) -> list[float] | str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if form == "base64" else vector
