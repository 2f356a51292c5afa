"""Who may open a socket and what he is told there: owners, strangers, other pages, and those who have left."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from chat.conftest import begun, messages_of, opened
from websockets.exceptions import ConnectionClosed, InvalidStatus

from menhir.tenancy.models import Membership
from menhir.tenancy.transaction import tenant_transaction


async def test_a_conversation_is_its_owners_alone(server, alice, bob, mallory, assistant):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)
    for person, tenant in [(bob, ""), (mallory, alice.tenant.slug), (mallory, "")]:
        async with opened(server.base_url, person, talk.id, tenant=tenant) as tab:
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(tab.socket.recv(), 20)
        assert closed.value.rcvd.code == 4404
    async with opened(server.base_url, alice, uuid4()) as tab:
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(tab.socket.recv(), 20)
    assert closed.value.rcvd.code == 4404


async def test_a_run_of_another_conversation_is_not_told(server, alice, bob, assistant):
    await sync_to_async(assistant)(alice)
    talk, bobs = await sync_to_async(begun)(alice), await sync_to_async(begun)(bob)
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("A secret")
        await tab.hear_turn_and_end()
    answer = (await sync_to_async(messages_of)(alice, talk.id))[-1]
    run = str(answer.run)
    async with opened(server.base_url, bob, bobs.id) as tab:
        for words in [
            {"type": "resume", "run": run, "seq": 0},
            {"type": "stop", "run": run},
            {"type": "regenerate", "message": str(answer.id)},
            {"type": "ask", "id": str(uuid4()), "text": "more", "below": str(answer.id)},
        ]:
            await tab.say(**words)
            assert (await tab.hear("problem", "text", "turn"))["code"] == "no_such_message"
        assert not any(event["type"] != "problem" for event in tab.heard)


async def test_pages_from_elsewhere_may_not_open_it(server, alice):
    talk = await sync_to_async(begun)(alice)
    with pytest.raises(InvalidStatus) as refused:
        async with opened(server.base_url, alice, talk.id, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403


async def test_who_left_the_tenant_is_not_heard_any_more(server, alice, bob, assistant):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(bob)

    def leave():
        with tenant_transaction(bob.tenant):
            Membership.objects.within(bob.tenant).get(user=bob.user).end()

    async with opened(server.base_url, bob, talk.id) as tab:
        await sync_to_async(leave)()
        await tab.ask("Still here?")
        with pytest.raises(ConnectionClosed) as closed:
            await tab.hear("turn")
    assert closed.value.rcvd.code == 4404
    assert await sync_to_async(messages_of)(bob, talk.id) == []


async def test_another_program_on_this_host_cannot_open_a_socket(server, alice, assistant):
    """Cookies know no ports: only the origin tells a page of ours from that of whatever else listens here."""
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)
    for origin in ("http://127.0.0.1:3000", "https://127.0.0.1", "null", "http://localhost"):
        with pytest.raises(InvalidStatus):
            async with opened(server.base_url, alice, talk.id, origin=origin):
                pass


@pytest.mark.parametrize("how", ["signed out", "new password", "inactive"])
async def test_a_socket_does_not_outlive_the_session(server, alice, assistant, how):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)

    def leave():
        from django.contrib.sessions.models import Session

        if how == "signed out":
            for session in Session.objects.all():
                if session.get_decoded().get("_auth_user_id") == str(alice.user.id):
                    session.delete()
        elif how == "new password":
            alice.user.set_password("another passphrase")
            alice.user.save()
        else:
            alice.user.is_active = False
            alice.user.save()

    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("First")
        await tab.hear_turn_and_end()
        await sync_to_async(leave)()
        await tab.ask("Second")
        with pytest.raises(ConnectionClosed) as closed:
            await tab.hear("turn", "problem")
    assert closed.value.rcvd.code == 4404
    assert len(await sync_to_async(messages_of)(alice, talk.id)) == 2
