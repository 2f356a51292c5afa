"""The table of stored responses: who sees which, how a conversation is traced, and how its days come and go."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.conf import settings

from apps.assistants import responses
from apps.assistants.errors import UnknownResponse
from apps.assistants.responses import Stored
from menhir.postgres import pools
from menhir.postgres.ids import uuid7
from menhir.postgres.line import Line
from menhir.tenancy.principal import Principal


@pytest.fixture
async def open_pools():
    await pools.open_all()
    yield
    await pools.close_all()


def stored(**more: Any) -> Stored:
    return Stored(
        more.pop("id", uuid7()), [{"id": "msg_1", "type": "message"}], [{"id": "msg_2", "type": "message"}], {"output": [], **more}
    )


ISSUER, OTHER_ISSUER = uuid7(), uuid7()


def end_user(principal: Principal, unit: str, issuer: UUID = ISSUER) -> Principal:
    return Principal(principal.tenant_id, principal.tenant_slug, "end_user", issuer, unit, None, principal.scopes, unit)


@pytest.mark.usefixtures("open_pools")
async def test_a_person_sees_his_own_alone(alice, bob):
    ada, ben = end_user(alice.principal, "ada"), end_user(alice.principal, "ben")
    hers, bobs = stored(), stored()
    await responses.keep(ada, hers, previous=None)
    await responses.keep(bob.principal, bobs, previous=None)
    assert await responses.find(ada, hers.id) == hers
    assert await responses.find(ben, hers.id) is None
    assert await responses.find(end_user(alice.principal, "ada", OTHER_ISSUER), hers.id) is None
    assert await responses.trace(ben, hers.id) is None
    with pytest.raises(UnknownResponse):
        await responses.delete(ben, hers.id)
    assert await responses.find(alice.principal, bobs.id) is None
    key = Principal(alice.tenant.id, alice.tenant.slug, "key", uuid7(), "key", None, alice.principal.scopes)
    assert set(await responses.find_all(key, [hers.id, bobs.id])) == {hers.id, bobs.id}


@pytest.mark.usefixtures("open_pools")
async def test_what_is_stored_twice_stays_as_it_was(alice):
    first = stored(model="a")
    await responses.keep(alice.principal, first, previous=None)
    await responses.keep(alice.principal, stored(id=first.id, model="b"), previous=None)
    assert await responses.find(alice.principal, first.id) == first


@pytest.mark.usefixtures("open_pools")
async def test_a_conversation_that_is_too_long_is_refused(alice, monkeypatch):
    ids = []
    for _ in range(4):
        ids.append((made := stored()).id)
        await responses.keep(alice.principal, made, previous=ids[-2] if len(ids) > 1 else None)
    assert len((await responses.trace(alice.principal, ids[-1])).items) == 8
    monkeypatch.setattr(settings, "MENHIR_BODY_LIMIT_BYTES", 200)
    with pytest.raises(responses.ConversationTooLong):
        await responses.trace(alice.principal, ids[-1])


@pytest.mark.usefixtures("open_pools")
async def test_days_are_made_when_they_are_missing_and_dropped_when_they_are_old(alice, superuser: str):
    made = stored()
    day = responses.made_at(made.id)
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"DROP TABLE assistants_response_{day:%Y%m%d}")
    await responses.keep(alice.principal, made, previous=None)
    assert await responses.find(alice.principal, made.id) == made
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE assistants_response_20250101 PARTITION OF assistants_response FOR VALUES FROM ('2025-01-01') TO ('2025-01-02')"
        )
    line = Line("gateway")
    await responses.keep_house(line)
    await line.close()
    with psycopg.connect(superuser) as connection:
        names = [
            row[0]
            for row in connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'assistants_response_2%' AND relkind = 'r'")
        ]
    assert "assistants_response_20250101" not in names
    assert len(names) >= responses.DAYS_AHEAD + 2
