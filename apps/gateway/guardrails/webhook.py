"""A tenant's own server judges: one POST, signed as Standard Webhooks says, answered with a verdict.

    {"type": "guardrail.check", "data": {"call_id", "guardrail", "stage", "model", "user", "texts", "context", "partial"}}
    -> {"verdict": "allow" | "block" | "replace", "texts": [...], "kinds": [...]}

`texts` of a `replace` are as many as were sent, in their order. No redirects are followed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from standardwebhooks import Webhook as Signer

from apps.gateway import runtime
from apps.gateway.guardrails.judging import JudgeFailed, Question, Verdict
from apps.gateway.session import endpoint
from menhir.postgres.ids import uuid7

if TYPE_CHECKING:
    from apps.gateway.guardrails.guard import Guard
    from apps.gateway.guardrails.kinds import Webhook
    from apps.gateway.session import Endpoint

MOST_ANSWER_BYTES = 32 * 1024 * 1024
OK = 200


class Said(msgspec.Struct):
    """What the server answers."""

    verdict: Literal["allow", "block", "replace"]
    texts: list[str] | None = None
    kinds: Annotated[list[Annotated[str, msgspec.Meta(max_length=60)]], msgspec.Meta(max_length=20)] = []


async def ask(guard: Guard, question: Question) -> Verdict:
    """Ask the server. Raises JudgeFailed."""
    settings: Webhook = guard.settings  # type: ignore[assignment]
    call = question.call
    body = msgspec.json.encode(
        {
            "type": "guardrail.check",
            "timestamp": datetime.now(UTC),
            "data": {
                "call_id": call.id,
                "guardrail": question.guardrail,
                "stage": question.stage,
                "model": call.model,
                "user": call.unit,
                "texts": question.texts,
                "context": question.context,
                "partial": question.partial,
            },
        }
    )
    try:
        to = endpoint(settings.url)
        answer = await _post(to, _head(to, body, secret=guard.secret), body)
        said = msgspec.json.decode(answer, type=Said)
    except OSError as e:
        raise JudgeFailed("the webhook cannot be reached") from e
    except (ValueError, msgspec.DecodeError) as e:
        raise JudgeFailed("the webhook answered with no verdict") from e
    if said.verdict == "block":
        return Verdict(kinds=tuple(said.kinds) or ("webhook",))
    if said.verdict == "allow":
        return Verdict()
    if said.texts is None or len(said.texts) != len(question.texts):
        raise JudgeFailed("the webhook replaced other texts than it was sent")
    return Verdict(texts=said.texts)


async def _post(to: Endpoint, head: bytes, body: bytes) -> bytes:
    session = runtime.public_session()
    for _ in range(2):
        connection = await session.take(to.origin)
        try:
            try:
                await connection.ask(head, body)
            except ConnectionError:
                continue  # a kept connection that had been closed meanwhile; a verdict may be asked for twice
            if connection.status != OK:
                raise JudgeFailed(f"the webhook answered with status {connection.status}")
            answer = bytearray()
            while data := await connection.read():
                answer += data
                if len(answer) > MOST_ANSWER_BYTES:
                    raise JudgeFailed("the webhook answered with too much")
            return bytes(answer)
        finally:
            session.release(to.origin, connection)
    raise ConnectionError


def _head(to: Endpoint, body: bytes, *, secret: str) -> bytes:
    at = datetime.now(UTC)
    name = f"msg_{uuid7().hex}"
    lines = (
        f"POST {to.target} HTTP/1.1",
        f"Host: {to.authority}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "User-Agent: menhir",
        f"webhook-id: {name}",
        f"webhook-timestamp: {int(at.timestamp())}",
        f"webhook-signature: {Signer(secret).sign(name, at, body.decode())}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
