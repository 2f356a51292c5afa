"""Admission: who is asking, and is it a request at all?

The first room of the walk gives a `Call`, or raises what the client is told. Bodies are read with a limit, parsed once,
and checked as far as the platform itself relies on them; everything else is between the client and the model.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from django.conf import settings

from apps.assistants.errors import MalformedRequest
from apps.assistants.front import checks
from apps.assistants.front.asked import Asked, Scope
from apps.gateway.call import Call, Operation
from menhir.errors import TooLarge, Unauthenticated
from menhir.postgres.ids import uuid7
from menhir.telemetry import tracing
from menhir.tenancy import authentication, tokens
from menhir.tenancy.principal import INFERENCE, Principal

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MODEL_LIMIT_CHARACTERS: Final = 256
UNIT_LIMIT_CHARACTERS: Final = 256
MODERATION_MODEL: Final = "omni-moderation-latest"
MOST_LEVELS: Final = 128
"""Of nesting. What is read must be written again for another model's name, and writing ends at twice as much."""


class ClientLeft(Exception):
    """The client hung up before it had sent its request."""


async def principal(scope: Scope, asked: Asked) -> Principal:
    """Give who is asking; raise `Unauthenticated`, or `Forbidden` for a key without the scope `inference`.

    Callers inside the process hand over their principal in the scope's state, which no client can reach.
    """
    known = scope.get("state", {}).get("principal")
    who = known if isinstance(known, Principal) else await _admitted(asked)
    who.require(INFERENCE)
    return who


async def _admitted(asked: Asked) -> Principal:
    """Who holds the credential: a program with a key of ours, or somebody with a token of his tenant's."""
    given = _bearer(asked)
    if given.startswith(tokens.PREFIX):
        return await tokens.principal_of_token(given, asked.organization)
    return await authentication.principal_of_key(given)


async def body(asked: Asked, receive: Receive) -> bytes:
    """Read the request's body; raise `TooLarge` as soon as it is known to be."""
    limit: int = settings.MENHIR_BODY_LIMIT_BYTES
    declared = asked.content_length
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part = message.get("body", b"")
        length += len(part)
        if length > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


def parsed(raw: bytes) -> dict[str, Any]:
    """Read a body; raise `MalformedRequest` when it is no JSON object, or nested too deep."""
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as wrong:
        raise MalformedRequest(f"The body is not valid JSON: {wrong}.") from wrong
    if not isinstance(fields, dict):
        raise MalformedRequest("The body is not a JSON object.")
    # More brackets than levels are allowed: only then the levels are worth counting.
    if raw.count(b"[") + raw.count(b"{") > MOST_LEVELS and not _is_flat(fields, MOST_LEVELS):
        raise MalformedRequest(f"The body is nested more than {MOST_LEVELS} levels deep.")
    return fields


def call(
    fields: dict[str, Any], raw: bytes | None, *, operation: Operation, who: Principal, asked: Asked, received: float, wire: str = "chat"
) -> Call:
    """Give the call that these fields ask for; raise `MalformedRequest` naming the one that is wrong."""
    model = fields.get("model")
    if model is None and operation == "moderations":
        # The one request that OpenAI's clients make without saying by which model.
        model = fields["model"] = MODERATION_MODEL
        raw = None
    if not isinstance(model, str) or not model:
        raise MalformedRequest("`model` is required: the name of a model or an assistant.", param="model")
    if len(model) > MODEL_LIMIT_CHARACTERS:
        raise MalformedRequest(f"`model` has at most {MODEL_LIMIT_CHARACTERS} characters.", param="model")
    stream = False
    wants_usage = False
    if operation == "chat":
        _check_messages(fields)
        stream = _stream(fields)
        wants_usage = _wants_usage(fields)
    else:
        checks.check(operation, fields)
        if operation == "completions":
            stream = _stream(fields)
            wants_usage = _wants_usage(fields)
    return Call(
        id=uuid7(),
        request_id=asked.request_id.decode(),
        principal=who,
        operation=operation,
        received=received,
        opened_at=datetime.now(UTC),
        model=model,
        body=fields,
        raw=raw,
        stream=stream,
        wants_usage=wants_usage,
        unit=_unit(who, fields),
        idempotency_key=asked.idempotency_key,
        cache_control=asked.cache_control,
        wire=wire,
        trace=tracing.begin(asked.traceparent) if asked.traceparent is not None or tracing.sampler else None,
        client_retries=asked.retries,
    )


def _unit(who: Principal, fields: Mapping[str, Any]) -> str | None:
    """Whose call this is among the callers of one key: the person who is signed in, else whom the client names."""
    if who.unit is not None:
        return who.unit
    for said in (fields.get("user"), fields.get("safety_identifier")):
        if isinstance(said, str) and said:
            return said[:UNIT_LIMIT_CHARACTERS]
    return None


def _bearer(asked: Asked) -> str:
    given = asked.authorization
    if given is None:
        if asked.api_key is not None:
            return asked.api_key.strip().decode("latin-1")
        raise Unauthenticated("Give your API key in the header `Authorization: Bearer mh_live_…`.")
    kind, _, key = given.partition(b" ")
    if kind.lower() != b"bearer":
        raise Unauthenticated("The header `Authorization` takes the form `Bearer mh_live_…`.")
    return key.strip().decode("latin-1")


def _is_flat(value: object, levels: int) -> bool:
    """Whether nothing in it lies deeper than so many levels.

    >>> _is_flat([[1]], 2), _is_flat([[[]]], 2)
    (True, False)
    """
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return levels > 0 and all(_is_flat(item, levels - 1) for item in value if isinstance(item, list | dict))


def _check_messages(fields: Mapping[str, Any]) -> None:
    messages = fields.get("messages")
    if not isinstance(messages, list):
        raise MalformedRequest("`messages` is required: a list of messages.", param="messages")
    if not messages and fields.get("prompt") is None:
        raise MalformedRequest("`messages` has no message in it.", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise MalformedRequest("A message is an object with `role` and `content`.", param=f"messages[{index}]")
        role = message.get("role")
        if not isinstance(role, str) or not role:
            raise MalformedRequest("A message has a `role`.", param=f"messages[{index}].role")
        content = message.get("content")
        if not isinstance(content, str | list) and (content is not None or role in {"system", "developer", "user"}):
            raise MalformedRequest("The `content` of a message is a text or a list of parts.", param=f"messages[{index}].content")


def _stream(fields: Mapping[str, Any]) -> bool:
    stream = fields.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise MalformedRequest("`stream` is true or false.", param="stream")
    return bool(stream)


def _wants_usage(fields: Mapping[str, Any]) -> bool:
    options = fields.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise MalformedRequest("`stream_options` is an object.", param="stream_options")
    return options.get("include_usage") is True


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit:,} bytes.")
