"""Chat chunks become the events of Anthropic's stream.

A message is a row of blocks, one open at a time: text, a thought, a call. Chat says only what is added to which, so a block begins where
something of another kind comes, and ends there. Calls that a chat stream interleaves are told one after the other: what comes for a later
one waits until the arguments of the open one are whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import orjson

from apps.assistants.front.wires.frame import sse
from apps.assistants.front.wires.messages import encode, errors


class ToolCall(msgspec.Struct):
    """One call of a tool, as far as it was said; `waiting` was not told to the client yet."""

    id: str
    name: str = ""
    told: str = ""
    waiting: str = ""
    index: int = -1
    """Of its block, once it has one."""


class Events:
    """Where one stream is."""

    def __init__(self, *, request_id: str, sequences: Collection[str], input_tokens: int = 0) -> None:
        """Begin with an estimate of what was read; the upstream's own count comes at the end."""
        self._request_id = request_id
        self._sequences = sequences
        self._input_tokens = input_tokens
        self._out: list[bytes] = []
        self._began = False
        self._index = -1
        self._open: str | ToolCall | None = None
        self._calls: dict[int, ToolCall] = {}
        self._called = 0
        self._queue: list[ToolCall] = []
        self._choice: dict[str, Any] = {}
        self._refused = False
        self._usage: object = None

    def chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """Give the events of one chunk."""
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]
        self._begin(chunk)
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            # Anthropic's message is one answer; of several the first is told.
            if isinstance(choice, dict) and not choice.get("index"):
                self._add(choice)
        return self._flush()

    def done(self) -> bytes:
        """Give the events that end the message."""
        self._begin({})
        for call in self._queue:
            self._tell(call)
        self._close()
        stop = encode.stop(self._choice, sequences=self._sequences, refused=self._refused)
        # What is left out here stays as it was said at the beginning: so does an estimate that nobody corrects.
        counted = encode.usage(self._usage) if self._usage else {"output_tokens": 0}
        self._say("message_delta", {"delta": stop, "usage": counted})
        self._say("message_stop", {})
        return self._flush()

    def broken(self, said: dict[str, Any]) -> bytes:
        """Give the event that says that the message will not be finished."""
        return sse("error", errors.broken(said, self._request_id))

    def ping(self) -> bytes:
        """Give what keeps the connection alive."""
        return sse("ping", {"type": "ping"})

    def _begin(self, chunk: Mapping[str, Any]) -> None:
        if self._began:
            return
        self._began = True
        message = {
            **encode.head(chunk, request_id=self._request_id),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**encode.usage(self._usage), **({} if self._usage else {"input_tokens": self._input_tokens})},
        }
        if "menhir" in chunk:
            message["menhir"] = chunk["menhir"]
        self._say("message_start", {"message": message})
        self._out.append(self.ping())

    def _add(self, choice: Mapping[str, Any]) -> None:
        for name in ("finish_reason", "stop_reason", "stop_sequence"):
            if choice.get(name) is not None:
                self._choice[name] = choice[name]
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return
        for thought in encode.thoughts_of(delta):
            self._think(thought)
        content = delta.get("content")
        refusal = delta.get("refusal")
        self._refused = self._refused or bool(refusal)
        for text in (content, refusal):
            if isinstance(text, str) and text:
                self._open_as("text", {"type": "text", "text": ""})
                self._delta({"type": "text_delta", "text": text})
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                self._call(call)

    def _think(self, thought: Mapping[str, Any]) -> None:
        if thought.get("type") == "redacted_thinking":
            self._close()
            self._open_as("redacted", dict(thought))
            self._close()
            return
        self._open_as("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        if thought.get("thinking"):
            self._delta({"type": "thinking_delta", "thinking": thought["thinking"]})
        if thought.get("signature"):
            # A signature ends the thought that it vouches for.
            self._delta({"type": "signature_delta", "signature": thought["signature"]})
            self._close()

    def _call(self, said: Mapping[str, Any]) -> None:
        function = said.get("function")
        function = function if isinstance(function, dict) else {}
        name, given, at = str(function.get("name") or ""), said.get("id"), said.get("index")
        if type(at) is not int:  # some upstreams leave it out and send each call whole
            at = len(self._calls) if given or name or not self._calls else len(self._calls) - 1
        call = self._calls.get(at)
        if call is None or _is_another(call, given, name):
            call = self._calls[at] = ToolCall(encode.call_id(given, request_id=self._request_id, number=self._called))
            self._called += 1
            self._queue.append(call)
        call.name = call.name or name
        call.waiting += str(function.get("arguments") or "")
        while self._queue:
            self._tell(self._queue[0])
            if len(self._queue) == 1 or not _is_whole(self._queue[0].told):
                break
            self._queue.pop(0)

    def _tell(self, call: ToolCall) -> None:
        if call.index < 0:
            self._open_as(call, {"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
            call.index = self._index
        if call.waiting:
            self._delta({"type": "input_json_delta", "partial_json": call.waiting}, index=call.index)
            call.told += call.waiting
            call.waiting = ""

    def _open_as(self, what: str | ToolCall, block: dict[str, Any]) -> None:
        if self._open is what or (isinstance(what, str) and self._open == what):
            return
        self._close()
        self._open = what
        self._index += 1
        self._say("content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> None:
        if self._open is not None:
            self._say("content_block_stop", {"index": self._index})
            self._open = None

    def _delta(self, delta: dict[str, Any], *, index: int | None = None) -> None:
        self._say("content_block_delta", {"index": self._index if index is None else index, "delta": delta})

    def _say(self, event: str, value: dict[str, Any]) -> None:
        self._out.append(sse(event, {"type": event, **value}))

    def _flush(self) -> bytes:
        out, self._out = self._out, []
        return b"".join(out)


def _is_another(call: ToolCall, given: object, name: str) -> bool:
    """Whether this is no more of a call, but the next: some upstreams count each as the first, and say its name but once.

    >>> call = ToolCall("call_1", "now", told='{"a": 1}')
    >>> _is_another(call, "call_2", "now"), _is_another(call, "call_1", "now"), _is_another(call, None, "now"), _is_another(call, None, "")
    (True, False, True, False)
    """
    if not name or not call.name:
        return False
    return given != call.id if given else _is_whole(call.told + call.waiting)


def _is_whole(arguments: str) -> bool:
    """Whether a call's arguments are all there; while there is nothing, they may still come.

    >>> _is_whole('{"a": [1'), _is_whole('{"a": [1]}'), _is_whole("")
    (False, True, False)
    """
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False
