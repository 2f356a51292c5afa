"""The shape of a conversation: which messages are versions of each other, and which of them are shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(slots=True)
class Tree:
    """Messages by their parents, in the order in which they were written.

    >>> from uuid import UUID
    >>> q, a, b = UUID(int=1), UUID(int=2), UUID(int=3)
    >>> tree = Tree.of([(q, None), (a, q), (b, q)])
    >>> tree.path(b) == [q, b], tree.versions(a) == [a, b], tree.last_below(q) == b
    (True, True, True)
    """

    parents: dict[UUID, UUID | None] = field(default_factory=dict)
    replies: dict[UUID | None, list[UUID]] = field(default_factory=dict)

    @classmethod
    def of(cls, messages: Iterable[tuple[UUID, UUID | None]]) -> Tree:
        tree = cls()
        for message, parent in messages:
            tree.parents[message] = parent
            tree.replies.setdefault(parent, []).append(message)
        return tree

    def path(self, leaf: UUID | None) -> list[UUID]:
        """From the first question down to this message."""
        found: list[UUID] = []
        while leaf is not None:
            found.append(leaf)
            leaf = self.parents[leaf]
        return found[::-1]

    def versions(self, message: UUID) -> list[UUID]:
        """A message and whatever stands beside it, the oldest first."""
        return self.replies[self.parents[message]]

    def last_below(self, message: UUID) -> UUID:
        """The end of the branch that one comes to by always taking the newest version."""
        while below := self.replies.get(message):
            message = below[-1]
        return message
