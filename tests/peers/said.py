"""What the peer says in OpenAI's chat: words, calls of tools, thoughts; for as many choices and with the probabilities that were asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peers.script import Orders

THOUGHT = "A stone, standing."
NEVER = {"content": [{"token": "a", "logprob": float("-inf"), "bytes": None, "top_logprobs": []}]}
SIGNATURE = "c2lnbmVk"
SOUND = "UklGRg=="


def choices(orders: Orders, words: list[str], body: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices of a whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(words) if words else None}
    if orders.thinks:
        message["reasoning_content"] = THOUGHT
        message["thinking_blocks"] = [{"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}]
    if orders.speaks:
        message |= {"content": None, "audio": {"id": "audio_1", "expires_at": 1_900_000_000, "data": SOUND, "transcript": "".join(words)}}
    if orders.calls:
        message["tool_calls"] = calls(orders, body)
    last = {"logprobs": NEVER if orders.torn else logprobs(words, body), "finish_reason": reason(orders), **stopped(orders)}
    return [{"index": index, "message": message, **last} for index in range(body.get("n") or 1)]


def steps(orders: Orders, words: list[str], body: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices of a stream's chunks, one after the other, without the last."""
    deltas: list[dict[str, Any]] = []
    if orders.thinks:
        parts = (THOUGHT[:8], THOUGHT[8:])
        deltas += [{"reasoning_content": part, "thinking_blocks": [{"type": "thinking", "thinking": part}]} for part in parts]
        deltas.append({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": SIGNATURE}]})
    if orders.speaks:
        deltas += [{"audio": {"id": "audio_1", "transcript": word}} for word in words]
        deltas += [{"audio": {"id": "audio_1", "data": SOUND}}, {"audio": {"id": "audio_1", "expires_at": 1_900_000_000}}]
    else:
        deltas += [{"content": word} for word in words]
    fragments = [fragments_of(call, index) for index, call in enumerate(calls(orders, body))]
    if orders.same:
        deltas += [{"tool_calls": [{"index": 0, **call}]} for call in calls(orders, body)]
    elif orders.interleave:  # a piece of each in turn, as some servers do
        longest = max(len(pieces) for pieces in fragments)
        deltas += [{"tool_calls": [pieces[at]]} for at in range(longest) for pieces in fragments if at < len(pieces)]
    else:
        deltas += [{"tool_calls": [piece]} for pieces in fragments for piece in pieces]
    said = []
    for number, delta in enumerate(deltas):
        for index in range(body.get("n") or 1):
            choice = {"index": index, "delta": {"role": "assistant", **delta} if number == 0 else delta, "finish_reason": None}
            if body.get("logprobs"):
                choice["logprobs"] = logprobs([delta.get("content", "")], body)
            if orders.torn and number == 0:
                choice["logprobs"] = NEVER
            said.append(choice)
    return said


def ends(orders: Orders, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The last chunk of each choice."""
    last = {"delta": {}, "finish_reason": reason(orders), **stopped(orders)}
    return [{"index": index, **last} for index in range((body.get("n") or 1) - orders.unfinished)]


def calls(orders: Orders, body: dict[str, Any]) -> list[dict[str, Any]]:
    """So many calls of the tools that it was given, in turn."""
    tools = [tool["function"]["name"] for tool in body.get("tools") or () if tool.get("type") == "function"] or ["unnamed"]
    return [
        {
            **({"id": f"call_{number}"} if orders.ids else {}),
            "type": "function",
            "function": {
                "name": tools[number % len(tools)],
                "arguments": json.dumps({"city": f"Carnac {number}", "deep": {"a": [number]}}),
            },
        }
        for number in range(orders.calls)
    ]


def fragments_of(call: dict[str, Any], index: int) -> list[dict[str, Any]]:
    """A call in the pieces of a stream: its name first, then its arguments bit by bit."""
    text = call["function"]["arguments"]
    first = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
    return [first, *({"index": index, "function": {"arguments": text[at : at + 7]}} for at in range(0, len(text), 7))]


def logprobs(words: list[str], body: dict[str, Any]) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    top = int(body.get("top_logprobs") or 0)
    others = [{"token": f"other{number}", "logprob": -2.0 - number, "bytes": None} for number in range(top)]
    return {
        "content": [{"token": word, "logprob": -0.25, "bytes": list(word.encode()), "top_logprobs": others} for word in words],
        "refusal": None,
    }


def reason(orders: Orders) -> str:
    return orders.reason or ("tool_calls" if orders.calls else "stop")


def stopped(orders: Orders) -> dict[str, Any]:
    """As vLLM says which stop sequence it met."""
    return {"stop_reason": orders.stopped} if orders.stopped else {}
