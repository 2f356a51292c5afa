"""The output of a response as it grows: a chat's deltas in, items out, and each step told as the event that clients know.

A whole answer is one large delta: what a stream adds up to and what is answered at once are the same by construction.

Thoughts, text and function calls come one after the other; where the kind changes, the item before it is done. Function calls stay open
until the end instead: an upstream may write several of them at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from apps.assistants.front.wires.responses.items import Item, item_id
from apps.assistants.front.wires.responses.thoughts import sealed

Status = Literal["completed", "incomplete"]
Tell = Callable[[str, dict[str, Any]], None]
"""Takes an event's type, and its members but for the number in its sequence."""

TEXT, REFUSAL, REASONING, SUMMARY = "output_text", "refusal", "reasoning_text", "summary_text"


class Part:
    """A part of an item that is being written."""

    __slots__ = ("annotations", "index", "kind", "logprobs", "texts")

    def __init__(self, kind: str, index: int) -> None:
        self.kind = kind
        self.index = index
        self.texts: list[str] = []
        self.logprobs: list[Any] = []
        self.annotations: list[Any] = []

    def shown(self) -> Item:
        """The part as it stands."""
        text = "".join(self.texts)
        if self.kind == REFUSAL:
            return {"type": REFUSAL, "refusal": text}
        if self.kind == TEXT:
            return {"type": TEXT, "annotations": [*self.annotations], "logprobs": [*self.logprobs], "text": text}
        return {"type": self.kind, "text": text}


class _Call(NamedTuple):
    """A function call that is being written: where it stands, and its arguments so far."""

    at: int
    arguments: list[str]


class Output:
    """The items of one response."""

    def __init__(self, response_id: UUID, *, first: int, summary: bool, tell: Tell) -> None:
        """Count items from `first`, how many went in; write thoughts as a summary where one was asked for."""
        self.items: list[Item] = []
        self.finish_reason: str | None = None
        self._response_id = response_id
        self._first = first
        self._thinks = SUMMARY if summary else REASONING
        self._tell = tell
        self._at = -1  # the open item of thoughts or text, -1 for none
        self._part: Part | None = None
        self._signed: list[Item] = []  # the open item's thoughts as their maker signed them
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}  # the chat's own count of them

    def take(self, choice: Mapping[str, Any]) -> None:
        """Take in what a choice of a chat adds, or all that it says."""
        said = choice.get("delta") or choice.get("message")
        if isinstance(said, dict):
            self._think(said)
            self._say(said, logprobs=_logprobs(choice))
            if isinstance(calls := said.get("tool_calls"), list):
                for number, call in enumerate(calls):
                    if isinstance(call, dict):
                        self._call(call, number)
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self.finish_reason = reason

    def close(self, status: Status) -> None:
        """Nothing more will come: what is still open is done, or broken off."""
        self._close_item(status)
        for at, arguments in self._calls:
            item = self.items[at]
            item["arguments"], item["status"] = "".join(arguments), status
            self._tell("response.function_call_arguments.done", {"item_id": item["id"], "output_index": at, "arguments": item["arguments"]})
            self._tell("response.output_item.done", {"output_index": at, "item": item})
        self._calls.clear()
        self._by_index.clear()

    def _think(self, said: Mapping[str, Any]) -> None:
        if (thought := said.get("reasoning_content") or said.get("reasoning")) and isinstance(thought, str):
            self._write("reasoning", self._thinks, thought)
        given = said.get("thinking_blocks")
        if signed := [block for block in given if isinstance(block, dict)] if isinstance(given, list) else []:
            self._open("reasoning")
            self._signed += signed

    def _say(self, said: Mapping[str, Any], *, logprobs: list[Any]) -> None:
        if text := _text(said.get("content")):
            self._write("message", TEXT, text, logprobs=logprobs)
        if isinstance(extra := said.get("extra_content"), dict) and self._at >= 0 and self.items[self._at]["type"] == "message":
            self.items[self._at]["extra_content"] = extra
        if isinstance(notes := said.get("annotations"), list):
            self._annotate(notes)
        if (refusal := said.get("refusal")) and isinstance(refusal, str):
            self._write("message", REFUSAL, refusal)

    def _add(self, kind: str, item: Item) -> int:
        at = len(self.items)
        self.items.append({"id": item_id(kind, self._response_id, self._first + at), "type": kind, "status": "in_progress", **item})
        self._tell("response.output_item.added", {"output_index": at, "item": self.items[at]})
        return at

    def _open(self, kind: str) -> Item:
        if self._at < 0 or self.items[self._at]["type"] != kind:
            self._close_item("completed")
            self._at = self._add(kind, {"role": "assistant", "content": []} if kind == "message" else {"summary": [], "content": []})
        return self.items[self._at]

    def _write(self, kind: str, part_kind: str, text: str, *, logprobs: list[Any] | None = None) -> None:
        item = self._open(kind)
        part = self._part
        if part is None or part.kind != part_kind:
            self._close_part()
            part = self._part = Part(part_kind, len(_parts(item, part_kind)))
            self._tell(_WORDS[part_kind].added, {**self._place(part), "part": part.shown()})
        part.texts.append(text)
        event = {**self._place(part), "delta": text}
        if part_kind == TEXT:
            part.logprobs += logprobs or ()
            event["logprobs"] = logprobs or []
        self._tell(_WORDS[part_kind].delta, event)

    def _annotate(self, notes: list[Any]) -> None:
        part = self._part
        if part is None or part.kind != TEXT:
            return
        for note in notes:
            kind = note.get("type") if isinstance(note, dict) else None
            if not isinstance(kind, str):
                continue
            shown = {"type": kind, **note[kind]} if isinstance(note.get(kind), dict) else note
            part.annotations.append(shown)
            number = len(part.annotations) - 1
            self._tell("response.output_text.annotation.added", {**self._place(part), "annotation_index": number, "annotation": shown})

    def _call(self, call: Mapping[str, Any], number: int) -> None:
        self._close_item("completed")
        index = call["index"] if type(call.get("index")) is int else number
        function = call.get("function")
        if not isinstance(function, dict):
            function = {}
        call_id = str(call.get("id") or "")
        known = self._by_index.get(index)
        # Some upstreams count every call as the first one: another id and a name are another call.
        if known is None or (call_id and function.get("name") and call_id != self.items[known.at]["call_id"]):
            call_id = call_id or f"call_{self._response_id.hex}{self._first + len(self.items):04x}"
            item = {"call_id": call_id, "name": str(function.get("name") or ""), "arguments": ""}
            known = self._by_index[index] = _Call(self._add("function_call", item), [])
            self._calls.append(known)
        at, arguments = known
        if isinstance(extra := call.get("extra_content"), dict):
            self.items[at]["extra_content"] = extra
        if isinstance(more := function.get("arguments"), str) and more:
            arguments.append(more)
            self._tell("response.function_call_arguments.delta", {"item_id": self.items[at]["id"], "output_index": at, "delta": more})

    def _close_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        item, words, shown = self.items[self._at], _WORDS[part.kind], part.shown()
        _parts(item, part.kind).append(shown)
        event = {**self._place(part), words.holds: shown[words.holds]}
        if part.kind == TEXT:
            event["logprobs"] = shown["logprobs"]
        self._tell(words.done, event)
        self._tell(words.closed, {**self._place(part), "part": shown})

    def _close_item(self, status: Status) -> None:
        if self._at < 0:
            return
        self._close_part()
        item, at = self.items[self._at], self._at
        if self._signed:
            item["encrypted_content"] = sealed(self._signed)
            self._signed = []
        item["status"] = status
        self._at = -1
        self._tell("response.output_item.done", {"output_index": at, "item": item})

    def _place(self, part: Part) -> dict[str, Any]:
        return {"item_id": self.items[self._at]["id"], "output_index": self._at, _WORDS[part.kind].index: part.index}


class _Words:
    """What the events of a kind of part are called."""

    def __init__(self, name: str, *, holds: str = "text", part: str = "response.content_part", index: str = "content_index") -> None:
        self.delta, self.done = f"response.{name}.delta", f"response.{name}.done"
        self.added, self.closed = f"{part}.added", f"{part}.done"
        self.holds = holds
        self.index = index


_WORDS: Final[Mapping[str, _Words]] = {
    TEXT: _Words("output_text"),
    REFUSAL: _Words("refusal", holds="refusal"),
    REASONING: _Words("reasoning_text"),
    SUMMARY: _Words("reasoning_summary_text", part="response.reasoning_summary_part", index="summary_index"),
}


def _parts(item: Item, kind: str) -> list[Item]:
    parts: list[Item] = item["summary" if kind == SUMMARY else "content"]
    return parts


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


def _logprobs(choice: Mapping[str, Any]) -> list[Any]:
    given = choice.get("logprobs")
    content = given.get("content") if isinstance(given, dict) else None
    return content if isinstance(content, list) else []
