"""Every kind of provider and the adapter that speaks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.gateway.upstreams import anthropic, embedder, extract, gemini, openai

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.gateway.upstreams import Upstream

UPSTREAMS: Mapping[str, Upstream] = {
    "openai": openai.adapter,
    "anthropic": anthropic.adapter,
    "gemini": gemini.adapter,
    "embedder": embedder.adapter,
    "extract": extract.adapter,
}
