"""What a Claude of some generation takes and refuses, by its name.

Anthropic removes parameters from newer models, which then answer 400 to what an older one needs. The rules go by version rather than by
a list of names: a model published tomorrow behaves like the newest of today.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

VERSION = re.compile(r"claude-(?:[a-z]+-)*v?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
NEWEST = (99, 0)
OTHERS = (4, 0)
"""Who speaks this wire without being a Claude speaks it as it was when it was copied."""

MODEST_OUTPUT_TOKENS = 4_096
"""What the smallest model of any generation can write."""
USUAL_OUTPUT_TOKENS = 16_384
MOST_OUTPUT_TOKENS = (((4, 6), 128_000), ((3, 7), 64_000), ((3, 5), 8_192), ((0, 0), 4_096))
"""By the version from which it is so, as Anthropic's overview of models has it."""
FIRST_OPUS_4 = ((4, 0), (4, 1))
FIRST_OPUS_4_OUTPUT_TOKENS = 32_000


@dataclass(frozen=True, slots=True)
class Traits:
    """What a model takes."""

    samples: bool
    """`temperature`, `top_p` and `top_k`."""
    samples_once: bool
    """… but not `temperature` and `top_p` together."""
    adaptive: bool
    """Thinking is asked for by effort, and not by a budget of tokens."""
    budgets: bool
    """Thinking is asked for by a budget of tokens."""
    structured: bool
    """Answers and tool calls can be held to a JSON schema."""
    strives: bool
    """There is an effort beyond `high`."""
    output_tokens: int
    """What an answer may take when nobody said a limit: the wire wants one."""
    most_output_tokens: int | None
    """What it can take at most, thoughts included: a higher limit is refused. None where nobody knows."""


@lru_cache(maxsize=1024)
def traits_of(model: str) -> Traits:
    """Give the traits of a model.

    >>> traits_of("claude-opus-4-8").samples, traits_of("claude-opus-4-20250514").samples
    (False, True)
    >>> [traits_of(model).most_output_tokens for model in ("claude-opus-4-1", "claude-sonnet-4-0", "claude-opus-4-6", "kimi-k3")]
    [32000, 64000, 128000, None]
    >>> traits_of("claude-3-7-sonnet-20250219").budgets, traits_of("claude-sonnet-4-6").adaptive
    (True, True)
    """
    version = version_of(model)
    claude = "claude" in model
    return Traits(
        samples=version < (4, 7),
        samples_once=claude and version >= (4, 1),
        adaptive=version >= (4, 6),
        budgets=(3, 7) <= version < (4, 6),
        structured=claude and version >= (4, 1),
        strives=version >= (4, 7),
        output_tokens=USUAL_OUTPUT_TOKENS if claude and version >= (4, 0) else MODEST_OUTPUT_TOKENS,
        most_output_tokens=_most_output_tokens(model, version) if claude else None,
    )


def _most_output_tokens(model: str, version: tuple[int, int]) -> int:
    if "opus" in model and version in FIRST_OPUS_4:
        return FIRST_OPUS_4_OUTPUT_TOKENS
    return next(most for since, most in MOST_OUTPUT_TOKENS if version >= since)


def version_of(model: str) -> tuple[int, int]:
    """Read the version out of a model's name.

    >>> version_of("claude-sonnet-4-5-20250929"), version_of("anthropic.claude-3-opus-20240229-v1:0"), version_of("claude-haiku-5.5")
    ((4, 5), (3, 0), (5, 5))
    >>> version_of("claude-mythos-preview"), version_of("kimi-k3")
    ((99, 0), (4, 0))
    """
    if "claude" not in model:
        return OTHERS
    found = VERSION.search(model)
    return NEWEST if found is None else (int(found[1]), int(found[2] or 0))
