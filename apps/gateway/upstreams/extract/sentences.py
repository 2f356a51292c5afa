"""A passage cut into what can be quoted: sentences, list items, table rows, code, each whole.

Where a sentence ends is decided for Latin scripts by what follows (a small letter continues it; so does what comes after "e.g.")
and for those that need no space after a full stop by the stop alone. A line that introduces a list or a block of code ("Run this:") is
kept together with it, since neither says much alone. Headings are not quoted, but known to what stands below them.
"""

# ruff: noqa: RUF001 - quotation marks and full stops of other scripts are meant

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

FENCE = re.compile(r"^\s*(```|~~~)")
FENCES = re.compile(r"^\s*(?:```|~~~)(.*)$", re.MULTILINE)
HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.+?)\s*#*\s*$")
UNDERLINE = re.compile(r"^\s{0,3}(=+|-{2,})\s*$")
ITEM = re.compile(r"^\s*([-*+•–]|\(?\d{1,3}[.)])\s+\S")
ROW = re.compile(r"^\s*\|.*\|\s*$")
RULE = re.compile(r"^[\s|:\-=+*_]*$")
QUOTE = re.compile(r"^\s{0,3}>\s?")
BROKEN = re.compile(r"(?<=[^\W\d_])- (?=[a-z])")

# A full stop that ends nothing.
ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|cf|vs|al|ca|approx|no|nr|fig|eq|sec|ch|vol|pp?|mr|mrs|ms|dr|prof|st|jr|sr|inc|ltd|co|dept|est|resp"
    r"|z\.\s?b|d\.\s?h|u\.\s?a|bzw|usw|bspw|ggf|evtl|vgl|abb|env|p\.\s?ex|av|núm|pág)|\b[A-Z]|^\s*\d{1,3})\.$",
    re.IGNORECASE,
)
END = re.compile(r"([.!?…]+[\"'”’»)\]*_`]*)(\s+)(?=[^\sa-z])|([。！？؟।॥]+[」』”’）]*)(\s*)")

GROUP_LINES = 14
TITLE_WORDS = 8
LOWEST_LEVEL = 7
BELOW = " › "
Kind = Literal["sentence", "item", "row", "code", "group"]


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that can be quoted whole. `heading` is what it stands under, from the top; `block` counts the paragraphs of its passage."""

    text: str
    kind: Kind
    heading: str
    block: int


def units(text: str) -> list[Unit]:
    r"""Cut a passage.

    >>> [unit.text for unit in units("A key, e.g. yours, is shown once. Copy it. It costs 3.50 a day.")]
    ['A key, e.g. yours, is shown once.', 'Copy it.', 'It costs 3.50 a day.']
    >>> [(unit.kind, unit.text) for unit in units("# Keys\n\nTo make one:\n\n1. Open the console.\n2. Press New.")]
    [('group', 'To make one:\n\n1. Open the console.\n2. Press New.')]
    """
    fences = FENCES.findall(text)
    if len(fences) % 2 and not fences[0]:
        text = f"```\n{text}"  # cut in the middle of a block of code: what comes before its end is code
    return list(_grouped(list(_cut(text))))


def _cut(text: str) -> Iterator[Unit]:
    above: dict[int, str] = {}
    heading, block = "", 0
    lines = text.expandtabs(4).splitlines()
    at = 0
    while at < len(lines):
        line, title = lines[at], _heading(lines, at)
        if title is not None:
            level, name, at = title
            above = {**{upper: held for upper, held in above.items() if upper < level}, level: name}
            heading, block = BELOW.join(above.values()), block + 1
        elif FENCE.match(line):
            until = _end_of_fence(lines, at)
            yield Unit("\n".join(lines[at:until]), "code", heading, block)
            at = until
        elif RULE.match(line):  # an empty line, too
            block, at = block + 1, at + 1
        elif ROW.match(line):
            until = next((until for until in range(at, len(lines)) if not ROW.match(lines[until])), len(lines))
            yield from (Unit(row, "row", heading, block) for row in _rows(lines[at:until]))
            at = until
        else:
            until = _end_of_paragraph(lines, at)
            paragraph = _joined(lines[at:until])
            cut = [paragraph] if ITEM.match(line) else sentences(paragraph)
            yield from (Unit(part, "item" if ITEM.match(line) else "sentence", heading, block) for part in cut)
            at = until


def _rows(table: list[str]) -> Iterator[str]:
    """The rows of a Markdown table, each cell with the name of its column, so that a row alone still says what it says."""
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table]
    named = len(table) > 1 and RULE.match(table[1]) is not None
    for row in cells[2:] if named else cells:
        names = cells[0] if named else [""] * len(row)
        yield " · ".join(f"{name}: {cell}" if name else cell for name, cell in zip_longest(names, row, fillvalue="") if cell)


def _heading(lines: list[str], at: int) -> tuple[int, str, int] | None:
    """A heading that begins here, its level and the line after it: with marks, underlined, or bare as extraction leaves it."""
    line = lines[at]
    if found := HEADING.match(line):
        return len(found[1]), found[2].strip("*_` "), at + 1
    if not line.strip() or ITEM.match(line) or ROW.match(line) or FENCE.match(line) or at + 1 == len(lines):
        return None
    if UNDERLINE.match(lines[at + 1]):
        return (1 if "=" in lines[at + 1] else 2), line.strip(), at + 2
    alone = not lines[at + 1].strip() and (at == 0 or not lines[at - 1].strip()) and any(rest.strip() for rest in lines[at + 1 :])
    bare = line.strip()
    if alone and len(bare.split()) <= TITLE_WORDS and bare[-1] not in ".!?:;,…。！？：":
        return LOWEST_LEVEL, bare, at + 1
    return None


def sentences(paragraph: str) -> list[str]:
    r"""Cut a paragraph into its sentences.

    >>> sentences("Dr. Ada wrote it. Was it good? Yes!")
    ['Dr. Ada wrote it.', 'Was it good?', 'Yes!']
    >>> sentences("\u6587\u6863\u5df2\u4e0a\u4f20\u3002\u8bf7\u7a0d\u5019\u3002")
    ['文档已上传。', '请稍候。']
    """
    found, begin = [], 0
    for match in END.finditer(paragraph):
        end = match.end(1) if match[1] is not None else match.end(3)
        candidate = paragraph[begin:end]
        if match[1] is not None and ABBREVIATION.search(candidate.rstrip("\"'”’»)]*_`")):
            continue
        found.append(candidate.strip())
        begin = match.end()
    found.append(paragraph[begin:].strip())
    return [sentence for sentence in found if any(character.isalnum() for character in sentence)]


def _end_of_fence(lines: list[str], at: int) -> int:
    mark = lines[at].strip()[:3]
    for until in range(at + 1, len(lines)):
        if lines[until].strip().startswith(mark):
            return until + 1
    return len(lines)


def _end_of_paragraph(lines: list[str], at: int) -> int:
    until = at + 1
    while until < len(lines) and lines[until].strip() and not any(sign.match(lines[until]) for sign in (FENCE, HEADING, ITEM, ROW)):
        if UNDERLINE.match(lines[until]):
            break
        until += 1
    return until


def _joined(lines: list[str]) -> str:
    """One line of several, since a line break within a paragraph means nothing, nor does the space it would leave after a hyphen."""
    return BROKEN.sub("-", " ".join(QUOTE.sub("", line).strip() for line in lines))


def _grouped(cut: list[Unit]) -> Iterator[Unit]:
    """Join a line that ends in a colon to the list or code it introduces, unless that is long."""
    at = 0
    while at < len(cut):
        unit, until = cut[at], at + 1
        if unit.kind == "sentence" and unit.text.endswith((":", "：")):
            while until < len(cut) and cut[until].kind in {"item", "code", "row"} and cut[until].heading == unit.heading:
                if cut[at + 1].kind != cut[until].kind:
                    break
                until += 1
            body = "\n".join(part.text for part in cut[at + 1 : until])
            if until > at + 1 and body.count("\n") < GROUP_LINES:
                yield replace(unit, text=f"{unit.text}\n\n{body}", kind="group")
                at = until
                continue
            until = at + 1
        yield unit
        at = until
