"""The adapter: OpenAI's wire to the embedder of this installation, wherever settings say it listens."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import msgspec
from django.conf import settings

from apps.gateway.errors import UpstreamUnfit
from apps.gateway.upstreams import Attempt, UpstreamResponse
from apps.gateway.upstreams.openai import adapter as openai


class Embedder:
    """The upstream kind `embedder`."""

    def open(self, attempt: Attempt) -> AbstractAsyncContextManager[UpstreamResponse]:
        """Send the request; raises UpstreamUnfit for anything but embeddings."""
        if attempt.operation != "embeddings":
            raise UpstreamUnfit("This model makes embeddings; it answers no chat completions.", param="model")
        target = attempt.target
        if not target.base_url:  # the operator's own, on loopback
            target = replace(target, base_url=f"{settings.MENHIR_EMBEDDER_URL}/v1", guarded=False)
        return openai.open(msgspec.structs.replace(attempt, target=target))
