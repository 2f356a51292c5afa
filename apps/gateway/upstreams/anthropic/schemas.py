"""Answers that are held to a JSON schema."""

from __future__ import annotations

from typing import Any

PLAIN = frozenset({"$ref", "type", "enum", "const", "description", "title", "default"})
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
MANY = frozenset({"anyOf", "oneOf", "allOf"})
NAMED = frozenset({"$defs", "definitions", "properties"})
FEWEST_ITEMS = 1


def strict(schema: Any) -> Any:
    """Give a schema in the words that Anthropic can hold an answer to; what it cannot is told to the model in the description.

    >>> strict({"type": "integer", "minimum": 1, "description": "A page"})
    {'type': 'integer', 'description': 'A page {minimum: 1}'}
    >>> strict({"type": "object", "properties": {"a": {"type": "string"}}})
    {'type': 'object', 'properties': {'a': {'type': 'string'}}, 'additionalProperties': False}
    """
    if not isinstance(schema, dict):
        return schema
    said: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for name, value in schema.items():
        if name in NAMED and isinstance(value, dict):
            said[name] = {key: strict(inner) for key, inner in value.items()}
        elif name in MANY and isinstance(value, list):
            said["anyOf" if name == "oneOf" else name] = [strict(inner) for inner in value]
        elif name == "items":
            said[name] = strict(value)
        elif name in PLAIN or name == "required" or _holds(name, value):
            said[name] = value
        elif name not in {"additionalProperties", "$schema", "strict"}:
            left[name] = value
    if schema.get("type") == "object" or "properties" in schema:
        said["additionalProperties"] = False
    if left:
        told = "{" + ", ".join(f"{name}: {value}" for name, value in left.items()) + "}"
        said["description"] = f"{said['description']} {told}" if said.get("description") else told
    return said


def _holds(name: str, value: object) -> bool:
    if name == "format":
        return isinstance(value, str) and value in FORMATS
    return name == "minItems" and isinstance(value, int) and 0 <= value <= FEWEST_ITEMS
