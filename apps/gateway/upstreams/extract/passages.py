"""What a conversation asks, and over which passages: read out of the messages of a chat completion."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BLOCK = re.compile(r"<passages>(.*?)</passages>", re.DOTALL)
PASSAGE = re.compile(r'<passage id="([^"]*)" document="([^"]*)">\n?(.*?)\n?</passage>', re.DOTALL)
BEGIN = re.compile(r"^[ \t]*begin answers with:[ \t]*(\S.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
END = re.compile(r"^[ \t]*end answers with:[ \t]*(\S.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)

INSTRUCTING = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a document, with the id under which it is cited."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What there is to answer. `passages` is None where the conversation was not grounded at all, empty where nothing was found."""

    question: str
    earlier: tuple[str, ...]
    passages: tuple[Passage, ...] | None
    begin: str | None
    end: str | None


def read(messages: Sequence[Mapping[str, Any]]) -> Asked:
    r"""Read the last question, the questions before it, the passages given last, and the two directives.

    >>> grounds = '<passages>\n<passage id="1" document="Keys">\nA key is shown once.\n</passage>\n</passages>'
    >>> asked = read([{"role": "system", "content": "Begin answers with: Well.\n" + grounds}, {"role": "user", "content": "When?"}])
    >>> asked.question, asked.passages, asked.begin
    ('When?', (Passage(id='1', title='Keys', text='A key is shown once.'),), 'Well.')
    """
    texts = [(str(message.get("role")), text_of(message.get("content"))) for message in messages]
    blocks = [block for _, text in texts for block in BLOCK.findall(text)]
    plain = [(role, BLOCK.sub("", text).strip()) for role, text in texts]
    questions = [text for role, text in plain if role == "user" and text]
    prompt = "\n".join(text for role, text in plain if role in INSTRUCTING)
    return Asked(
        question=questions[-1] if questions else "",
        earlier=tuple(questions[:-1]),
        passages=tuple(Passage(id_, html.unescape(title), text) for id_, title, text in PASSAGE.findall(blocks[-1])) if blocks else None,
        begin=_directive(BEGIN, prompt),
        end=_directive(END, prompt),
    )


def text_of(content: object) -> str:
    r"""The text of a message's content, which is a string or a list of parts.

    >>> text_of([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "…"}}, {"type": "text", "text": "b"}])
    'a\nb'
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def _directive(pattern: re.Pattern[str], prompt: str) -> str | None:
    found = pattern.findall(prompt)
    return found[-1] if found else None
