"""A person's conversations as a list: by day, and by what was said in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from django.db.models import Exists, OuterRef, Q
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from apps.chat.models import Conversation, Message
from menhir.tenancy.models import TenantQuerySet
from menhir.tenancy.principal import Principal

SIDEBAR_LENGTH = 60
PAGE_LENGTH = 30
WORDS_LIMIT = 8
EXCERPT_CHARACTERS = 90


@dataclass(frozen=True, slots=True)
class Day:
    """Conversations that were last used within the same span of days."""

    name: str
    conversations: list[Conversation]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The words around a hit."""

    before: str
    hit: str
    after: str


def recent(principal: Principal) -> list[Conversation]:
    """The conversations for the sidebar, the newest first."""
    return list(Conversation.objects.of(principal).order_by("-updated_at")[:SIDEBAR_LENGTH])


def by_day(conversations: Iterable[Conversation], *, now: datetime) -> list[Day]:
    """Group conversations, which come the newest first, by the day they were last used."""
    today = now.date()
    groups = groupby(conversations, key=lambda conversation: day_name(conversation.updated_at.date(), today=today))
    return [Day(name, list(group)) for name, group in groups]


def day_name(day: date, *, today: date) -> str:
    """What one calls a day: the further away, the less exactly.

    >>> day_name(date(2026, 3, 9), today=date(2026, 3, 10))
    'Yesterday'
    """
    if day >= today:
        return _("Today")
    if day == today - timedelta(days=1):
        return _("Yesterday")
    if day > today - timedelta(days=7):
        return _("Previous 7 days")
    return date_format(day, "YEAR_MONTH_FORMAT")


def matching(principal: Principal, query: str) -> TenantQuerySet[Conversation]:
    """The conversations in which each word of the query is in the title or in some message; all of them without a query.

    A scan of one's own texts: `ILIKE` finds parts of words, in any language, and no index would serve it under row-level security.
    """
    found = Conversation.objects.of(principal).order_by("-updated_at")
    messages = Message.objects.within(principal.tenant_id).filter(conversation_id=OuterRef("id"), tenant_id=OuterRef("tenant_id"))
    for word in query.split()[:WORDS_LIMIT]:
        found = found.filter(Q(title__icontains=word) | Exists(messages.filter(text__icontains=word)))
    return found


def excerpt(conversation: Conversation, query: str) -> Excerpt | None:
    """Where the first word of the query that is in a message stands there."""
    for word in query.split()[:WORDS_LIMIT]:
        message = conversation.messages.filter(text__icontains=word).order_by("created_at").first()
        if message is not None:
            return _around(" ".join(message.text.split()), word)
    return None


def _around(text: str, word: str) -> Excerpt | None:
    place = text.lower().find(word.lower())
    if place < 0:
        return None
    end = place + len(word)
    start, stop = max(0, place - EXCERPT_CHARACTERS), end + EXCERPT_CHARACTERS
    before = ("…" if start else "") + text[start:place]
    return Excerpt(before=before, hit=text[place:end], after=text[end:stop] + ("…" if stop < len(text) else ""))
