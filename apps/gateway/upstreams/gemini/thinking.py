"""How much a model thinks before it answers: OpenAI's `reasoning_effort` in Gemini's tokens or levels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from apps.gateway.upstreams.openai.request import refuse

if TYPE_CHECKING:
    from apps.gateway.upstreams.openai.request import Chat, Part

BUDGETS = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
"""As Google's own OpenAI wire has them."""
LEVELS = {"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
VERSION = re.compile(r"gemini-(\d+)")
NEWEST = 99
LEVELLED = 3
"""From this version on thinking has levels, and calls are signed."""


def version_of(model: str) -> int:
    """Give a model's version: a Gemini that says none is the newest, and what is no Gemini has none.

    >>> version_of("gemini-2.5-flash"), version_of("models/gemini-3-pro-preview"), version_of("gemini-flash-latest"), version_of("gemma-4")
    (2, 3, 99, 0)
    """
    found = VERSION.search(model)
    if found is not None:
        return int(found[1])
    return NEWEST if "gemini" in model else 0


def thinking_of(chat: Chat, model: str) -> Part | None:
    """Give `thinkingConfig`; nothing where the client says nothing, so that the model's own default holds."""
    if chat.thinking is not None:
        budget = chat.thinking.get("budget_tokens")
        if chat.thinking.get("type") == "disabled":
            return {"thinkingBudget": 0}
        return {"includeThoughts": True, **({"thinkingBudget": budget} if isinstance(budget, int) else {})}
    effort = chat.reasoning_effort
    if effort is None:
        return None
    if effort not in BUDGETS:
        refuse(f"`reasoning_effort` is one of {', '.join(BUDGETS)}; not `{effort}`.", param="reasoning_effort")
    if version_of(model) >= LEVELLED:
        return {"thinkingLevel": LEVELS[effort]}
    return {"thinkingBudget": BUDGETS[effort]}
