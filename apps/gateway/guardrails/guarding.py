"""A call under guard: its request is checked before anything else is done with it, its answer before the client has it.

Rules are asked in their order. Those next to each other that live elsewhere (moderation, webhooks) are asked at the same time, and
no database connection is held meanwhile. What a rule rewrites is what the next one sees.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import orjson

from apps.gateway.errors import GuardrailBlocked, GuardrailError, GuardrailUnavailable
from apps.gateway.guardrails import kinds, texts
from apps.gateway.guardrails.budget import INLINE_STEPS, Budget
from apps.gateway.guardrails.elsewhere import MOST_INLINE_CHARACTERS, elsewhere
from apps.gateway.guardrails.events import Note
from apps.gateway.guardrails.judging import JUDGE, Question, Verdict, judge
from apps.gateway.guardrails.placeholders import Placeholders
from apps.gateway.guardrails.places import Thought
from apps.gateway.guardrails.sieve import Searched, Sieve, replaced, searched
from apps.gateway.guardrails.streaming import Shield
from apps.gateway.settle import Tally, open_call, settle
from apps.gateway.wire import loaded
from menhir.errors import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apps.gateway.call import Call, ResolvedRoute, Respond
    from apps.gateway.guardrails.guard import Guard
    from apps.gateway.guardrails.places import Place
    from apps.gateway.guardrails.sieve import Finder, Span

Stage = Literal["before", "after"]
TOO_COSTLY = "the text costs too much to look at"


async def guard_request(call: Call, route: ResolvedRoute) -> None:
    """Check a call's request by the guardrails of its route, and let them watch over its answer.

    Raises GuardrailError for a call that may not go on, which then is in the ledger, at no cost.
    """
    guard = route.guards.of(call) if route.guards is not None else None
    if guard is None:
        return
    if call.guard is not None:
        guard = call.guard.joined(guard)
    call.guard = guard
    try:
        await guard.check_request()
        guard.report()
    except GuardrailError as e:
        await open_call(call, route)
        await settle(call, Tally(), outcome="failed", status=status_of(e), error_code=e.reason)
        raise


def under_guard_of(named: ResolvedRoute, chosen: ResolvedRoute) -> ResolvedRoute:
    """Let the guardrails of the route that a client named watch over the one that was chosen for him, too."""
    if named.guards is None:
        return chosen
    fingerprint = hashlib.blake2b(chosen.fingerprint + named.guards.fingerprint.encode(), digest_size=len(chosen.fingerprint) or 16)
    return replace(chosen, guards=named.guards.joined(chosen.guards), fingerprint=fingerprint.digest())


class RouteGuards:
    """The guardrails of one route."""

    __slots__ = ("fingerprint", "guards")

    def __init__(self, guards: tuple[Guard, ...], *, fingerprint: str = "") -> None:
        self.guards = guards
        self.fingerprint = fingerprint
        """Changes with what they do to an answer."""

    def joined(self, more: RouteGuards | None) -> RouteGuards:
        """These, and then those of the others that are not among them."""
        if more is None:
            return self
        known = {guard.id for guard in self.guards}
        others = tuple(guard for guard in more.guards if guard.id not in known)
        return RouteGuards((*self.guards, *others), fingerprint=self.fingerprint + more.fingerprint)

    def of(self, call: Call) -> CallGuard | None:
        """Those that watch over this call. A guardrail's own question to a model is not guarded: it would ask itself."""
        if call.principal.kind == "system" and call.principal.name == JUDGE:
            return None
        watching = tuple(guard for guard in self.guards if guard.watches(call))
        return CallGuard(call, watching) if watching else None


class CallGuard:
    """The guardrails at work on one call, and what they have found."""

    def __init__(self, call: Call, guards: Sequence[Guard]) -> None:
        self.call = call
        self.before = [guard for guard in guards if guard.before]
        self.after = [guard for guard in guards if guard.after and guard.kind != "models"]
        self.known = {guard.id for guard in guards}
        self.placeholders = Placeholders()
        self._notes: dict[tuple[str, str, str], Note] = {}

    def joined(self, more: CallGuard) -> CallGuard:
        """These, which have seen the request, and those of the others that have not."""
        known = self.known
        self.before = [guard for guard in more.before if guard.id not in known]
        self.after += [guard for guard in more.after if guard.id not in known]
        self.known = known | more.known
        return self

    @property
    def shareable(self) -> bool:
        """Whether another caller may have the same answer: nothing of this one is put into it, and the same rules watch over both."""
        return not self.placeholders and not any(guard.keys or guard.kind == "webhook" for guard in self.after)

    async def check_request(self) -> None:
        """Check every text of the request, and rewrite it where a rule says so. Raises GuardrailError."""
        body = self.call.body
        for guard in self.before:
            if guard.refuses_model(self.call):
                self.hit(guard, "before", "model")
            if guard.refuses_unread and (what := texts.unread(body)) is not None:
                self._note(guard, "before", "failed", f"could not read {what}")
                raise GuardrailUnavailable(
                    f"The guardrail `{guard.name}` cannot read {what}, and nothing may pass without it.", guardrail=guard.name
                )
        messages = body.get("messages")
        places = texts.of_request(body)
        await self.check(self.before, places, "before", messages=len(messages) if isinstance(messages, list) else 0)

    async def check_answer(self, body: bytes) -> bytes:
        """Check a whole answer; give what the client may have of it. Raises GuardrailError."""
        if self.call.operation not in {"chat", "completions"} or not (self.after or self.placeholders):
            return body
        answer = loaded(body)
        choices = list(texts.of_answer(answer))
        places = [place for _, found in choices for place in found]
        changed = await self.check(self.after, places, "after")
        if self.placeholders:
            changed |= self._restore(places)
        if not changed:
            return body
        for choice, _ in choices:
            if choice.get("logprobs") is not None:
                choice["logprobs"] = None  # it spells out what was taken out of the text
        return orjson.dumps(answer)

    def _restore(self, places: list[Place]) -> bool:
        placeholders = self.placeholders
        changed = False
        for place in places:
            if isinstance(place, Thought) and place.is_signed:
                continue
            was = place.text
            if (now := replaced(was, list(placeholders.find(was, 0)), placeholders.restored)) != was:
                place.write(now)
                changed = True
        return changed

    def stream(self, respond: Respond) -> Shield | None:
        """What a stream must pass on its way to the client; None when nothing watches over answers here."""
        return Shield(self, respond) if self.after or self.placeholders else None

    def sieve(self, guard: Guard, finder: Finder, stage: Stage, *, again: bool = False) -> Sieve:
        """What a text goes through for one rule; what is found in one that is said `again` is not counted again."""
        return Sieve(
            finder,
            self._found(guard, stage, again=again),
            eager=guard.action == "block" and finder.certain,
            give_up=lambda: self._failed(guard, stage, TOO_COSTLY),
        )

    def _found(self, guard: Guard, stage: Stage, *, again: bool) -> Callable[[Span, str], str]:
        settings = guard.settings

        def put(span: Span, text: str) -> str:
            if not again or guard.action == "block":
                self.hit(guard, stage, span.kind if isinstance(settings, kinds.Pii) else "pattern")
            if guard.action != "redact":
                return text
            if isinstance(settings, kinds.Pii):
                return self.placeholders.of(span.kind, text, restore=settings.restore and stage == "before")
            return settings.replacement if isinstance(settings, kinds.Regex) else text

        return put

    def hit(self, guard: Guard, stage: Stage, kind: str) -> None:
        """Note that a rule found something; raises GuardrailBlocked when that ends the call."""
        outcome = {"block": "blocked", "redact": "redacted"}.get(guard.action, "flagged")
        self._note(guard, stage, outcome, kind)
        if guard.action == "block":
            raise GuardrailBlocked(f"This call was blocked by the guardrail `{guard.name}`.", guardrail=guard.name)

    async def ask(self, guards: Sequence[Guard], said: list[str], stage: Stage, *, context: str = "", partial: bool = False) -> list[str]:
        """Let others judge these texts, all at once; give the texts as they may go on. Raises GuardrailError."""

        def question(guard: Guard) -> Question:
            return Question(call=self.call, guardrail=guard.name, stage=stage, texts=said, context=context, partial=partial)

        verdicts = await asyncio.gather(*(judge(guard, question(guard)) for guard in guards))
        replaced = False
        for guard, verdict in zip(guards, verdicts, strict=True):
            if replaced and verdict.texts is not None:
                verdict = await judge(guard, question(guard))  # noqa: PLW2901 - it replaced what another has replaced meanwhile
            self._take(guard, stage, verdict)
            if verdict.texts is not None and guard.action != "flag":
                said, replaced = verdict.texts, True
        return said

    @property
    def notes(self) -> list[Note]:
        """What was found so far."""
        return list(self._notes.values())

    def report(self) -> None:
        """Hand over what was found, to be kept as events."""
        from apps.gateway.guardrails.events import keep

        notes, self._notes = self._notes, {}
        if notes:
            keep(self.call, notes.values())

    async def check(self, guards: Sequence[Guard], places: list[Place], stage: Stage, *, messages: int = 0) -> bool:
        """Let each rule see the texts, in order; whether any of them was rewritten."""
        changed = False
        characters = sum(len(place.text) for place in places if not place.again)
        for is_remote, several in groupby(guards, key=lambda guard: guard.is_remote):
            if is_remote:
                before = [place.text for place in places]
                if not before:
                    continue
                for place, was, now in zip(places, before, await self.ask(list(several), before, stage), strict=True):
                    if now != was:
                        self._write(place, now, stage)
                        changed = True
                continue
            for guard in several:
                for limit in guard.excess(characters, messages):
                    self.hit(guard, stage, limit)
                if guard.finder is not None:
                    changed |= await self._search(guard, guard.finder, places, stage)
        return changed

    async def _search(self, guard: Guard, finder: Finder, places: list[Place], stage: Stage) -> bool:
        found = await _spans(finder, [place.text for place in places])
        changed = False
        for place, spans in zip(places, found.spans, strict=True):
            was = place.text
            if (now := replaced(was, spans, self._found(guard, stage, again=place.again))) != was:
                self._write(place, now, stage)
                changed = True
        if found.exhausted:
            self._failed(guard, stage, TOO_COSTLY)
        return changed

    def _write(self, place: Place, text: str, stage: Stage) -> None:
        if stage == "before":
            self.call.raw = None  # at once: should a later rule block the call, what is kept of it is what this one left
        place.write(text)

    def _take(self, guard: Guard, stage: Stage, verdict: Verdict) -> None:
        if verdict.failure is not None:
            self._failed(guard, stage, verdict.failure)
        for kind in verdict.kinds:
            self.hit(guard, stage, kind)
        if verdict.texts is not None:
            self._note(guard, stage, "flagged" if guard.action == "flag" else "redacted", "replaced")

    def _failed(self, guard: Guard, stage: Stage, why: str) -> None:
        self._note(guard, stage, "failed", why)
        if guard.fails_closed:
            raise GuardrailUnavailable(
                f"The guardrail `{guard.name}` could not be asked, and nothing may pass without it.", guardrail=guard.name
            )

    def _note(self, guard: Guard, stage: Stage, outcome: str, kind: str) -> None:
        note = self._notes.get((guard.name, stage, outcome))
        if note is None:
            note = self._notes[guard.name, stage, outcome] = Note(guard.id, guard.name, stage, outcome, {})
        note.counts[kind] = note.counts.get(kind, 0) + 1


async def _spans(finder: Finder, said: list[str]) -> Searched:
    """Search on the loop what is short and turns out to be cheap, all else in a thread."""
    if sum(map(len, said)) <= MOST_INLINE_CHARACTERS:
        found = searched(finder, said, Budget(INLINE_STEPS))
        if not found.exhausted:
            return found
    return await elsewhere(searched, finder, said, Budget())
