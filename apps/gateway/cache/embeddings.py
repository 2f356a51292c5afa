"""Embeddings that were computed before: by tenant, place, parameters and text; kept for ever, since a model gives the same again.

Two memories. This process's holds what was asked in few words at a time (questions, not documents on their way into a collection, which
would push everything else out), as it was answered. Behind it a table holds every vector as 32-bit floats, and serves both forms that an
answer can have. What is known of a request is not asked of the upstream again: it gets the rest, and the answer is put together here.
Nothing is shared between tenants.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
import orjson

from apps.gateway.cache import vectors
from apps.gateway.cache.answering import Walk, note, told_headers
from apps.gateway.cache.key import canonical
from apps.gateway.errors import UpstreamDown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from apps.gateway.call import Call, ResolvedRoute, ResolvedTarget, Respond
    from apps.gateway.hangup import Gone
    from apps.gateway.relay import Headers

LIMIT_BYTES: Final = 32 * 1024 * 1024
MOST_INPUTS: Final = 4
ENTRY_BYTES: Final = 300
"""What an entry takes besides its vector: key, links, headers."""
FORMS: Final = frozenset({None, "float", "base64"})
OK: Final = 200


class _Item(msgspec.Struct):
    index: int
    embedding: msgspec.Raw


class _Answer(msgspec.Struct):
    data: list[_Item]


_answer = msgspec.json.Decoder(_Answer)


class EmbeddingCache:
    """What this process remembers. Least recently used out first."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._vectors: OrderedDict[tuple[UUID, str, UUID], bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def answer(self, call: Call, target: ResolvedTarget) -> bytes | None:
        """Give the whole answer when every input is here, else None. It used no tokens, and says so."""
        keys = self._keys(call, target)
        found = [self._vectors.get(key) for key in keys]
        if not keys or None in found:
            return None
        for key in keys:
            self._vectors.move_to_end(key)
        return _body([vector for vector in found if vector is not None], target.upstream_model)

    def keep(self, call: Call, target: ResolvedTarget, body: bytes) -> None:
        """Remember the vectors of an answer that has one for each input."""
        keys = self._keys(call, target)
        if not keys or (items := items_of(body, len(keys))) is None:
            return
        for key, item in zip(keys, items, strict=True):
            self._put(key, item)

    def clear(self) -> None:
        """Forget everything."""
        self._vectors.clear()
        self.bytes = 0

    def _keys(self, call: Call, target: ResolvedTarget) -> list[tuple[UUID, str, UUID]]:
        texts = texts_of(call)
        if texts is None or len(texts) > MOST_INPUTS:
            return []
        form = str(call.body.get("encoding_format"))
        return [(call.principal.tenant_id, form, place) for place in places_of(call, target, texts)]

    def _put(self, key: tuple[UUID, str, UUID], vector: bytes) -> None:
        if (before := self._vectors.pop(key, None)) is not None:
            self.bytes -= len(before) + ENTRY_BYTES
        self._vectors[key] = vector
        self.bytes += len(vector) + ENTRY_BYTES
        while self.bytes > self.limit_bytes:
            _, oldest = self._vectors.popitem(last=False)
            self.bytes -= len(oldest) + ENTRY_BYTES


async def answer(call: Call, route: ResolvedRoute, respond: Respond, gone: Gone, walk: Walk) -> None:
    """Answer a request for embeddings: from memory, from the table, or by asking for what neither has."""
    target = route.targets[0]
    control = call.cache_control.lower() if call.cache_control is not None else b""
    if b"no-cache" in control or b"no-store" in control:
        await walk(call, route, respond, gone)
        return
    if (body := embeddings.answer(call, target)) is not None:
        await _tell(call, route, body, respond)
        return
    texts = texts_of(call)
    places = places_of(call, target, texts) if texts is not None else []
    known = await vectors.find(call.principal.tenant_id, places) if places else {}
    if texts is None or not known:
        await walk(call, route, respond, gone)
        return
    form = call.body.get("encoding_format")
    missing = {place: text for place, text in zip(places, texts, strict=True) if place not in known}
    if not missing:
        body = _body([as_json(known[place], form) for place in places], target.upstream_model)
        embeddings.keep(call, target, body)
        await _tell(call, route, body, respond)
    elif len(route.targets) > 1:
        # Another target may answer than the one these are of: vectors of two models must not stand side by side.
        await walk(call, route, respond, gone)
    else:
        rest: Call = msgspec.structs.replace(call, body={**call.body, "input": list(missing.values())}, raw=None)
        have = {place: as_json(vector, form) for place, vector in known.items()}
        await walk(rest, route, _Joining(respond, target.provider, places, have, list(missing)), gone)
        call.completed = rest.completed


def keep(call: Call, target: ResolvedTarget, body: bytes) -> None:
    """Keep what an upstream has answered, here and, in a moment, in the table."""
    if call.cache_control is not None and b"no-store" in call.cache_control.lower():
        return
    embeddings.keep(call, target, body)
    texts = texts_of(call)
    if texts is None or (items := items_of(body, len(texts))) is None:
        return
    for place, item in zip(places_of(call, target, texts), items, strict=True):
        vectors.keep(call.principal.tenant_id, place, item)


def texts_of(call: Call) -> list[str] | None:
    """The texts that are asked for; None when they are none (tokens), or their form is one that is not kept."""
    inputs: Any = call.body.get("input")
    texts = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        return None
    form = call.body.get("encoding_format")
    return texts if form is None or (isinstance(form, str) and form in FORMS) else None


def places_of(call: Call, target: ResolvedTarget, texts: Sequence[str]) -> list[UUID]:
    """Where each vector is kept: a hash of the text, of who embeds it, and of every parameter but the form of the answer."""
    asked = {name: value for name, value in call.body.items() if name not in {"input", "encoding_format"}}
    around = hashlib.blake2b(target.provider_id.bytes + canonical(asked), digest_size=16)
    around.update(f"\0{target.base_url}\0{target.upstream_model}\0".encode())
    places = []
    for text in texts:
        digest = around.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        places.append(UUID(bytes=digest.digest()))
    return places


def items_of(body: bytes, count: int) -> list[bytes] | None:
    """The vectors of an answer in the order of the inputs, each as its JSON; None unless there is one for each."""
    try:
        items = sorted(_answer.decode(body).data, key=lambda item: item.index)
    except msgspec.DecodeError:
        return None
    if [item.index for item in items] != list(range(count)):
        return None
    return [bytes(item.embedding) for item in items]


def as_json(vector: bytes, form: str | None) -> bytes:
    """A kept vector in the form that is asked for.

    >>> as_json(struct.pack("<2f", 1.0, -0.5), None), as_json(struct.pack("<f", 1.0), "base64")
    (b'[1.0,-0.5]', b'"AACAPw=="')
    """
    if form == "base64":
        return b'"' + base64.b64encode(vector) + b'"'
    return orjson.dumps(struct.unpack(f"<{len(vector) // 4}f", vector))


class _Joining:
    """The way back for a request of which only a part was asked: what was known is put between what comes.

    Raises UpstreamDown, before anything is sent, when what comes is not one embedding for each input that was asked.
    """

    def __init__(self, respond: Respond, provider: str, places: list[UUID], have: Mapping[UUID, bytes], missing: list[UUID]) -> None:
        self._respond = respond
        self._provider = provider
        self._places = places
        self._have = have
        self._missing = missing
        self._status = 0
        self._headers: Headers = []
        self._parts: list[bytes] = []

    async def start(self, status: int, headers: Headers) -> None:
        """Hold the beginning until the answer is whole."""
        self._status, self._headers = status, headers

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Send everything when the last part is there."""
        self._parts.append(data)
        if more:
            return
        body = self._joined(b"".join(self._parts))
        headers = [pair for pair in self._headers if pair[0] != b"content-length"]
        headers += [(b"content-length", b"%d" % len(body)), (b"x-menhir-cache", b"partial")]
        await self._respond.start(self._status, headers)
        await self._respond.send(body, False)

    def _joined(self, body: bytes) -> bytes:
        if self._status != OK:
            return body
        items = items_of(body, len(self._missing))
        if items is None:  # whose vectors these are nobody can tell
            raise UpstreamDown(f"The upstream `{self._provider}` did not answer with one embedding for each input.")
        found = {**self._have, **dict(zip(self._missing, items, strict=True))}
        fields = orjson.loads(body)
        fields["data"] = _data([found[place] for place in self._places])
        return orjson.dumps(fields)


async def _tell(call: Call, route: ResolvedRoute, body: bytes, respond: Respond) -> None:
    headers = told_headers(call, route, route.targets[0].provider.encode("latin-1", "replace"), how=b"hit", stream=False)
    headers.append((b"content-length", b"%d" % len(body)))
    note(call, route)
    call.completed = True
    try:
        await respond.start(OK, headers)
        await respond.send(body, False)
    except OSError:
        return


def _body(found: Sequence[bytes], model: str) -> bytes:
    return orjson.dumps({"object": "list", "data": _data(found), "model": model, "usage": {"prompt_tokens": 0, "total_tokens": 0}})


def _data(found: Sequence[bytes]) -> list[dict[str, Any]]:
    return [{"object": "embedding", "index": index, "embedding": orjson.Fragment(vector)} for index, vector in enumerate(found)]


embeddings = EmbeddingCache()
