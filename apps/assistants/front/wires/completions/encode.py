"""A chat answer, whole or a chunk of one, becomes a completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

REASONS: Final = {"stop": "stop", "length": "length", "content_filter": "content_filter"}


class Encoder:
    """One answer: which of its choices have said the prompt, and how far their texts reach."""

    def __init__(self, *, echo: str = "") -> None:
        self._echo = echo
        self._reached: dict[int, int] = {}

    def encode(self, said: Mapping[str, Any], *, part: str) -> dict[str, Any]:
        """Give the completion that a chat answer (`part="message"`) or a chunk (`part="delta"`) comes to.

        >>> Encoder(echo="Once ").encode({"id": "chatcmpl-1", "choices": [{"message": {"content": "upon"}}]}, part="message")["choices"]
        [{'text': 'Once upon', 'index': 0, 'logprobs': None, 'finish_reason': None}]
        """
        choices = [self._choice(choice, part) for choice in said.get("choices") or () if isinstance(choice, dict)]
        named = {"id": str(said.get("id") or "").replace("chatcmpl-", "cmpl-"), "object": "text_completion"}
        more = {name: said[name] for name in ("created", "model", "system_fingerprint", "usage", "menhir") if name in said}
        return {**named, **more, "choices": choices}

    def _choice(self, choice: Mapping[str, Any], part: str) -> dict[str, Any]:
        index = choice.get("index") or 0
        said = choice.get(part)
        said = said if isinstance(said, dict) else {}
        text = said.get("content") or said.get("refusal") or ""
        text = text if isinstance(text, str) else ""
        if index not in self._reached:
            self._reached[index] = len(self._echo)
            told = self._echo + text
        else:
            told = text
        probabilities = self._logprobs(choice.get("logprobs"), index)
        self._reached[index] += len(text)
        reason = choice.get("finish_reason")
        return {
            "text": told,
            "index": index,
            "logprobs": probabilities,
            "finish_reason": REASONS.get(reason, "stop") if reason else None,
        }

    def _logprobs(self, said: object, index: int) -> dict[str, Any] | None:
        tokens = said.get("content") if isinstance(said, dict) else None
        if not isinstance(tokens, list):
            return None
        offsets = []
        at = self._reached[index]
        for token in tokens:
            offsets.append(at)
            at += len(token["token"])
        return {
            "tokens": [token["token"] for token in tokens],
            "token_logprobs": [token["logprob"] for token in tokens],
            "top_logprobs": [{other["token"]: other["logprob"] for other in token.get("top_logprobs") or ()} for token in tokens],
            "text_offset": offsets,
        }
