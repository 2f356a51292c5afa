"""A prompt becomes a chat call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apps.assistants.errors import MalformedRequest

OWN: Final = frozenset({"prompt", "suffix", "echo", "logprobs", "best_of"})
MOST_LOGPROBS: Final = 20


def prompt_of(fields: Mapping[str, Any]) -> str:
    """Give the one prompt; raise MalformedRequest for what only a model that completes can take."""
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise MalformedRequest("This model chats: `prompt` is one text.", param="prompt")
    if fields.get("suffix"):
        raise MalformedRequest("This model chats, and cannot write towards a `suffix`.", param="suffix")
    if fields.get("best_of") not in (None, 1, fields.get("n") or 1):
        raise MalformedRequest("This model chats, and cannot choose the `best_of` several.", param="best_of")
    return prompt


def decode(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give the chat call; raise MalformedRequest naming what a chat cannot do.

    >>> decode({"model": "m", "prompt": "Once", "max_tokens": 5, "echo": True})
    {'model': 'm', 'max_tokens': 5, 'messages': [{'role': 'user', 'content': 'Once'}]}
    """
    body = {name: value for name, value in fields.items() if name not in OWN}
    body["messages"] = [{"role": "user", "content": prompt_of(fields)}]
    wanted = fields.get("logprobs")
    if wanted is not None:
        if type(wanted) is not int or not 0 <= wanted <= MOST_LOGPROBS:
            raise MalformedRequest(f"`logprobs` is a number from 0 to {MOST_LOGPROBS}.", param="logprobs")
        body |= {"logprobs": True, "top_logprobs": wanted}
    return body
