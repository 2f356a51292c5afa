"""What a request must hold, operation by operation, as far as the platform itself relies on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from apps.assistants.errors import MalformedRequest
from apps.gateway.call import Operation

Fields = Mapping[str, Any]


def check(operation: Operation, fields: Fields) -> None:
    """Raise `MalformedRequest` naming what is missing or of a shape that nobody takes; for every operation but chat."""
    CHECKS[operation](fields)


def _input(fields: Fields) -> None:
    given = fields.get("input")
    if not _is_text_or_tokens(given):
        raise MalformedRequest("`input` is required: a text, or a list of texts or of tokens, not empty.", param="input")
    if fields.get("encoding_format") not in (None, "float", "base64"):
        raise MalformedRequest("`encoding_format` is `float` or `base64`.", param="encoding_format")
    dimensions = fields.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise MalformedRequest("`dimensions` is a number, at least 1.", param="dimensions")


def _prompt(fields: Fields) -> None:
    if fields.get("prompt") is not None and fields["prompt"] != "" and not _is_text_or_tokens(fields["prompt"]):
        raise MalformedRequest("`prompt` is a text, or a list of texts or of tokens.", param="prompt")


def _moderated(fields: Fields) -> None:
    given = fields.get("input")
    parts = isinstance(given, list) and bool(given) and all(isinstance(part, dict) for part in given)
    texts = isinstance(given, list) and bool(given) and all(isinstance(text, str) for text in given)
    if not (isinstance(given, str) or parts or texts):
        raise MalformedRequest("`input` is required: a text, a list of texts, or a list of parts.", param="input")


def _ranked(fields: Fields) -> None:
    if not isinstance(fields.get("query"), str) or not fields["query"]:
        raise MalformedRequest("`query` is required: a text.", param="query")
    documents = fields.get("documents")
    if not isinstance(documents, list) or not documents or not all(isinstance(document, str | dict) for document in documents):
        raise MalformedRequest("`documents` is required: a list of texts or of objects, not empty.", param="documents")
    most = fields.get("top_n")
    if most is not None and (type(most) is not int or most < 1):
        raise MalformedRequest("`top_n` is a number, at least 1.", param="top_n")


def _is_text_or_tokens(given: object) -> bool:
    """Whether it is a text, or a list of texts, of tokens, or of lists of tokens.

    >>> _is_text_or_tokens("a"), _is_text_or_tokens([[1, 2]]), _is_text_or_tokens(["a", 1]), _is_text_or_tokens([])
    (True, True, False, False)
    """
    if isinstance(given, str):
        return bool(given)
    if not isinstance(given, list) or not given:
        return False
    first = type(given[0])
    return first in {str, int, list} and all(type(item) is first for item in given)


CHECKS: Final[Mapping[Operation, Callable[[Fields], None]]] = {
    "embeddings": _input,
    "completions": _prompt,
    "moderations": _moderated,
    "rerank": _ranked,
}
