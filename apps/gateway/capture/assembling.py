"""A chat answer, put together from its stream: text that came in pieces is one text again, so that what is in it can be found."""

from __future__ import annotations

from typing import Any

import orjson

from apps.gateway.sse import EventSplitter, data_of
from apps.gateway.wire import DONE

GROWING = ("text", "thinking", "summary", "signature", "data")
"""Of a part or a thought: what its pieces say one after the other."""


def assembled(stream: bytes) -> dict[str, Any] | None:
    r"""Put a chat answer together from its stream; an error that ended it stands in `error`.

    >>> assembled(b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\ndata: {"choices": [{"delta": {"content": "b"}}]}\n\n')
    {'choices': [{'index': 0, 'message': {'content': 'ab'}, 'finish_reason': None}]}
    """
    answer: dict[str, Any] = {}
    choices: dict[Any, dict[str, Any]] = {}
    for event in EventSplitter().feed(stream):
        said = data_of(event)
        chunk = _read(said) if said is not None and said != DONE else None
        if not isinstance(chunk, dict):
            continue
        answer |= {name: chunk[name] for name in ("id", "model", "created", "usage", "error") if chunk.get(name)}
        for part in chunk.get("choices") or ():
            if isinstance(part, dict):
                choice = choices.setdefault(part.get("index") or 0, {"index": part.get("index") or 0, "message": {}, "finish_reason": None})
                choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
                _add(choice["message"], part.get("delta"))
                if isinstance(part.get("text"), str):
                    choice["text"] = choice.get("text", "") + part["text"]
    if choices:
        answer["choices"] = [choices[index] for index in sorted(choices, key=str)]
    return answer or None


def _add(message: dict[str, Any], delta: object) -> None:
    for name, value in delta.items() if isinstance(delta, dict) else ():
        known = message.get(name)
        if name == "tool_calls" and isinstance(value, list):
            _add_tools(message.setdefault(name, []), value)
        elif isinstance(value, list) or (isinstance(known, list) and isinstance(value, str)):
            parts = known if isinstance(known, list) else [{"type": "text", "text": known}] if known else []
            message[name] = parts
            _add_parts(parts, value if isinstance(value, list) else [{"type": "text", "text": value}] if value else [])
        elif isinstance(value, str) and name != "role":
            message[name] = (known or "") + value
        elif value is not None:
            message[name] = value


def _add_parts(parts: list[Any], more: list[Any]) -> None:
    """Let parts grow: the one of the same number, or the last one if it is of the same kind and nothing is numbered."""
    for piece in more:
        known = None
        if isinstance(piece, dict) and "index" in piece:
            known = next((part for part in parts if isinstance(part, dict) and part.get("index") == piece["index"]), None)
        elif isinstance(piece, dict) and parts and isinstance(parts[-1], dict) and parts[-1].get("type") == piece.get("type"):
            known = parts[-1] if any(member in piece for member in GROWING) else None
        if known is None:
            parts.append(dict(piece) if isinstance(piece, dict) else piece)
            continue
        for name, value in piece.items():
            if name in GROWING and isinstance(value, str) and isinstance(known.get(name), str):
                known[name] += value
            elif name in GROWING and isinstance(value, list) and isinstance(known.get(name), list):
                _add_parts(known[name], value)
            elif value is not None:
                known[name] = value


def _add_tools(calls: list[dict[str, Any]], more: list[Any]) -> None:
    for number, piece in enumerate(more):
        if not isinstance(piece, dict):
            continue
        index = piece.get("index", number)
        call = next((call for call in calls if call["index"] == index), None)
        if call is None:
            calls.append(call := {"index": index})
        call |= {name: value for name, value in piece.items() if name not in {"index", "function", "custom"} and value}
        for kind, given in (("function", "arguments"), ("custom", "input")):
            if isinstance(said := piece.get(kind), dict):
                called = call.setdefault(kind, {given: ""})
                text = called[given] + _written(said.get(given))
                called |= {**{name: value for name, value in said.items() if value}, given: text}


def _written(given: object) -> str:
    return given if isinstance(given, str) else orjson.dumps(given).decode() if given else ""


def _read(said: bytes) -> Any:
    try:
        return orjson.loads(said)
    except orjson.JSONDecodeError:
        return None
