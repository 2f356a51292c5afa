"""An answer in OpenAI's wire: one JSON object, or the events of a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from menhir.metering import tokens

WORD = re.compile(r"\s*\S+|\s+$")
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer and what identifies it. `prompt_tokens` is an estimate, like all tokens here."""

    id: str
    created: int
    model: str
    text: str
    finish_reason: str
    prompt_tokens: int

    @property
    def usage(self) -> dict[str, int]:
        """OpenAI's `usage`."""
        completion = tokens.of_text(self.text)
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": completion, "total_tokens": self.prompt_tokens + completion}

    def whole(self) -> bytes:
        """The body of an answer that is not streamed."""
        message = {"role": "assistant", "content": self.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return orjson.dumps({**self._named("chat.completion"), "choices": [choice], "usage": self.usage})

    def events(self) -> Iterator[bytes]:
        """The events of a stream: the role, each word, the finish, the usage, `[DONE]`."""
        yield self._event({"role": "assistant", "content": ""})
        for word in split(self.text):
            yield self._event({"content": word})
        yield self._event({}, finish_reason=self.finish_reason)
        yield b"data: " + orjson.dumps({**self._named("chat.completion.chunk"), "choices": [], "usage": self.usage}) + b"\n\n"
        yield DONE

    def _event(self, delta: Mapping[str, Any], *, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return b"data: " + orjson.dumps({**self._named("chat.completion.chunk"), "choices": [choice], "usage": None}) + b"\n\n"

    def _named(self, object_: str) -> dict[str, Any]:
        return {"id": self.id, "object": object_, "created": self.created, "model": self.model, "system_fingerprint": None}


def split(text: str) -> list[str]:
    r"""The words of a text, each with the space before it: joined they are the text.

    >>> split("Press *New key*.\n\n[1]")
    ['Press', ' *New', ' key*.', '\n\n[1]']
    """
    return WORD.findall(text)


def cut(text: str, *, most_tokens: int | None) -> tuple[str, str]:
    """The text within a limit of tokens, at a word, and OpenAI's `finish_reason` for it.

    >>> cut("one two three four", most_tokens=2)
    ('one two', 'length')
    """
    if most_tokens is None or tokens.of_text(text) <= most_tokens:
        return text, "stop"
    kept = ""
    for word in split(text):
        if tokens.of_text(kept + word) > most_tokens:
            break
        kept += word
    return kept, "length"
