"""A streamed answer: Gemini's events as OpenAI's chunks.

Each event is an answer in little: what each candidate adds, the usage so far, at last a reason. Nothing says that the stream is over but
its end, and calls of tools come whole.
"""

from __future__ import annotations

from typing import Any

from apps.gateway.errors import UpstreamCut
from apps.gateway.upstreams.gemini.decode import Candidate, delta_of, logprobs_of, read, reason_of, usage_of
from apps.gateway.upstreams.openai.answer import Answer


class Stream:
    """Reads the events of one answer."""

    def __init__(self, *, provider: str, model: str, request_id: str, created: int) -> None:
        self._provider = provider
        self._model = model
        self._request_id = request_id
        self._created = created
        self._answer: Answer | None = None
        self._calls: dict[int, int] = {}
        """How many calls each candidate has made; whoever is in here has begun."""
        self._reasons: dict[int, str] = {}
        self._usage: dict[str, Any] | None = None

    def take(self, said: bytes | None) -> bytes:
        """Give the chunks of an event."""
        if said is None:
            return b""
        try:
            response = read(said, provider=self._provider)
        except ValueError as e:
            raise UpstreamCut(f"The upstream `{self._provider}` sent something that is not an event.") from e
        if self._answer is None:
            named = response.response_id or self._request_id
            self._answer = Answer(id=named, model=response.model_version or self._model, created=self._created)
        if response.usage_metadata is not None:
            self._usage = response.usage_metadata
        answer = self._answer
        return b"".join([self._add(answer, candidate) for candidate in response.candidates])

    def end(self) -> bytes:
        """Give the reasons, the usage and the end; raises UpstreamCut when a candidate had not come so far."""
        answer = self._answer
        if answer is None or not self._reasons or self._calls.keys() - self._reasons.keys():
            raise UpstreamCut(f"The upstream `{self._provider}` broke off in the middle of its answer.")
        finished = [
            answer.finish(reason_of(reason, calls=self._calls.get(index, 0) > 0), index=index)
            for index, reason in sorted(self._reasons.items())
        ]
        return b"".join(finished) + answer.last(usage_of(self._usage))

    def _add(self, answer: Answer, candidate: Candidate) -> bytes:
        index = candidate.index
        begun = index in self._calls
        delta = delta_of(candidate, answer_id=answer.id, calls=self._calls.get(index, 0))
        if candidate.finish_reason is not None:
            self._reasons[index] = candidate.finish_reason
        if begun and not delta:
            return b""
        self._calls[index] = self._calls.get(index, 0) + len(delta.get("tool_calls", ()))
        if not begun:
            delta = {"role": "assistant", **(delta or {"content": ""})}
        return answer.delta(delta, index=index, logprobs=logprobs_of(candidate))
