"""An attempt as `dispatch` makes it, for translations, which need no server."""

from __future__ import annotations

from typing import Any

from apps.gateway.call import ResolvedTarget
from apps.gateway.upstreams import Attempt
from menhir.postgres.ids import uuid7


def attempt_of(model: str, body: dict[str, Any], *, stream: bool = False, max_output_tokens: int | None = None) -> Attempt:
    target = ResolvedTarget(kind="", provider="peer", provider_id=uuid7(), base_url="", credential="", headers={}, upstream_model=model)
    return Attempt(
        operation="chat",
        path="",
        body=body,
        raw=None,
        stream=stream,
        target=target,
        request_id="req-1",
        session=None,  # type: ignore[arg-type]
        max_output_tokens=max_output_tokens,
    )
