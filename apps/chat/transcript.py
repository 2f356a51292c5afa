"""Messages as they are shown: the last ones of a branch, each with its HTML, its sources and its versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.template.loader import render_to_string
from django.urls import reverse

from apps.chat.draft import Draft, Passage, sources_of
from apps.chat.live import LiveText
from apps.chat.markdown import remembered
from apps.chat.models import Author, Citation, Conversation, Message, Status
from apps.chat.sources import Sources
from apps.chat.tree import Tree
from apps.chat.turns import tree_of

SHOWN_AT_ONCE = 30


@dataclass(slots=True)
class Shown:
    """One message and what its template needs to know."""

    message: Message
    tenant_slug: str
    versions: list[UUID]
    citations: list[Citation] = field(default_factory=list)
    draft: Draft | None = None  # of an answer that is being written
    seq: int = 0

    @property
    def is_question(self) -> bool:
        return self.message.author == Author.USER

    @property
    def is_running(self) -> bool:
        return self.message.status == Status.STREAMING

    @property
    def number(self) -> int:
        """Which of its versions this is, from 1."""
        return self.versions.index(self.message.id) + 1

    @property
    def before(self) -> UUID | None:
        return self.versions[self.number - 2] if self.number > 1 else None

    @property
    def after(self) -> UUID | None:
        return self.versions[self.number] if self.number < len(self.versions) else None

    @property
    def sources(self) -> list[Passage]:
        """The passages that its numbers point at: all of a running answer, the cited ones of an ended one."""
        if self.draft is not None:
            return self.draft.passages or []
        return [
            Passage(number=c.number, chunk=c.chunk, document=c.document, title=c.title, start=c.start, end=c.end, text=c.text)
            for c in self.citations
        ]

    @property
    def choose_address(self) -> str:
        return reverse("chat:choose", args=[self.tenant_slug, self.message.conversation_id])

    @property
    def regenerate_address(self) -> str:
        return reverse("chat:regenerate", args=[self.tenant_slug, self.message.conversation_id])

    @property
    def linked_sources(self) -> list[tuple[Passage, str]]:
        return [(passage, passage.href(self.tenant_slug)) for passage in self.sources]

    @property
    def is_unsupported(self) -> bool:
        """Whether it was to rest on documents, and cites none."""
        answered = self.message.status == Status.COMPLETE and bool(self.message.text)
        return answered and self.message.passages is not None and not self.citations

    @property
    def html(self) -> str:
        return remembered(self.message.text, self._hrefs)

    @property
    def live(self) -> LiveText:
        """The text so far of a running answer, in blocks."""
        live = LiveText(self._hrefs)
        live.feed(self.draft.text if self.draft else "")
        live.advance()
        return live

    @property
    def _hrefs(self) -> Sources:
        return sources_of(self.sources, tenant_slug=self.tenant_slug)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A part of a branch, from above to below. `older` names the message to ask before, when there are more above."""

    messages: list[Shown]
    older: UUID | None = None
    newest: bool = True

    @property
    def running(self) -> Shown | None:
        """The answer that is being written, if the last message is one."""
        last = self.messages[-1] if self.messages else None
        return last if last is not None and last.is_running else None


def transcript(conversation: Conversation, *, tenant_slug: str, before: UUID | None = None) -> Transcript:
    """The last messages of the branch that is shown, or the ones before a message of it."""
    tree = tree_of(conversation)
    path = tree.path(conversation.head)
    end = path.index(before) if before in path else len(path)
    start = max(0, end - SHOWN_AT_ONCE)
    messages = _shown(conversation, tree, path[start:end], tenant_slug=tenant_slug)
    return Transcript(messages=messages, older=path[start] if start else None, newest=end == len(path))


def part(conversation: Conversation, message_ids: Sequence[UUID], *, tenant_slug: str) -> list[Shown]:
    """These messages of a conversation, in this order."""
    return _shown(conversation, tree_of(conversation), message_ids, tenant_slug=tenant_slug)


def html_of(messages: Sequence[Shown]) -> str:
    """The messages as HTML, as the page has them."""
    return "".join(render_to_string("chat/message.html", {"shown": shown}) for shown in messages)


def foot_of(shown: Shown) -> str:
    """What stands below the text of a message: sources, notes, buttons."""
    return render_to_string("chat/foot.html", {"shown": shown})


def _shown(conversation: Conversation, tree: Tree, message_ids: Sequence[UUID], *, tenant_slug: str) -> list[Shown]:
    within = Message.objects.within(conversation.tenant_id).filter(conversation_id=conversation.id)
    messages = {message.id: message for message in within.filter(id__in=message_ids)}
    citations: dict[UUID, list[Citation]] = {}
    for citation in Citation.objects.within(conversation.tenant_id).filter(message_id__in=message_ids).order_by("number"):
        citations.setdefault(citation.message_id, []).append(citation)
    return [
        Shown(
            message=messages[message_id],
            tenant_slug=tenant_slug,
            versions=tree.versions(message_id),
            citations=citations.get(message_id, []),
        )
        for message_id in message_ids
        if message_id in messages
    ]
