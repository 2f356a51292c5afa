"""Where a page of rows that are ordered by time ended, newest first."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import NamedTuple, Self
from uuid import UUID

from django.db.models import Q

from menhir.errors import Invalid


class Cursor(NamedTuple):
    """The last row that was shown.

    >>> Cursor.read(str(Cursor(datetime(2026, 1, 1), UUID(int=7)))).id.int
    7
    """

    at: datetime
    id: UUID

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.at.isoformat()} {self.id}".encode()).decode().rstrip("=")

    @classmethod
    def read(cls, given: str) -> Self:
        """Read one that we gave; raises Invalid for any other."""
        try:
            at, _, number = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode().partition(" ")
            return cls(datetime.fromisoformat(at), UUID(number))
        except (ValueError, binascii.Error) as e:
            raise Invalid("This cursor is none of ours.", param="cursor") from e

    def after(self, field: str) -> Q:
        """What comes after it, said so that an index begins to read there."""
        return Q(**{f"{field}__lte": self.at}) & (Q(**{f"{field}__lt": self.at}) | Q(id__lt=self.id))
