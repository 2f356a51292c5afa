"""What every JSON API takes and gives: texts that the database can keep, bodies without misspelt members, exact decimals."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, PlainSerializer


def storable(text: str) -> str:
    r"""Refuse what the database cannot keep: U+0000 and halves of surrogate pairs; raises ValueError.

    >>> storable("plain")
    'plain'
    >>> storable("a\x00b")
    Traceback (most recent call last):
    ValueError: contains characters that are no text
    """
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("contains characters that are no text")
    return text


Text = Annotated[str, AfterValidator(storable)]

DecimalString = Annotated[Any, PlainSerializer(lambda amount: format(amount.normalize(), "f"), return_type=str)]
"""A decimal as a string: a JSON number would be read as a float."""


class Strict(Schema):
    """A body in which a misspelt member is refused, not dropped."""

    model_config = ConfigDict(extra="forbid")
