"""How much text a request or an answer holds, for where nobody else counts.

The unit is a character of English; text in another script weighs as much more as it makes tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from menhir.metering import tokens

if TYPE_CHECKING:
    from apps.gateway.call import Call

LIMIT_WORDS = ("max_completion_tokens", "max_tokens")
READ = ("input", "prompt", "query", "documents")
"""What operations other than chat have their text in."""


def characters_asked(call: Call) -> int:
    """How much text a call's request holds: counted once, by whoever first holds or opens it. After that nobody changes what is asked."""
    if call.characters is None:
        call.characters = input_characters(call.body)
    return call.characters


def input_characters(body: dict[str, Any]) -> int:
    """How much text a request holds: messages, tools, inputs; images are not text.

    >>> input_characters({"messages": [{"role": "user", "content": "four"}, {"content": [{"type": "text", "text": "and5x"}]}]})
    9
    >>> input_characters({"input": ["a", "bc"]}), input_characters({"query": "a", "documents": ["bc", {"text": "def"}]})
    (3, 6)
    """
    total = 0
    for name in READ:
        if name in body:
            total += _characters(body[name])
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            content = message.get("content")
            total += weight_of(content) if isinstance(content, str) else _characters(content)
    if body.get("tools"):
        total += len(str(body["tools"]))
    return total


def weight_of(text: str) -> int:
    r"""The length of a text in characters of English: one in another script weighs as much as it makes tokens.

    >>> weight_of("four"), weight_of("\u5982\u4f55")
    (4, 8)
    """
    return len(text) if text.isascii() else tokens.of_text(text) * tokens.CHARACTERS_PER_TOKEN


def _characters(content: Any, *, depth: int = 2) -> int:
    if isinstance(content, str):
        return weight_of(content)
    if isinstance(content, int):  # a token id, in an embeddings request
        return tokens.CHARACTERS_PER_TOKEN
    if isinstance(content, dict):
        text = content.get("text")
        return weight_of(text) if isinstance(text, str) else 0
    if isinstance(content, list) and depth:  # parts, or lists of token ids; deeper than that nobody means it
        return sum(_characters(part, depth=depth - 1) for part in content)
    return 0


def max_output_tokens(body: dict[str, Any]) -> int | None:
    """The client's own limit, when it set one: of two the larger, for some servers know but one of the words.

    >>> max_output_tokens({"max_completion_tokens": 1, "max_tokens": 100}), max_output_tokens({"max_tokens": None})
    (100, None)
    """
    return max((limit for name in LIMIT_WORDS if type(limit := body.get(name)) is int and limit > 0), default=None)
