"""How much a model shall think, when Anthropic's words for it go to somebody who has OpenAI's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.gateway.call import ResolvedTarget

EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
"""What is beyond `high` only some models know."""
BUDGETS = ((16_384, "high"), (4_096, "medium"), (0, "low"))
"""The least tokens that are so much effort: the other way round as `reasoning_effort` becomes a Claude's budget."""

REASONS = re.compile(r"(?:o\d|gpt-[5-9])(?!.*-chat)")
REASONS_WITH_TOOLS = re.compile(r"o\d|gpt-5(?:\.1)?(?:-|$)")
"""From GPT-5.2 on `/chat/completions` refuses an effort beside tools: "use /v1/responses instead"."""


def effort_for(body: Mapping[str, Any], target: ResolvedTarget) -> str | None:
    """Give `reasoning_effort` for what a request says in Anthropic's words; None when it says nothing, or the model could not be told.

    >>> asked_effort({"output_config": {"effort": "max"}}), asked_effort({"thinking": {"type": "enabled", "budget_tokens": 5_000}})
    ('high', 'medium')
    """
    effort = asked_effort(body)
    if effort is None or target.kind != "openai":
        return effort
    reasons = REASONS_WITH_TOOLS if body.get("tools") else REASONS
    return effort if reasons.match(target.upstream_model) else None


def asked_effort(body: Mapping[str, Any]) -> str | None:
    """Give the effort that is asked for by name, else the one that a budget of tokens comes to."""
    config, thinking = body.get("output_config"), body.get("thinking")
    named = config.get("effort") if isinstance(config, dict) else None
    if isinstance(named, str) and named in EFFORTS:
        return EFFORTS[named]
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return None
    budget = thinking.get("budget_tokens")
    return next((effort for least, effort in BUDGETS if budget >= least), None) if type(budget) is int else None
