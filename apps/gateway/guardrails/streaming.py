"""A stream under guard: text is held back until it is known to be harmless, everything else passes at once.

Each text of each choice (what it says, what it reasons, the arguments of each tool) goes through the rules by itself. It has ended
when the choice says so. What is held back of it is sent before another text begins, and before a signature that is for it; where texts
take turns it waits until the end, for it may go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from apps.gateway.guardrails import deltas, kinds
from apps.gateway.guardrails.elsewhere import MOST_INLINE_CHARACTERS, elsewhere
from apps.gateway.guardrails.sieve import Sieve
from apps.gateway.sse import EventSplitter, data_of
from apps.gateway.wire import loaded

if TYPE_CHECKING:
    from apps.gateway.call import Respond
    from apps.gateway.guardrails.guard import Guard
    from apps.gateway.guardrails.guarding import CallGuard
    from apps.gateway.guardrails.places import Place

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

    @property
    def rewrote(self) -> bool:
        """Whether it let through anything but what came."""

    async def feed(self, more: str, *, ended: bool) -> str:
        """Take a piece, the last one with `ended`; give what may go on."""


class StreamGuard:
    """Lets a stream through, event by event."""

    def __init__(self, guard: CallGuard) -> None:
        self._guard = guard
        self._events = EventSplitter()
        self._open: dict[tuple[int, str], list[Step]] = {}
        self._begun: set[tuple[int, str]] = set()
        self._rewritten: set[tuple[int, str]] = set()
        self._head: dict[str, Any] = {"object": "chat.completion.chunk"}
        self._characters = 0
        self._judged: dict[int, Judged] = {}

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
            if not isinstance(choice, dict):
                empty = False
                continue
            held, before = await self._choice(choice)
            first += before
            if choice.get("logprobs") is not None:
                choice["logprobs"] = None  # it spells out what is held back
                changed = True
            changed |= held
            empty = empty and held and deltas.is_empty(choice) and choice.get("finish_reason") is None
        if changed and empty:
            return b"".join(first)
        return b"".join([*first, b"data: %b\n\n" % orjson.dumps(chunk) if changed else event])

    async def _choice(self, choice: dict[str, Any]) -> tuple[bool, list[bytes]]:
        """Whether anything of this chunk is held back or rewritten, and what must be sent before it."""
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        pieces = deltas.of_choice(choice)
        names = {piece.name for piece in pieces}
        signed = deltas.signed(choice)
        before: list[bytes] = []
        if any((index, name) not in self._begun for name in names):
            self._begun |= {(index, name) for name in names}
            before.append(await self._end(index, which=lambda name: name not in names))
        elif signed:
            before.append(await self._end(index, which=lambda name: deltas.is_thought(name) and name not in names))
        changed = False
        last: dict[str, Place] = {}
        for name, place, whole in pieces:
            if place is not None:
                changed |= await self._pass(index, name, place, whole=whole)
                last[name] = place
        is_last = choice.get("finish_reason") is not None
        for name, place in last.items():
            if (is_last or (signed and deltas.is_thought(name))) and (rest := await self._rest(index, name)):
                place.put(place.text + rest)
                changed = True
        if is_last:
            before.append(await self._end(index))
        for signers, piece in signed:
            if any((index, name) in self._rewritten for name in signers):
                piece["signature"] = ""  # it is for what the model thought, not for what is left of that
                changed = True
        return changed, before

    async def _pass(self, index: int, name: str, place: Place, *, whole: bool) -> bool:
        was = text = place.text
        if not place.again:
            self._count(len(was))
        if whole:
            steps = self._steps(name, again=place.again)
        elif (index, name) in self._open:
            steps = self._open[index, name]
        else:
            steps = self._open[index, name] = self._steps(name, again=place.again)
        for step in steps:
            text = await step.feed(text, ended=whole)
        if text == was:
            return False
        place.put(text)
        return True

    async def _rest(self, index: int, name: str) -> str:
        """End one text, and give what was held back of it."""
        text = ""
        steps = self._open.pop((index, name), [])
        for step in steps:
            text = await step.feed(text, ended=True)
        if any(step.rewrote for step in steps):
            self._rewritten.add((index, name))
        return text

    async def _end(self, index: int, *, which: Callable[[str], bool] = lambda _: True) -> bytes:
        """End texts of a choice, and give the chunks that carry what was held back of them."""
        ended = [name for number, name in self._open if number == index and which(name)]
        rests = [(name, rest) for name in ended if (rest := await self._rest(index, name))]
        chunks = [{**self._head, "choices": [choice]} for choice in deltas.carrying(index, rests)]
        return b"".join(b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks)

    def _count(self, characters: int) -> None:
        self._characters += characters
        for guard in self._guard.after:
            if guard.kind == "size":
                for limit in guard.excess(self._characters):
                    self._guard.hit(guard, "after", limit)

    def _steps(self, name: str, *, again: bool) -> list[Step]:
        steps: list[Step] = []
        for is_remote, several in groupby(self._guard.after, key=lambda guard: guard.is_remote):
            if is_remote:
                steps.append(_Judged(self._guard, list(several), self._judged.setdefault(len(steps), Judged())))
                continue
            found = [(guard, guard.finder) for guard in several if guard.finder is not None]
            steps += [_Searched(self._guard.sieve(guard, finder, "after", again=again)) for guard, finder in found]
        placeholders = self._guard.placeholders
        if placeholders and not deltas.is_signed(name):
            steps.append(_Searched(Sieve(placeholders, placeholders.restored)))
        return steps


class _Searched:
    """Searched at once."""

    def __init__(self, sieve: Sieve) -> None:
        self._sieve = sieve

    @property
    def rewrote(self) -> bool:
        return self._sieve.rewrote

    async def feed(self, more: str, *, ended: bool) -> str:
        if len(more) > MOST_INLINE_CHARACTERS:
            return await elsewhere(self._sieve.feed, more, ended=ended)
        return self._sieve.feed(more, ended=ended)


@dataclass(slots=True)
class Judged:
    """What was judged last: some say the same thought in two places, and it is asked about once."""

    context: str = ""
    text: str = ""
    passed: str = ""


class _Judged:
    """Gathered until there is enough to be judged, and passed on when it has been."""

    def __init__(self, guard: CallGuard, guards: list[Guard], last: Judged) -> None:
        self._guard = guard
        self._guards = guards
        self._every = min(each.settings.every_characters for each in guards if isinstance(each.settings, kinds.Moderation | kinds.Webhook))
        self._last = last
        self._text = ""
        self._context = ""
        self.rewrote = False

    async def feed(self, more: str, *, ended: bool) -> str:
        self._text += more
        if not self._text or (len(self._text) < self._every and not ended):
            return ""
        text, self._text = self._text, ""
        last = self._last
        if (last.context, last.text) != (self._context, text):
            (passed,) = await self._guard.ask(self._guards, [text], "after", context=self._context, partial=True)
            last.context, last.text, last.passed = self._context, text, passed
        self.rewrote |= last.passed != text
        self._context = (self._context + last.passed)[-CONTEXT_CHARACTERS:]
        return last.passed
