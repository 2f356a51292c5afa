"""An answer in OpenAI's wire, whole and in chunks, for those who hear it in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable

DONE_EVENT = b"data: [DONE]\n\n"


class Answer:
    """One answer: what every chunk of it repeats, and how its parts are said."""

    __slots__ = ("_head", "created", "id", "model")

    def __init__(self, *, id: str, model: str, created: int) -> None:  # noqa: A002 - the wire's word
        self.id = id
        self.model = model
        self.created = created
        named = orjson.dumps({"id": id, "object": "chat.completion.chunk", "created": created, "model": model})
        self._head = b"data: " + named[:-1] + b',"choices":['

    def delta(self, said: dict[str, Any], *, index: int = 0, logprobs: Any = None) -> bytes:
        """Give a chunk that adds to a choice."""
        return self._choice({"index": index, "delta": said, "logprobs": logprobs, "finish_reason": None})

    def finish(self, reason: str, *, index: int = 0, stop_sequence: str | None = None, stop_reason: str | None = None) -> bytes:
        """Give the chunk that ends a choice; which stop sequence it was, or another's own reason, is more than OpenAI's wire says."""
        choice: dict[str, Any] = {"index": index, "delta": {}, "logprobs": None, "finish_reason": reason}
        if stop_sequence is not None:
            choice["stop_sequence"] = stop_sequence
        if stop_reason is not None:
            choice["stop_reason"] = stop_reason
        return self._choice(choice)

    def last(self, usage: dict[str, Any] | None) -> bytes:
        """Give the end of the stream: the usage, if the other side told it, and `[DONE]`."""
        if usage is None:
            return DONE_EVENT
        return self._head + b'],"usage":' + orjson.dumps(usage) + b"}\n\n" + DONE_EVENT

    def whole(self, choices: Iterable[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        """Give the whole answer."""
        said = {"id": self.id, "object": "chat.completion", "created": self.created, "model": self.model, "choices": list(choices)}
        return orjson.dumps(said if usage is None else {**said, "usage": usage})

    def _choice(self, choice: dict[str, Any]) -> bytes:
        return self._head + orjson.dumps(choice) + b'],"usage":null}\n\n'


def usage_said(
    *,
    prompt: int,
    completion: int,
    cached: int = 0,
    written: int = 0,
    written_1h: int = 0,
    reasoning: int = 0,
    heard: int = 0,
    heard_again: int = 0,
    spoken: int = 0,
) -> dict[str, Any]:
    """Give the usage as OpenAI says it: cached tokens are part of the prompt, reasoning is part of the completion.

    `written` tokens went into a cache (`written_1h` of them for an hour), which some providers charge apart; OpenAI has no word for it.
    `heard` and `spoken` were sound; what was `heard_again` came from a cache, which OpenAI says of realtime answers alone.
    """
    details: dict[str, Any] = {"cached_tokens": cached}
    if written:
        details["cache_write_tokens"] = written
    if written_1h:
        details["cache_write_1h_tokens"] = written_1h
    if heard:
        details["audio_tokens"] = heard
    if heard_again:
        details["cached_tokens_details"] = {"audio_tokens": heard_again}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": reasoning, **({"audio_tokens": spoken} if spoken else {})},
    }


def tool_call(*, id: str, name: str, arguments: str, index: int | None = None) -> dict[str, Any]:  # noqa: A002 - the wire's word
    """Give a call of a function; in a chunk it has an index.

    >>> tool_call(id="call_1", name="now", arguments="{}")
    {'id': 'call_1', 'type': 'function', 'function': {'name': 'now', 'arguments': '{}'}}
    """
    call = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return call if index is None else {"index": index, **call}
