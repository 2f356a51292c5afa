"""Anthropic's client on a company's routes."""

from __future__ import annotations

from typing import Any

import anthropic
from assistants.conftest import Company

QUESTION = [{"role": "user", "content": "What is a menhir?"}]
WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    "cache_control": {"type": "ephemeral"},
}
NEWS = {"name": "news", "input_schema": {"type": "object"}}


def client_of(company: Company, *, key: str | None = None) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=company.server.base_url, api_key=key or company.person.key("inference"), max_retries=0)


def message_of(client: anthropic.Anthropic, *, stream: bool, **asked: Any) -> anthropic.types.Message:
    """The message, whichever way it is asked for."""
    if not stream:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as told:
        return told.get_final_message()
