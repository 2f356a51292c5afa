"""Where the chat says the texts of an input, so that what guardrails leave of them there is what is stored here.

Guardrails rewrite the messages of a call, never the items that they were made of. Each text therefore remembers both places, and is
brought up to date once the rules have been asked. What a rule puts back into the answer is put back here, too: a conversation that goes on
is read anew by the rules, and must name the same by the same placeholder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.gateway.guardrails.guarding import CallGuard
from apps.gateway.guardrails.sieve import Sieve

OF_THE_OLD_TEXT = ("annotations", "logprobs")
"""Members of a part that point into its text by position."""


@dataclass(slots=True)
class Copy:
    """A text of an item, or several that the chat says as one, and where it says them."""

    kept: Sequence[tuple[dict[str, Any], str]]
    """The members that hold them in the item; of several the first takes whatever was written anew."""
    said: dict[str, Any]
    member: str
    was: str = field(init=False)

    def __post_init__(self) -> None:
        self.was = self.said[self.member]

    def update(self, guard: CallGuard) -> None:
        """Store what is said now."""
        now: str = self.said[self.member]
        if now == self.was:
            return
        if guard.placeholders:
            now = Sieve(guard.placeholders, guard.placeholders.restored).feed(now, ended=True)
        for number, (holder, member) in enumerate(self.kept):
            holder[member] = "" if number else now
            for name in OF_THE_OLD_TEXT:
                if holder.get(name):
                    holder[name] = []


def update(copies: Iterable[Copy], response: dict[str, Any], guard: CallGuard) -> None:
    """Bring what is stored up to date with what the rules have left: the texts of the input, and what the response repeats."""
    for copy in copies:
        copy.update(guard)
    prompt = response.get("prompt")
    if isinstance(prompt, dict) and any(rule.action == "redact" or rule.is_remote for rule in guard.before):
        # Its values are in the text of the prompt, where rules may have rewritten them.
        response["prompt"] = {**prompt, "variables": None}
