"""A streamed answer: Anthropic's events as OpenAI's chunks.

`message_start`, then for each block of content `content_block_start`, deltas and `content_block_stop`, then `message_delta` with the
reason and the usage, then `message_stop`; `ping` and `error` anywhere. Blocks of all kinds are counted together there, calls of tools
alone here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from apps.gateway.errors import UpstreamCut
from apps.gateway.upstreams.anthropic.decode import THINKING, UNTOLD, reason_of, refusal_of, usage_of
from apps.gateway.upstreams.anthropic.encode import ANSWER_TOOL
from apps.gateway.upstreams.anthropic.errors import error_in
from apps.gateway.upstreams.openai.answer import Answer, tool_call
from apps.gateway.wire import decoded

ALIVE = b": ping\n\n"


class Delta(msgspec.Struct):
    """What a delta adds: to a block, or to the message."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None


class Opened(msgspec.Struct):
    """The message as it begins."""

    id: str = ""
    model: str = ""
    usage: dict[str, Any] | None = None


class Event(msgspec.Struct):
    """One event of any type."""

    type: str = ""
    message: Opened | None = None
    index: int = 0
    content_block: dict[str, Any] | None = None
    delta: Delta | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_event = msgspec.json.Decoder(Event)


class Stream:
    """Reads the events of one message."""

    def __init__(self, *, by_tool: bool, provider: str, model: str, created: int) -> None:
        self._by_tool = by_tool
        self._provider = provider
        self._answer = Answer(id="", model=model, created=created)
        self._begun = False
        self._calls: dict[int, int] = {}
        """The number of the call that a block is."""
        self._answering: set[int] = set()
        """The blocks that are calls of our own tool for answers."""
        self._thoughts: dict[int, int] = {}
        """The number of the thought that a block is."""
        self._signatures: dict[int, str] = {}
        self._usage: dict[str, Any] = {}
        self._finished = False
        self._ended = False

    def take(self, said: bytes | None) -> bytes:  # noqa: PLR0911 - one for each type of event
        """Give the chunks of an event; a comment shows that the other side lives where there is nothing to say yet."""
        if said is None or self._ended:
            return b""
        try:
            event = decoded(_event, said)
        except ValueError as e:
            raise UpstreamCut(f"The upstream `{self._provider}` sent something that is not an event.") from e
        match event.type:
            case "content_block_delta":
                return self._delta(event.index, event.delta or Delta())
            case "content_block_start":
                return self._start(event.index, event.content_block or {})
            case "content_block_stop":
                return self._stop(event.index)
            case "message_start":
                return self._open(event.message or Opened())
            case "message_delta":
                return self._finish(event)
            case "message_stop":
                return self._last()
            case "error":
                raise error_in(event.error)
        return ALIVE

    def end(self) -> bytes:
        """Give the end that the other side forgot; raises UpstreamCut when it had not come so far."""
        if self._ended:
            return b""
        if not self._finished:
            raise UpstreamCut(f"The upstream `{self._provider}` broke off in the middle of its answer.")
        return self._last()

    def _open(self, message: Opened) -> bytes:
        self._answer = Answer(id=message.id, model=message.model or self._answer.model, created=self._answer.created)
        self._count(message.usage)
        # The role is said with the first content: what fails in between has promised nothing, and another target can answer.
        return ALIVE

    def _start(self, index: int, block: dict[str, Any]) -> bytes:
        kind = block.get("type")
        if kind == "tool_use":
            if self._by_tool and block.get("name") == ANSWER_TOOL:
                self._answering.add(index)
                return b""
            number = self._calls[index] = len(self._calls)
            call = tool_call(id=str(block.get("id")), name=str(block.get("name")), arguments="", index=number)
            return self._say({"tool_calls": [call]})
        if kind in THINKING:
            self._thoughts[index] = len(self._thoughts)
            if kind == "redacted_thinking":
                return self._say({"thinking_blocks": [{"index": self._thoughts[index], **block}]})
            return self._think(index, str(block.get("thinking") or ""))
        text = block.get("text") if kind == "text" else None
        return self._say({"content": text}) if text else b""

    def _delta(self, index: int, delta: Delta) -> bytes:
        match delta.type:
            case "text_delta":
                return self._say({"content": delta.text})
            case "input_json_delta":
                return self._arguments(index, delta.partial_json)
            case "thinking_delta":
                return self._think(index, delta.thinking)
            case "signature_delta":
                self._signatures[index] = self._signatures.get(index, "") + delta.signature
        return ALIVE

    def _arguments(self, index: int, json: str) -> bytes:
        if index in self._answering:
            return self._say({"content": json}) if json else b""
        if index not in self._calls or not json:
            return b""
        return self._say({"tool_calls": [{"index": self._calls[index], "function": {"arguments": json}}]})

    def _think(self, index: int, thought: str) -> bytes:
        if not thought:
            return ALIVE
        return self._say({"reasoning_content": thought, "thinking_blocks": [self._thought(index, thought)]})

    def _stop(self, index: int) -> bytes:
        signature = self._signatures.pop(index, None)
        return b"" if signature is None else self._say({"thinking_blocks": [{**self._thought(index, ""), "signature": signature}]})

    def _thought(self, index: int, thought: str) -> dict[str, Any]:
        """Give a piece of a block, which by its index is put together like a call of a tool."""
        return {"index": self._thoughts.setdefault(index, len(self._thoughts)), "type": "thinking", "thinking": thought, "signature": ""}

    def _finish(self, event: Event) -> bytes:
        self._count(event.usage)
        delta = event.delta
        if delta is None or delta.stop_reason is None or self._finished:
            return ALIVE
        self._finished = True
        refusal = refusal_of(delta.stop_details)
        said = self._say({"refusal": refusal}) if refusal is not None else b"" if self._begun else self._say({"content": ""})
        reason = reason_of(delta.stop_reason, calls=bool(self._calls))
        untold = delta.stop_reason if delta.stop_reason in UNTOLD else None
        return said + self._answer.finish(reason, stop_sequence=delta.stop_sequence, stop_reason=untold)

    def _last(self) -> bytes:
        if not self._finished:
            raise UpstreamCut(f"The upstream `{self._provider}` ended its answer without a reason.")
        self._ended = True
        return self._answer.last(usage_of(self._usage))

    def _count(self, usage: dict[str, Any] | None) -> None:
        """Keep the counts: they are cumulative, so the later one is right, but one left out is not nought."""
        self._usage.update((name, value) for name, value in (usage or {}).items() if value is not None)

    def _say(self, delta: dict[str, Any]) -> bytes:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", **delta}
        return self._answer.delta(delta)
