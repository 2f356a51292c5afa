"""JSON schemas in the words that Gemini knows, which are OpenAPI's: unknown ones are refused there, so they are left out here."""

from __future__ import annotations

from typing import Any

import orjson

from apps.gateway.upstreams.openai.request import cannot

PLAIN = frozenset(
    {
        "default",
        "description",
        "example",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "nullable",
        "pattern",
        "propertyOrdering",
        "required",
        "title",
    }
)
FORMATS = {
    "string": frozenset({"date-time", "enum"}),
    "integer": frozenset({"int32", "int64"}),
    "number": frozenset({"float", "double"}),
}
REFERENCE = "#/"
DEEPEST = 32
MOST_REPEATED_BYTES = 256 * 1024
"""What references may write out again in one request: some 5,000 schemas. Without an end, fifteen definitions of eight references each
are a request of four kilobytes and an answer that never comes.
"""

Schema = dict[str, Any]


class Room:
    """How much of a request's schemas may still be said more than once."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MOST_REPEATED_BYTES

    def take(self, schema: Any, *, times: int = 1) -> None:
        """Let a schema be said again so many times; raises UpstreamUnfit when there is no room."""
        self._left -= len(orjson.dumps(schema)) * times
        if self._left < 0:
            cannot("The references of a JSON schema are too many to be written out, and Gemini knows none.", param="tools")


def known(schema: Any, room: Room | None = None) -> Schema:
    """Give the schema as Gemini reads it; raises UpstreamUnfit where it would be much longer than it was written.

    The schemas of one request share their `room`.

    >>> known({"type": "object", "properties": {"a": {"type": ["integer", "null"]}}, "additionalProperties": False})
    {'type': 'object', 'properties': {'a': {'type': 'integer', 'nullable': True}}}
    >>> known({"$defs": {"A": {"const": "x"}}, "type": "array", "items": {"$ref": "#/$defs/A"}})
    {'type': 'array', 'items': {'type': 'string', 'enum': ['x']}}
    """
    return _known(schema, root=schema, room=room or Room(), within=(), depth=0)


def _known(schema: Any, *, root: Any, room: Room, within: tuple[str, ...], depth: int) -> Schema:
    if not isinstance(schema, dict) or depth > DEEPEST:
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if reference in within:  # a schema that holds itself has no end in a wire without references
            return {"type": "object"}
        room.take(target := _at(root, reference))
        found = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
        return _known(found, root=root, room=room, within=(*within, reference), depth=depth + 1)

    def inner(value: Any) -> Schema:
        return _known(value, root=root, room=room, within=within, depth=depth + 1)

    merged = _merged(schema)
    said: Schema = {}
    kind, nullable = _type(merged)
    if kind is not None:
        said["type"] = kind
    if nullable:
        said["nullable"] = True
    said.update((name, value) for name, value in merged.items() if name in PLAIN)
    if isinstance(merged.get("format"), str) and merged["format"] in FORMATS.get(kind or "", ()):
        said["format"] = merged["format"]
    _enumerate(said, merged)
    if isinstance(merged.get("properties"), dict):
        said["properties"] = {name: inner(value) for name, value in merged["properties"].items()}
        said.setdefault("type", "object")
    if kind == "array" or "items" in merged:
        said["items"] = inner(merged.get("items", {}))
    _choose(said, merged, inner, room)
    return said


def _merged(schema: Schema) -> Schema:
    """Take the parts of `allOf` together, which is what they mean."""
    parts = schema.get("allOf")
    if not isinstance(parts, list):
        return schema
    merged = {name: value for name, value in schema.items() if name != "allOf"}
    for part in parts:
        for name, value in (part if isinstance(part, dict) else {}).items():
            before = merged.get(name)
            if isinstance(before, dict) and isinstance(value, dict):
                merged[name] = {**before, **value}
            elif isinstance(before, list) and isinstance(value, list):
                merged[name] = [*before, *value]
            else:
                merged[name] = value
    return merged


def _type(schema: Schema) -> tuple[str | None, bool]:
    """Give the one type that there can be, and whether null is one, too."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [each for each in kind if each != "null"]
        return (kinds[0] if len(kinds) == 1 and isinstance(kinds[0], str) else None), "null" in kind
    return (kind if isinstance(kind, str) else None), False


def _enumerate(said: Schema, schema: Schema) -> None:
    """Say the values that there can be: Gemini knows texts alone."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list):
        return
    texts = [value for value in values if isinstance(value, str)]
    if None in values:
        said["nullable"] = True
    if texts and len(texts) == len(values) - (None in values):
        said.update(type="string", enum=texts)


def _choose(said: Schema, schema: Schema, inner: Any, room: Room) -> None:
    """Say what there is a choice of. A choice between something and nothing is a something that may be null."""
    choices = schema.get("anyOf") or schema.get("oneOf")
    kind = schema.get("type")
    if not isinstance(choices, list) and isinstance(kind, list) and "type" not in said:
        choices = [{**schema, "type": each} for each in kind if each != "null"]
        room.take(schema, times=len(choices))
    if not isinstance(choices, list):
        return
    something = [choice for choice in choices if choice != {"type": "null"}]
    if len(something) < len(choices):
        said["nullable"] = True
    if len(something) == 1:
        said.update((name, value) for name, value in inner(something[0]).items() if name not in said)
    elif something:
        said["anyOf"] = [inner(choice) for choice in something]


def _at(root: Any, reference: str) -> Schema:
    place = root
    for name in reference.removeprefix(REFERENCE).split("/") if reference != "#" else ():
        place = place.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
    return place if isinstance(place, dict) else {}
