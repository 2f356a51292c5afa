"""How much a model thinks before it answers: OpenAI's `reasoning_effort`, or Anthropic's own `thinking` as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from apps.gateway.upstreams.anthropic.conversation import thoughts_of
from apps.gateway.upstreams.openai.request import refuse

if TYPE_CHECKING:
    from apps.gateway.upstreams.anthropic.traits import Traits
    from apps.gateway.upstreams.openai.request import Chat, Message, Part

BUDGETS = {"minimal": 1_024, "low": 1_024, "medium": 4_096, "high": 16_384, "xhigh": 32_768, "max": 32_768}
SMALLEST_BUDGET = 1_024
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
BEYOND_HIGH = frozenset({"xhigh", "max"})


class Thinking(msgspec.Struct, frozen=True):
    """What is said of thinking, which may be nothing."""

    config: Part | None = None
    effort: str | None = None

    @property
    def budget(self) -> int:
        """Tokens that thinking takes of the answer's."""
        budget = self.config.get("budget_tokens") if self.config is not None else None
        return budget if isinstance(budget, int) else 0

    @property
    def on(self) -> bool:
        """Whether the model will think."""
        return self.config is not None and self.config.get("type") != "disabled"


def thinking_of(chat: Chat, traits: Traits, *, limit: int | None, forced: bool) -> Thinking:
    """Give the thinking of a call.

    One whose answer is forced into a tool cannot think, nor can one go on thinking about its calls of tools whose earlier thoughts the
    client did not keep: Anthropic refuses both, and a client that named an effort alone did not ask for either.
    """
    if chat.thinking is not None:
        return Thinking(chat.thinking)
    effort = chat.reasoning_effort
    if effort is None or effort == "none":
        return Thinking()
    if effort not in BUDGETS:
        refuse(f"`reasoning_effort` is one of {', '.join(BUDGETS)} and none; not `{effort}`.", param="reasoning_effort")
    if traits.adaptive:
        said = EFFORTS[effort] if traits.strives or effort not in BEYOND_HIGH else "high"
        return Thinking(None if forced else {"type": "adaptive"}, said)
    if not traits.budgets or forced or _thoughts_are_lost(chat.messages):
        return Thinking()
    budget = BUDGETS[effort]
    room = limit or traits.most_output_tokens
    if room is not None:  # which holds for thoughts and answer together
        budget = min(budget, room // 2)
    return Thinking({"type": "enabled", "budget_tokens": budget}) if budget >= SMALLEST_BUDGET else Thinking()


def _thoughts_are_lost(messages: list[Message]) -> bool:
    """Whether the model is in the middle of its calls, and what it thought before them is not there."""
    for message in reversed(messages):
        if message.role == "user":
            return False
        if message.role == "assistant" and message.tool_calls and not thoughts_of(message):
            return True
    return False
