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
BUDGETLESS = re.compile(r"gemini-(?:1|2\.0)|gemma-[1-3]")
"""Who does not think, and refuses to be told how much."""
MOST_TOKENS, MOST_TOKENS_OF_PRO, FEWEST_TOKENS_OF_PRO = 24_576, 32_768, 128
"""What a budget may be. A `pro` cannot be kept from thinking."""
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
    effort, thinking = chat.reasoning_effort, chat.thinking
    if effort is not None and effort not in BUDGETS:
        refuse(f"`reasoning_effort` is one of {', '.join(BUDGETS)}; not `{effort}`.", param="reasoning_effort")
    if BUDGETLESS.search(model):
        return None
    if thinking is None:
        return _striving(effort, model) if effort is not None else None
    if thinking.get("type") == "disabled":
        return _least(model)
    budget = thinking.get("budget_tokens")
    if isinstance(budget, int):
        return {"includeThoughts": True, "thinkingBudget": min(budget, MOST_TOKENS_OF_PRO if "pro" in model else MOST_TOKENS)}
    return {"includeThoughts": True, **(_striving(effort, model) if effort is not None else {})}


def _striving(effort: str, model: str) -> Part:
    return {"thinkingLevel": LEVELS[effort]} if version_of(model) >= LEVELLED else {"thinkingBudget": BUDGETS[effort]}


def _least(model: str) -> Part:
    if version_of(model) >= LEVELLED:
        return {"thinkingLevel": "low" if "pro" in model else "minimal"}
    return {"thinkingBudget": FEWEST_TOKENS_OF_PRO if "pro" in model else 0}
