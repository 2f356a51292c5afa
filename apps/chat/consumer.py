"""The socket of one conversation: takes what a browser says (`wire.Said`), sends what happens (`wire.Turn` and the others).

Every reader of a conversation, on whatever process, is in its group: a question in one tab appears in all. Group messages carry
ids; each reader reads the rows for himself, as himself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from django.utils import translation

from apps.chat import asking, transcript, turns, wire
from apps.chat.errors import NoSuchConversation, NoSuchMessage
from apps.chat.following import Following
from apps.chat.models import Conversation, Message, Status
from apps.chat.rows import in_tenant
from apps.chat.settlement import settle_from
from menhir.errors import MenhirError, NotFound
from menhir.tenancy.middleware import places_of, principal_of_user
from menhir.tenancy.principal import Principal

NOT_FOUND = 4404  # to the browser: this will not become better by trying again

T = TypeVar("T")
log = structlog.get_logger(__name__)


class ConversationConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """One browser tab that looks at one conversation."""

    principal: Principal
    conversation_id: UUID
    following: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Let in whom the conversation belongs to; everybody else learns that there is none."""
        self._speak_the_language_of_the_page()
        self.conversation_id = self.scope["url_route"]["kwargs"]["conversation"]
        await self.accept()
        try:
            self.principal = await database_sync_to_async(self._admitted)()
            await self._in_conversation(lambda _conversation: None)
        except NotFound:
            await self.close(NOT_FOUND)
            return
        await self.channel_layer.group_add(group_of(self.conversation_id), self.channel_name)

    async def disconnect(self, code: int) -> None:
        """Stop reading along; the answer goes on being written."""
        self._stop_following()
        await self.channel_layer.group_discard(group_of(self.conversation_id), self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        """Do what the browser says, or tell it in one sentence why not."""
        if not hasattr(self, "principal"):
            return
        try:
            said = wire.said(text_data)
            self.principal = await database_sync_to_async(self._admitted)()  # he may have left the tenant since, or signed out
            await self.obey(said)
        except NoSuchConversation:
            self._stop_following()
            await self.close(NOT_FOUND)
        except MenhirError as error:
            await self.tell(wire.Problem(code=error.code, message=error.message))
        except Exception:
            log.exception("chat.socket_failed", conversation=str(self.conversation_id))
            await self.tell(wire.Problem(code="internal", message=translation.gettext("Something went wrong on our side. Try again.")))

    async def obey(self, said: wire.Said) -> None:
        """Do one thing that was said."""
        match said:
            case wire.Ask():
                await self._ask(said)
            case wire.Regenerate():
                await self._regenerate(said)
            case wire.Choose():
                await self._choose(said)
            case wire.Stop():
                await asking.stop(self.principal, self.conversation_id, run_id=said.run)
            case wire.Resume():
                await self._resume(said)

    async def _ask(self, said: wire.Ask) -> None:
        turn = await asking.ask(self.principal, self.conversation_id, text=said.text, below=said.below, question_id=said.id)
        if turn is not None:
            await self._show_everywhere(turn.parent_id, turn.message_ids)
        else:
            # Heard before: the line broke before the browser learned so.
            await self._show(said.below, await self._in_conversation(lambda found: turns.branch_from(found, said.id)))

    async def _regenerate(self, said: wire.Regenerate) -> None:
        turn = await asking.ask_again(self.principal, self.conversation_id, answer_id=said.message)
        if turn is not None:
            await self._show_everywhere(turn.parent_id, turn.message_ids)

    async def _choose(self, said: wire.Choose) -> None:
        def choose() -> tuple[UUID | None, list[UUID]]:
            below = turns.choose(self.principal, self.conversation_id, message_id=said.message)
            first = Message.objects.within(self.principal.tenant_id).get(id=below[0])
            return first.parent_id, below

        above, message_ids = await in_tenant(self.principal.tenant_id, choose)
        await self._show_everywhere(above, message_ids)

    async def _resume(self, said: wire.Resume) -> None:
        answer = await self._in_conversation(lambda conversation: conversation.messages.filter(run=said.run).first())
        if answer is None:
            raise NoSuchMessage
        self._follow(answer.id, said.run, after=max(0, said.seq))

    async def _show_everywhere(self, above: UUID | None, message_ids: Sequence[UUID]) -> None:
        """To this tab at once, and to the others by their group."""
        event = {
            "type": "conversation.turn",
            "origin": self.channel_name,
            "above": str(above) if above else None,
            "messages": [str(message_id) for message_id in message_ids],
        }
        await self._show(above, message_ids)
        await self.channel_layer.group_send(group_of(self.conversation_id), event)

    async def conversation_turn(self, event: dict[str, Any]) -> None:
        """Another tab asked, or chose another version."""
        if event["origin"] != self.channel_name:
            above = UUID(event["above"]) if event["above"] else None
            await self._show(above, [UUID(message_id) for message_id in event["messages"]])

    async def conversation_title(self, event: dict[str, Any]) -> None:
        """The conversation was renamed."""
        await self.tell(wire.Title(title=await self._in_conversation(lambda conversation: conversation.title)))

    async def _show(self, above: UUID | None, message_ids: Sequence[UUID]) -> None:
        """Send these messages, and read along when the last of them is being written."""

        def read(conversation: Conversation) -> tuple[str, Message]:
            shown = transcript.part(conversation, message_ids, tenant_slug=self.principal.tenant_slug)
            return transcript.html_of(shown), shown[-1].message

        html, last = await self._in_conversation(read)
        running = last.run if last.status == Status.STREAMING else None
        await self.tell(wire.Turn(above=above, html=html, run=running))
        if running:
            self._follow(last.id, running, after=0)
        else:
            self._stop_following()

    def _follow(self, answer_id: UUID, run_id: UUID, *, after: int) -> None:
        self._stop_following()
        self.following = asyncio.create_task(self._read_along(answer_id, run_id, after))

    def _stop_following(self) -> None:
        if self.following is not None:
            self.following.cancel()
            self.following = None

    async def _read_along(self, answer_id: UUID, run_id: UUID, after: int) -> None:
        """Send what comes until the end, then what stands below an ended answer."""
        reader = Following(
            self.tell, tenant_id=self.principal.tenant_id, tenant_slug=self.principal.tenant_slug, run_id=run_id, after=after
        )
        try:
            await reader.until_the_end()
            await in_tenant(self.principal.tenant_id, lambda: settle_from(self.principal.tenant_id, answer_id, reader.draft))

            def read(conversation: Conversation) -> wire.Settled:
                (shown,) = transcript.part(conversation, [answer_id], tenant_slug=self.principal.tenant_slug)
                as_streamed = shown.message.text == reader.draft.text
                return wire.Settled(
                    run=run_id,
                    message=answer_id,
                    status=shown.message.status,
                    foot=transcript.foot_of(shown),
                    html=None if as_streamed else transcript.html_of([shown]),
                )

            await self.tell(await self._in_conversation(read))
        except Exception:
            # The socket says that it lost the thread; the browser comes back and resumes where it was.
            log.exception("chat.following_failed", run=str(run_id))
            await self.close(1011)

    async def tell(self, event: Any) -> None:
        """Send one event to the browser."""
        await self.send(text_data=wire.encoded(event))

    async def _in_conversation(self, work: Callable[[Conversation], T]) -> T:
        """Do something with the conversation, which must still be there."""
        return await in_tenant(self.principal.tenant_id, lambda: work(Conversation.objects.open(self.principal, self.conversation_id)))

    def _admitted(self) -> Principal:
        """Who is signed in now, as a member of the tenant in the address."""
        user = signed_in(self.scope["session"].session_key)
        slug = self.scope["url_route"]["kwargs"]["tenant"]
        place = next((place for place in places_of(user) if place.slug == slug), None)
        if place is None:
            raise NoSuchConversation
        return principal_of_user(user, place)

    def _speak_the_language_of_the_page(self) -> None:
        given = self.scope["query_string"].decode("ascii", "replace").removeprefix("lang=")
        translation.activate(given if given in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE)


def signed_in(session_key: str | None) -> Any:
    """Whose session this is at this moment: a socket outlives signing out, a new password, and being made inactive."""
    kept = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return get_user(cast("HttpRequest", SimpleNamespace(session=kept)))


def group_of(conversation_id: UUID) -> str:
    """The Channels group of everybody who looks at a conversation."""
    return f"chat.{conversation_id}"
