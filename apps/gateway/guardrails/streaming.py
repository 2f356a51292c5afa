"""A stream under guard: text is held back until it is known to be harmless, everything else passes at once.

Each text of each choice (what it says, what it reasons, the arguments of each tool) goes through the rules by itself. It has ended
when the choice says so, or when another of its texts begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from apps.gateway.guardrails import kinds, texts
from apps.gateway.guardrails.elsewhere import MOST_INLINE_CHARACTERS, elsewhere
from apps.gateway.guardrails.sieve import Sieve
from apps.gateway.guardrails.texts import Place
from apps.gateway.sse import EventSplitter, data_of
from apps.gateway.wire import loaded

if TYPE_CHECKING:
    from apps.gateway.call import Respond
    from apps.gateway.guardrails.guard import Guard
    from apps.gateway.guardrails.guarding import CallGuard

HEAD = ("id", "object", "created", "model", "system_fingerprint")
CONTEXT_CHARACTERS = 1_000
"""Of what a judge has let through before, for him to understand the next piece by."""


class Shield:
    """Stands before the client, as far as a stream goes. 200 is promised when there is something to send."""

    def __init__(self, guard: CallGuard, respond: Respond) -> None:
        self._stream = StreamGuard(guard)
        self._respond = respond
        self._start: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self.started = False

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Keep the status line until then."""
        self._start = status, headers

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Send what may be sent of it. Raises GuardrailError."""
        if passed := await self._stream.take(data, ended=False):
            await self._promise()
            await self._respond.send(passed, more)

    async def end(self) -> None:
        """Send what was held back. Raises GuardrailError."""
        passed = await self._stream.take(b"", ended=True)
        await self._promise()
        if passed:
            await self._respond.send(passed, True)

    async def _promise(self) -> None:
        if not self.started and self._start is not None:
            self.started = True
            await self._respond.start(*self._start)


class Step(Protocol):
    """One rule's part in the way of a text."""

    async def feed(self, more: str, *, ended: bool) -> str:
        """Take a piece, the last one with `ended`; give what may go on."""


class StreamGuard:
    """Lets a chat stream through, event by event."""

    def __init__(self, guard: CallGuard) -> None:
        self._guard = guard
        self._events = EventSplitter()
        self._open: dict[tuple[int, str], list[Step]] = {}
        self._head: dict[str, Any] = {"object": "chat.completion.chunk"}
        self._characters = 0

    async def take(self, data: bytes, *, ended: bool) -> bytes:
        """Take whole events, the last ones with `ended`; give what may be sent. Raises GuardrailError."""
        passed = [await self._event(event) for event in self._events.feed(data)] if data else []
        if ended:
            passed += [await self._end(index) for index in sorted({index for index, _ in self._open})]
        return b"".join(passed)

    async def _event(self, event: bytes) -> bytes:
        said = data_of(event)
        chunk: Any = loaded(said) if said is not None else None
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        if not choices or not isinstance(choices, list):
            return event
        self._head = {member: chunk[member] for member in HEAD if member in chunk}
        first: list[bytes] = []
        changed, empty = False, not chunk.get("usage")
        for choice in choices:
            if not isinstance(choice, dict) or not isinstance(choice.get("delta"), dict):
                empty = False
                continue
            held, before = await self._choice(choice, choice["delta"])
            first += before
            if choice.get("logprobs") is not None:
                choice["logprobs"] = None  # it spells out what is held back
                changed = True
            changed |= held is not None
            empty = empty and held == "all" and choice.get("finish_reason") is None
        if changed and empty:
            return b"".join(first)
        return b"".join([*first, b"data: %b\n\n" % orjson.dumps(chunk) if changed else event])

    async def _choice(self, choice: dict[str, Any], delta: dict[str, Any]) -> tuple[str | None, list[bytes]]:
        """Whether text of this chunk is held back (`all` when nothing of it is left, else `some`), and what must be sent before it."""
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        before: list[bytes] = []
        held: str | None = None
        last: tuple[str, Place] | None = None
        for name, place in _texts_of(delta):
            before.append(await self._end(index, but=name))
            if place is None:
                continue
            was = place.text
            self._count(len(was))
            now = await self._pass(index, name, was)
            if now != was:
                place.write(now)
                held = "some"
            last = name, place
        if choice.get("finish_reason") is not None:
            if last is not None and (rest := await self._rest(index, last[0])):
                last[1].write(last[1].text + rest)
                held = "some"
            before.append(await self._end(index))
        if held is not None and not any(delta.values()):
            held = "all"
        return held, before

    async def _pass(self, index: int, name: str, text: str) -> str:
        steps = self._open.get((index, name))
        if steps is None:
            steps = self._open[index, name] = self._steps()
        for step in steps:
            text = await step.feed(text, ended=False)
        return text

    async def _rest(self, index: int, name: str) -> str:
        """End one text, and give what was held back of it."""
        text = ""
        for step in self._open.pop((index, name), ()):
            text = await step.feed(text, ended=True)
        return text

    async def _end(self, index: int, *, but: str | None = None) -> bytes:
        """End the texts of a choice, and give the chunks that carry what was held back of them."""
        chunks: list[bytes] = []
        for name in [name for number, name in self._open if number == index and name != but]:
            if rest := await self._rest(index, name):
                chunk = {**self._head, "choices": [{"index": index, "delta": _delta(name, rest), "finish_reason": None}]}
                chunks.append(b"data: %b\n\n" % orjson.dumps(chunk))
        return b"".join(chunks)

    def _count(self, characters: int) -> None:
        self._characters += characters
        for guard in self._guard.after:
            if guard.kind == "size":
                for limit in guard.excess(self._characters):
                    self._guard.hit(guard, "after", limit)

    def _steps(self) -> list[Step]:
        steps: list[Step] = []
        for is_remote, several in groupby(self._guard.after, key=lambda guard: guard.is_remote):
            if is_remote:
                steps.append(_Judged(self._guard, list(several)))
            else:
                steps += [_Searched(self._guard.sieve(each, each.finder, "after")) for each in several if each.finder is not None]
        placeholders = self._guard.placeholders
        if placeholders:
            steps.append(_Searched(Sieve(placeholders, placeholders.restored)))
        return steps


class _Searched:
    """Searched at once."""

    def __init__(self, sieve: Sieve) -> None:
        self._sieve = sieve

    async def feed(self, more: str, *, ended: bool) -> str:
        if len(more) > MOST_INLINE_CHARACTERS:
            return await elsewhere(self._sieve.feed, more, ended=ended)
        return self._sieve.feed(more, ended=ended)


class _Judged:
    """Gathered until there is enough to be judged, and passed on when it has been."""

    def __init__(self, guard: CallGuard, guards: list[Guard]) -> None:
        self._guard = guard
        self._guards = guards
        self._every = min(each.settings.every_characters for each in guards if isinstance(each.settings, kinds.Moderation | kinds.Webhook))
        self._text = ""
        self._context = ""

    async def feed(self, more: str, *, ended: bool) -> str:
        self._text += more
        if not self._text or (len(self._text) < self._every and not ended):
            return ""
        text, self._text = self._text, ""
        (passed,) = await self._guard.ask(self._guards, [text], "after", context=self._context, partial=True)
        self._context = (self._context + passed)[-CONTEXT_CHARACTERS:]
        return passed


def _texts_of(delta: dict[str, Any]) -> Iterator[tuple[str, Place | None]]:
    """The texts of a delta, each with a name that is the same in the next chunk; None for a tool of which nothing is said yet."""
    for member in texts.TEXT_MEMBERS:
        for place in texts.of_member(delta, member):
            yield member, place
    audio = delta.get("audio")
    if isinstance(audio, dict):
        for place in texts.of_member(audio, "transcript"):
            yield "audio", place
    calls = delta.get("tool_calls")
    for number, call in enumerate(calls if isinstance(calls, list) else ()):
        if isinstance(call, dict):
            yield f"tool {call.get('index', number)}", next(iter(texts.of_tools({"tool_calls": [call]})), None)
    for place in texts.of_tools({"function_call": delta.get("function_call")}):
        yield "function", place


def _delta(name: str, text: str) -> dict[str, Any]:
    """A delta that carries more of a text.

    >>> _delta("tool 1", "}")
    {'tool_calls': [{'index': 1, 'function': {'arguments': '}'}}]}
    """
    kind, _, number = name.partition(" ")
    match kind:
        case "tool":
            return {"tool_calls": [{"index": int(number) if number.isdigit() else 0, "function": {"arguments": text}}]}
        case "function":
            return {"function_call": {"arguments": text}}
        case "audio":
            return {"audio": {"transcript": text}}
        case _:
            return {name: text}
