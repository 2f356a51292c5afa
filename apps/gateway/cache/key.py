"""Which calls are the same question: one key for everything that changes the answer, and for nothing else.

The order of members, blanks, escapes, `1` or `1.0`, a default said or left out: all that is the same question. Who asks, and whether the
usage is to be told at the end, changes no answer. The tenant, the route (with everything that it leads to) and the prompt's version are
part of every key, so that no two of them ever share an entry. A key has 128 bits of BLAKE2b; nothing of the question can be read in it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from apps.gateway.call import Call, ResolvedRoute

KEY_BYTES: Final = 16
# `model` is the client's word for the route, which is in the key itself; so is the shape of the answer (whole or a stream).
IGNORED: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
DEFAULTS: Final[dict[str, object]] = {"n": 1, "logprobs": False}
"""What every provider takes for said when it is not. A temperature is none of them: each model has its own."""
MOST_EXACT: Final = 2**53
"""Beyond it a float is not the integer that it looks like."""


def key_of(call: Call, route: ResolvedRoute, *, body: dict[str, Any] | None = None, salt: bytes = b"") -> bytes:
    """The key of a call's answer; with `body`, of something derived from it, which `salt` keeps apart."""
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    # Each part has one length, or an end that nothing before it can hold: no two calls run into the same bytes.
    digest.update(call.principal.tenant_id.bytes)
    digest.update(route.fingerprint)
    digest.update(call.prompt_version_id.bytes if call.prompt_version_id is not None else bytes(16))
    # What was answered without guardrails is nobody's who has some: a guardrail's own questions go without.
    guarded = "guarded" if call.guard is not None else ""
    digest.update(f"{call.operation}\0{'stream' if call.stream else 'whole'}\0{guarded}\0".encode())
    digest.update(salt + b"\0")
    digest.update(canonical(call.body if body is None else body))
    return digest.digest()


def canonical(body: dict[str, Any]) -> bytes:
    """The question in a request, written in one way only.

    >>> canonical({"n": 1.0, "seed": 7.0, "user": "u", "messages": []}) == canonical({"messages": [], "seed": 7})
    True
    """
    asked = {}
    for name, value in body.items():
        if name in IGNORED or value is None:
            continue
        plain = _plain(value)
        if name not in DEFAULTS or plain is not DEFAULTS[name]:  # 1 is one object, and so is False: True is not taken for 1
            asked[name] = plain
    return orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {name: _plain(item) for name, item in value.items()}
    if kind is list:
        return [_plain(item) for item in value]
    if kind is float and value.is_integer() and abs(value) < MOST_EXACT:
        return int(value)
    return value
