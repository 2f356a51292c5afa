"""A whole answer: Gemini's candidates as OpenAI's chat completion."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import orjson

from apps.gateway.errors import ContentFiltered, UpstreamDown
from apps.gateway.upstreams.gemini.errors import error_in
from apps.gateway.upstreams.gemini.parts import extra_of
from apps.gateway.upstreams.openai.answer import Answer, tool_call, usage_said
from apps.gateway.wire import decoded

LENGTHS = frozenset({"MAX_TOKENS", "CONTINUATION"})
FILTERS = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "ESCALATION",
        "MODEL_ARMOR",
        "PUP_LIMITED_DISABLED",
    }
)
BREAKDOWNS = frozenset(
    {"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS", "UNEXPECTED_TOOL_CALL"}
)
"""Why an answer is none: what was said until then is not what the model meant."""

Part = dict[str, Any]


class Content(msgspec.Struct):
    """What a candidate says, or adds."""

    parts: list[Part] = []


class Token(msgspec.Struct, rename="camel"):
    """A token and how likely it was."""

    token: str = ""
    log_probability: float = 0.0


class Tokens(msgspec.Struct):
    """Those there were to choose from."""

    candidates: list[Token] = []


class Logprobs(msgspec.Struct, rename="camel"):
    """The tokens that were chosen, and beside each what else there was."""

    chosen_candidates: list[Token] = []
    top_candidates: list[Tokens] = []


class Candidate(msgspec.Struct, rename="camel"):
    """One of the answers, or a piece of it."""

    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int = 0
    logprobs_result: Logprobs | None = None


class Response(msgspec.Struct, rename="camel"):
    """An answer, or one event of a streamed one."""

    candidates: list[Candidate] = []
    prompt_feedback: dict[str, Any] | None = None
    usage_metadata: dict[str, Any] | None = None
    model_version: str = ""
    response_id: str = ""
    error: Any = None


_response = msgspec.json.Decoder(Response)


def read(said: bytes, *, provider: str) -> Response:
    """Read an answer or an event; raises the error that stands in its place, ContentFiltered for a prompt that was not let in, and
    ValueError for what is neither.
    """
    response = decoded(_response, said)
    if response.error is not None:
        raise error_in(response.error, provider=provider)
    blocked = (response.prompt_feedback or {}).get("blockReason")
    if blocked and not response.candidates:
        raise ContentFiltered(f"The upstream `{provider}` did not let the prompt in: {blocked}.", upstream_code="content_filter")
    for candidate in response.candidates:
        if candidate.finish_reason in BREAKDOWNS:
            why = candidate.finish_message or candidate.finish_reason
            raise UpstreamDown(f"The model at `{provider}` broke down: {why}", upstream_code=candidate.finish_reason)
    return response


def whole(body: bytes, *, provider: str, model: str, request_id: str, created: int) -> bytes:
    """Give the completion; raises UpstreamDown for what is no answer."""
    try:
        response = read(body, provider=provider)
    except ValueError as e:
        raise UpstreamDown(f"The upstream `{provider}` answered with something that is not an answer.") from e
    if not response.candidates:
        raise UpstreamDown(f"The upstream `{provider}` answered with nothing.")
    answer = Answer(id=response.response_id or request_id, model=response.model_version or model, created=created)
    return answer.whole([_choice(candidate, answer.id) for candidate in response.candidates], usage_of(response.usage_metadata))


def _choice(candidate: Candidate, answer_id: str) -> dict[str, Any]:
    said = delta_of(candidate, answer_id=answer_id)
    for item in (*said.get("tool_calls", ()), *said.get("images", ())):
        del item["index"]
    return {
        "index": candidate.index,
        "message": {"role": "assistant", "content": None, "refusal": None, **said},
        "logprobs": logprobs_of(candidate),
        "finish_reason": reason_of(candidate.finish_reason, calls="tool_calls" in said),
    }


def delta_of(candidate: Candidate, *, answer_id: str, calls: int = 0) -> dict[str, Any]:
    """Give what a candidate adds, when it has made so many calls before. Gemini need not name its calls, OpenAI's clients must."""
    texts: list[str] = []
    thoughts: list[str] = []
    made: list[dict[str, Any]] = []
    delta: dict[str, Any] = {}
    for part in candidate.content.parts if candidate.content is not None else ():
        signature = part.get("thoughtSignature")
        if isinstance(part.get("functionCall"), dict):
            called, number = part["functionCall"], calls + len(made)
            call = tool_call(
                id=str(called.get("id") or f"call_{answer_id}_{candidate.index}_{number}"),
                name=str(called.get("name")),
                arguments=orjson.dumps(called.get("args") or {}).decode(),
                index=number,
            )
            made.append({**call, "extra_content": extra_of(signature)} if signature else call)
            continue
        if isinstance(part.get("text"), str):
            (thoughts if part.get("thought") else texts).append(part["text"])
        elif isinstance(part.get("inlineData"), dict):
            _show(delta, part["inlineData"], id=f"audio_{answer_id}_{candidate.index}")
        if signature:
            delta["extra_content"] = extra_of(signature)
    if any(texts):
        delta["content"] = "".join(texts)
    if any(thoughts):
        delta["reasoning_content"] = "".join(thoughts)
    if made:
        delta["tool_calls"] = made
    return delta


def _show(delta: dict[str, Any], inline: dict[str, Any], *, id: str) -> None:  # noqa: A002 - the wire's word
    """Add sound, of which OpenAI has one piece to a message, or a picture, of which there are several.

    What the bytes of a sound are (Gemini gives bare PCM, at a rate that only its type tells) is more than OpenAI's wire says. Gemini
    keeps none, so it cannot be named later.
    """
    kind, data = inline.get("mimeType"), inline.get("data")
    if isinstance(kind, str) and kind.startswith("audio/") and isinstance(data, str):
        heard = _joined(delta["audio"]["data"], data) if "audio" in delta else data
        delta["audio"] = {"id": id, "data": heard, "transcript": "", "expires_at": 0, "mime_type": kind}
        return
    images = delta.setdefault("images", [])
    images.append({"index": len(images), "type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}})


def _joined(first: str, second: str) -> str:
    """Give two texts in base64 as one, which is not the one behind the other."""
    try:
        return base64.b64encode(base64.b64decode(first) + base64.b64decode(second)).decode()
    except ValueError:
        return first  # what follows is no sound


def reason_of(reason: str | None, *, calls: bool) -> str:
    """Give OpenAI's reason.

    >>> reason_of("STOP", calls=True), reason_of("MAX_TOKENS", calls=False), reason_of("SAFETY", calls=False)
    ('tool_calls', 'length', 'content_filter')
    """
    if reason in LENGTHS:
        return "length"
    if reason in FILTERS:
        return "content_filter"
    return "tool_calls" if calls else "stop"


def logprobs_of(candidate: Candidate) -> dict[str, Any] | None:
    """Give how likely each token was, and which others there were."""
    result = candidate.logprobs_result
    if result is None:
        return None
    tops = [[_likely(other) for other in top.candidates] for top in result.top_candidates]
    chosen = [_likely(token) for token in result.chosen_candidates]
    return {"content": [{**token, "top_logprobs": tops[at] if at < len(tops) else []} for at, token in enumerate(chosen)], "refusal": None}


def _likely(token: Token) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.log_probability, "bytes": list(token.token.encode())}


def usage_of(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """Give the usage as OpenAI counts: thoughts are part of the completion. What Gemini leaves out is nought.

    >>> usage_of({"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 5})["completion_tokens"]
    7
    >>> kinds = [{"modality": "TEXT", "tokenCount": 2}, {"modality": "AUDIO", "tokenCount": 7}]
    >>> usage_of({"promptTokenCount": 9, "promptTokensDetails": kinds})["prompt_tokens_details"]
    {'cached_tokens': 0, 'audio_tokens': 7}
    """
    if usage is None or not isinstance(usage.get("promptTokenCount"), int):
        return None
    thoughts = _count(usage, "thoughtsTokenCount")
    return usage_said(
        prompt=usage["promptTokenCount"] + _count(usage, "toolUsePromptTokenCount"),
        completion=_count(usage, "candidatesTokenCount") + thoughts,
        cached=_count(usage, "cachedContentTokenCount"),
        reasoning=thoughts,
        heard=_sound(usage, "promptTokensDetails") + _sound(usage, "toolUsePromptTokensDetails"),
        heard_again=_sound(usage, "cacheTokensDetails"),
        spoken=_sound(usage, "candidatesTokensDetails"),
    )


def _sound(usage: dict[str, Any], name: str) -> int:
    kinds = usage.get(name)
    said = [kind for kind in kinds if isinstance(kind, dict)] if isinstance(kinds, list) else []
    return sum(_count(kind, "tokenCount") for kind in said if kind.get("modality") == "AUDIO")


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0
