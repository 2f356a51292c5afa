"""Answers that are none: a provider's own filter lets nothing through, and says so where the answer should end.

OpenAI's and Azure's `content_filter`, Claude's `refusal` and Gemini's `SAFETY` all arrive as `finish_reason: content_filter` in a 200.
While nothing was said, another target may be of another mind; it is looked for only where there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.gateway.errors import ContentFiltered
from apps.gateway.wire import read_chunk, usage_of

if TYPE_CHECKING:
    from apps.gateway.call import ResolvedTarget
    from apps.gateway.settle import Tally
    from apps.gateway.wire import Choice, Chunk

FILTERED = "content_filter"
MARK = b'"content_filter"'


def is_withheld(chunk: Chunk, tally: Tally) -> bool:
    """Tell whether a chunk of a stream in which nothing was said yet only says that nothing will be; what it costs is kept.

    >>> from types import SimpleNamespace
    >>> tally = SimpleNamespace(filtered=False, usage=None)
    >>> end = b'{"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]}'
    >>> usage = b'{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 0}}'
    >>> [is_withheld(read_chunk(said), tally) for said in (usage, b'{"choices": [{"delta": {"content": "A"}}]}', end, usage)]
    [False, False, True, True]
    >>> tally.filtered, tally.usage.input_tokens
    (True, 3)
    """
    choices = chunk.choices
    if choices and all(_is_silent(choice) for choice in choices):
        tally.filtered = tally.filtered or any(choice.finish_reason for choice in choices)
    elif choices or not tally.filtered:
        return False
    tally.usage = usage_of(chunk.usage) or tally.usage
    return True


def is_filtered(body: bytes) -> bool:
    """Tell whether a whole answer consists of choices that say nothing because of a filter.

    >>> is_filtered(b'{"choices": [{"message": {"content": null, "refusal": "No."}, "finish_reason": "content_filter"}]}')
    True
    >>> is_filtered(b'{"choices": [{"message": {"content": "content_filter"}, "finish_reason": "stop"}]}')
    False
    """
    if MARK not in body:
        return False
    choices = read_chunk(body).choices
    return bool(choices) and all(choice.finish_reason == FILTERED and _is_silent(choice) for choice in choices or ())


def nothing_said(target: ResolvedTarget) -> ContentFiltered:
    """Give the error that such an answer is."""
    return ContentFiltered(f"The filter of the upstream `{target.provider}` let nothing of its answer through.", upstream_code=FILTERED)


def _is_silent(choice: Choice) -> bool:
    said = choice.delta or choice.message
    if choice.text or (said is not None and (said.content or said.tool_calls or said.reasoning_content)):
        return False
    if choice.finish_reason:
        return bool(choice.finish_reason == FILTERED)
    return said is not None and bool(said.refusal)  # why Claude ends so, said just before
