"""What the numbers in an answer point at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Source:
    """What a number in the text points at."""

    href: str
    title: str


Sources: TypeAlias = Mapping[int, Source]
