"""How many shortcuts a process keeps, and which of them."""

from __future__ import annotations

import pytest

from apps.gateway.cache import shortcut

from peers.caller import ask, call_of

pytestmark = pytest.mark.usefixtures("gateway")


async def test_all_tenants_share_one_bound_and_what_nobody_takes_goes_first(alice, mallory, routes, upstream, monkeypatch):
    monkeypatch.setattr(shortcut, "MOST", 3)
    theirs = type(routes)(mallory.tenant, upstream.base_url)
    names = {who: await place.set(await place.to("fake"), cache_seconds=60) for who, place in ((alice, routes), (mallory, theirs))}
    since = shortcut.generation()

    def asked(who, number):
        return call_of(who.principal, names[who], seed=number)

    async def learnt(who, number):
        await ask(asked(who, number))
        await ask(again := asked(who, number))
        shortcut.learn(again, since=since)

    def found(who, number):
        return shortcut.find(who.principal, asked(who, number).raw) is not None

    for number in range(3):
        await learnt(alice, number)
    assert [found(alice, number) for number in (1, 2, 0)] == [True] * 3
    await learnt(mallory, 0)
    await learnt(mallory, 1)
    assert [found(mallory, 0), found(mallory, 1), found(alice, 0), found(alice, 1), found(alice, 2)] == [True, True, True, False, False]
    shortcut._forget(alice.tenant.id)
    for number in range(2, 4):
        await learnt(mallory, number)
    assert sum(map(len, shortcut._known.values())) == len(shortcut._order) == 2, "nothing is learnt of before"
