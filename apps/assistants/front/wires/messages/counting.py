"""How many tokens a message would take: Anthropic's own count where it answers, else an estimate."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from apps.gateway import runtime
from apps.gateway.call import Call
from apps.gateway.errors import UpstreamError, UpstreamRefused
from apps.gateway.upstreams import Attempt
from apps.gateway.upstreams.anthropic import counting
from apps.gateway.weighing import input_characters
from menhir.metering import tokens

COUNTING: Final = "anthropic"
"""The kind of provider that counts for others."""
PATIENCE_SECONDS: Final = 10.0
OURS: Final = frozenset({"menhir", "prompt"})


class Count(NamedTuple):
    """So many tokens; `exact` when whoever would read them counted."""

    tokens: int
    exact: bool


async def count(call: Call, fields: Mapping[str, Any]) -> Count:
    """Count a call that is resolved, whose client wrote these fields. Raises UpstreamRefused when they are not as they must be.

    What a prompt or an assistant of ours adds is in no words of the client's: there it is estimated.
    """
    target = call.route.targets[0] if call.route is not None and call.route.targets else None
    if target is not None and target.kind == COUNTING and call.prompt_version is None:
        said = {name: value for name, value in fields.items() if name not in OURS}
        attempt = Attempt(
            operation="chat",
            path="",
            body=said,
            raw=None,
            stream=False,
            target=target,
            request_id=call.request_id,
            session=runtime.session(),
        )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return Count(await counting.count(attempt), exact=True)
        except UpstreamRefused:
            raise
        except (UpstreamError, TimeoutError):
            pass  # nobody is served worse by an estimate that says so
    return Count(tokens.of_characters(input_characters(call.body)), exact=False)
