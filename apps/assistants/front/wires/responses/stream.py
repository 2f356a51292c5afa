"""One response on its way to the client: what it has become so far, and the numbered events that say so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.assistants.front.wires.frame import sse
from apps.assistants.front.wires.responses.items import Item
from apps.assistants.front.wires.responses.output import Output
from apps.assistants.front.wires.responses.response import begun, ended, failed
from apps.assistants.responses import made_at, written


class Stream:
    """A response as it grows; its methods give the events to send now.

    Its id, those of its items and the numbers of its events are settled here and nowhere else: a client may rely on them. An answer that
    comes at once goes the same way, and its events to nobody (`told=False`).
    """

    __slots__ = ("_begun", "_number", "_out", "_output", "_told", "_usage", "response")

    def __init__(self, response_id: UUID, *, asked: Mapping[str, Any], first: int, summary: bool, told: bool) -> None:
        self.response = begun(written(response_id), at=made_at(response_id), asked=asked)
        """All but the output."""
        self._output = Output(response_id, first=first, summary=summary, tell=self._tell)
        self._begun = False
        self._number = 0
        self._out: list[bytes] = []
        self._told = told
        self._usage: object = None

    @property
    def items(self) -> list[Item]:
        """The output so far."""
        return self._output.items

    @property
    def whole(self) -> dict[str, Any]:
        """The response with its output."""
        return {**self.response, "output": self.items}

    def take(self, chunk: Mapping[str, Any]) -> bytes:
        """Take in a chunk of a chat, or all of its answer."""
        self._begin(chunk)
        if chunk.get("usage") is not None:
            self._usage = chunk["usage"]
        if chunk.get("service_tier") is not None:
            self.response["service_tier"] = chunk["service_tier"]
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index", 0) == 0:  # a response is one answer
                self._output.take(choice)
        return self._flush()

    def finish(self, *, at: datetime) -> bytes:
        """The chat has ended well: the output is done, and the response is as it will be stored."""
        self._begin({})
        return self.end_as(ended(self.response, finish_reason=self._output.finish_reason, usage=self._usage, at=at))

    def end_as(self, response: dict[str, Any]) -> bytes:
        """The output is done, and the response has become this."""
        self.response = response
        self._output.close("completed" if response["status"] == "completed" else "incomplete")
        return self._flush()

    def hold(self, events: bytes) -> None:
        """Take events back that were not sent: they go out with the next ones."""
        self._out.append(events)

    def break_off(self, error: Mapping[str, Any]) -> bytes:
        """The chat broke off, or what came of it cannot be stored. Nothing is told of as done: no client may take a part for the whole."""
        self._begin({})
        before = self._flush()
        told, self._told = self._told, False
        self._output.close("incomplete")
        self._told = told
        self.response = failed(self.response, error)
        return before + self.last()

    def last(self) -> bytes:
        """Say how it ended."""
        self._tell(f"response.{self.response['status']}", {"response": self.whole})
        return self._flush()

    def _begin(self, first: Mapping[str, Any]) -> None:
        if self._begun:
            return
        self._begun = True
        self.response["model"] = str(first.get("model") or self.response["model"])
        if "menhir" in first:
            self.response["menhir"] = first["menhir"]
        for event in ("response.created", "response.in_progress"):
            self._tell(event, {"response": self.response})

    def _tell(self, event: str, members: Mapping[str, Any]) -> None:
        if self._told:
            self._out.append(sse(event, {"type": event, "sequence_number": self._number, **members}))
            self._number += 1

    def _flush(self) -> bytes:
        out, self._out = self._out, []
        return b"".join(out)
