"""What the gateway reads and writes of OpenAI's wire: as much as it must understand, and no more.

Answers are decoded by msgspec into the few members that matter here and skipped over otherwise; what is passed on is
always the upstream's own bytes.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import msgspec
import orjson

from apps.gateway.errors import GuardrailBlocked, UpstreamBusy, UpstreamDown, UpstreamError, UpstreamLimited, UpstreamUnfit
from apps.gateway.refusals import refused
from apps.gateway.weighing import weight_of
from menhir.errors import Conflict, Forbidden, Invalid, LimitReached, NotFound, TooLarge, Unauthenticated, Unavailable, Unsupported
from menhir.metering.entries import Usage
from menhir.metering.errors import QuotaExceeded

if TYPE_CHECKING:
    from menhir.errors import MenhirError

T = TypeVar("T")

DONE = b"[DONE]"
DONE_EVENT = b"data: [DONE]\n\n"
MAX_TOKENS_BELIEVED = 1_000_000_000
"""More than this in one call is no count but a mistake."""

MOST_MENDED_BYTES = 4 * 1024 * 1024
"""More than this is not read at the pace of Python's own reader while everybody waits."""
TOO_DEEP = "Too deep to be read."
MOST_MESSAGE_CHARACTERS = 2_000
TOO_OFTEN_CODE = "429"
BUSY_CODES = frozenset({"503", "529"})

ERROR_TYPES: tuple[tuple[type[Exception], str], ...] = (
    (UpstreamError, "upstream_error"),
    (GuardrailBlocked, "guardrail_blocked"),
    (Unauthenticated, "authentication_error"),
    (Forbidden, "permission_error"),
    (QuotaExceeded, "insufficient_quota"),
    (LimitReached, "rate_limit_error"),
    (Unavailable, "service_unavailable"),
    (Invalid, "invalid_request_error"),
    (NotFound, "invalid_request_error"),
    (Conflict, "invalid_request_error"),
    (TooLarge, "invalid_request_error"),
    (Unsupported, "invalid_request_error"),
)


class Delta(msgspec.Struct):
    """What one chunk adds to a choice; the members whose text somebody pays for."""

    content: Any = None
    reasoning_content: Any = None
    refusal: Any = None
    tool_calls: Any = None


class Choice(msgspec.Struct):
    """One of the answers."""

    delta: Delta | None = None
    message: Delta | None = None
    text: Any = None
    """Of a completion, which has neither."""
    index: Any = 0
    finish_reason: Any = None


class Chunk(msgspec.Struct):
    """One event of a chat stream, or one whole chat answer."""

    id: Any = None
    created: Any = None
    model: Any = None
    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None


class Envelope(msgspec.Struct):
    """A whole answer when only its bill is of interest: what it says is checked for syntax and skipped."""

    usage: Any = None
    meta: Any = None
    """Where Cohere writes the bill of a rerank."""
    error: Any = None


_chunk = msgspec.json.Decoder(Chunk)
_envelope = msgspec.json.Decoder(Envelope)
OPAQUE = Chunk()


def read_chunk(data: bytes) -> Chunk:
    """Read one event; one of an unknown shape reads as empty. Raises ValueError when it is not JSON at all."""
    try:
        return _chunk.decode(data)
    except msgspec.ValidationError:
        return OPAQUE
    except msgspec.DecodeError:
        said = mended(data)
    except RecursionError as e:
        raise ValueError(TOO_DEEP) from e
    try:
        return _chunk.decode(said)
    except msgspec.ValidationError:
        return OPAQUE


def read_envelope(body: bytes) -> Envelope:
    """Read usage and error of a whole answer; raises ValueError when it is not a JSON object."""
    return decoded(_envelope, body)


def decoded(decoder: msgspec.json.Decoder[T], said: bytes) -> T:
    """Decode what an upstream says, mended where that is needed; raises ValueError."""
    try:
        return decoder.decode(said)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return decoder.decode(mended(said))
    except RecursionError as e:
        raise ValueError(TOO_DEEP) from e


def loaded(said: bytes) -> Any:
    """Read any JSON that an upstream says, mended where that is needed; raises ValueError."""
    try:
        return orjson.loads(said)
    except orjson.JSONDecodeError:
        return orjson.loads(mended(said))


def mended(said: bytes) -> bytes:
    r"""Give as JSON what Python's own reader takes for it, and so do many servers and clients; raises ValueError for anything else.

    Half of a pair of surrogates (an emoji that was cut between two tokens) becomes a question mark, NaN and the infinite nothing. It is
    for our own eyes: the client gets what the upstream said, and may know how to put the halves together.

    >>> mended(b'{"content": "\\ud83d", "logprob": -Infinity}')
    b'{"content": "?", "logprob": null}'
    """
    if len(said) > MOST_MENDED_BYTES:
        raise ValueError("Too long to be mended.")
    try:
        read = json.loads(said, parse_constant=lambda _: None, parse_float=_finite)
        return json.dumps(read, ensure_ascii=False).encode(errors="replace")
    except RecursionError as e:
        raise ValueError(TOO_DEEP) from e


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


def usage_of(said: Any) -> Usage | None:
    """What an upstream says it used; None when it says nothing that can be believed. An explicit zero is believed.

    >>> usage_of({"prompt_tokens": 3, "completion_tokens": 0}).input_tokens
    3
    >>> usage_of({"prompt_tokens": -1}) is None
    True
    >>> usage_of({"prompt_tokens": 9, "prompt_tokens_details": {"audio_tokens": 7}}).input_audio_tokens
    7
    """
    if type(said) is not dict:
        return None
    if "prompt_tokens" not in said and _is_count(total := said.get("total_tokens")):
        return Usage(input_tokens=total, output_tokens=0, source="upstream")  # a rerank only reads
    read, written = said.get("prompt_tokens"), said.get("completion_tokens", 0)
    if not (_is_count(read) and _is_count(written)):
        return None
    of_read, of_written = said.get("prompt_tokens_details"), said.get("completion_tokens_details")
    of_cached = of_read.get("cached_tokens_details") if type(of_read) is dict else None
    cached = _detail(of_read, "cached_tokens", most=read)
    kept = _detail(of_read, "cache_write_tokens", most=read)
    heard = _detail(of_read, "audio_tokens", most=read)
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cached_input_tokens=cached,
        reasoning_tokens=_detail(of_written, "reasoning_tokens", most=written),
        source="upstream",
        cache_write_tokens=kept,
        cache_write_1h_tokens=_detail(of_read, "cache_write_1h_tokens", most=kept) if kept else 0,
        input_audio_tokens=heard,
        cached_audio_tokens=_detail(of_cached, "audio_tokens", most=min(heard, cached)),
        output_audio_tokens=_detail(of_written, "audio_tokens", most=written),
    )


def billed_of(meta: Any) -> Usage | None:
    """What Cohere says of a rerank: tokens, where it bills by them; None where it bills by searches.

    >>> billed_of({"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 9}}).input_tokens
    9
    >>> billed_of({"billed_units": {"search_units": 1}}) is None
    True
    """
    for group in ("billed_units", "tokens"):
        units = meta.get(group) if type(meta) is dict else None
        if type(units) is dict and _is_count(read := units.get("input_tokens")):
            written = units.get("output_tokens", 0)
            return Usage(input_tokens=read, output_tokens=written if _is_count(written) else 0, source="upstream")
    return None


def characters_of(chunk: Chunk) -> int:
    """How much text the upstream generated in this chunk, in characters of English."""
    total = 0
    for choice in chunk.choices or ():
        said = choice.delta or choice.message
        if said is not None:
            for text in (said.content, said.reasoning_content, said.refusal):
                if type(text) is str:
                    total += weight_of(text)
            if said.tool_calls:
                total += len(orjson.dumps(said.tool_calls))
        elif type(choice.text) is str:
            total += weight_of(choice.text)
    return total


def error_said(said: Any) -> UpstreamError:
    """The error that an upstream put where its answer should be.

    >>> type(error_said({"message": "no", "type": "invalid_request_error"})).__name__
    'UpstreamRefused'
    """
    known = said if type(said) is dict else {"message": said if type(said) is str else None}
    kind, code = str(known.get("type") or ""), str(known.get("code") or "")
    details: dict[str, Any] = {
        "message": str(known["message"])[:MOST_MESSAGE_CHARACTERS] if known.get("message") else None,
        "upstream_code": code or kind or None,
    }
    if "rate_limit" in kind + code or code == TOO_OFTEN_CODE:
        return UpstreamLimited(**details)
    if "overloaded" in kind + code or code in BUSY_CODES:
        return UpstreamBusy(**details)
    refusal = refused(details["message"], code=details["upstream_code"], param=str(known["param"]) if known.get("param") else None)
    if kind == "invalid_request_error" or isinstance(refusal, UpstreamUnfit):
        return refusal
    return UpstreamDown(**details)


def error_body(error: MenhirError) -> dict[str, Any]:
    """An error as OpenAI's clients expect it: all four members; `type` tells an upstream's from one of ours.

    >>> from apps.gateway.errors import UpstreamDown, UnknownModel
    >>> error_body(UpstreamDown())["error"]["type"], error_body(UnknownModel())["error"]["type"]
    ('upstream_error', 'invalid_request_error')
    """
    kind = next((name for cls, name in ERROR_TYPES if isinstance(error, cls)), "api_error")
    code = error.upstream_code if isinstance(error, UpstreamError) and error.upstream_code else error.code
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": code}}


def error_event(error: MenhirError) -> bytes:
    """The same as the last event of a stream that has already begun."""
    return b"data: " + orjson.dumps(error_body(error)) + b"\n\n"


def preface_event(first: Chunk, preface: dict[str, Any]) -> bytes:
    """The chunk that carries our extra member `menhir`, in the name of the answer that follows it."""
    chunk = {
        "id": first.id,
        "object": "chat.completion.chunk",
        "created": first.created,
        "model": first.model,
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
        "menhir": preface,
    }
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_TOKENS_BELIEVED


def _detail(details: Any, name: str, *, most: int) -> int:
    value = details.get(name) if type(details) is dict else None
    return min(value, most) if _is_count(value) else 0
