"""Usage: the chart states its finding, the table and the file say the same."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from console.conftest import Console, words

from apps.assistants.models import Assistant
from menhir.metering.entries import Opening, Settlement, Usage
from menhir.metering.ledger import Ledger
from menhir.postgres.ids import uuid7
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person


@pytest.fixture
async def spent(console: Console) -> Console:
    """Three calls: two yesterday, one of them failed, and one today."""
    ledger = Ledger()
    await ledger.start()
    now = datetime.now(UTC)
    for days, model, cost, outcome in ((1, "small", "0.25", "completed"), (1, "small", "0", "failed"), (0, "big", "1.50", "completed")):
        at, call_id = now - timedelta(days=days), uuid7()
        await ledger.open(
            Opening(
                tenant_id=console.owner.tenant.id,
                call_id=call_id,
                opened_at=at,
                operation="chat",
                model=model,
                route=model,
                api_key_id=console.key.id,
                user_id=None,
                assistant_id=None,
                prompt_version_id=None,
                stream=True,
                estimate=Decimal(0),
            )
        )
        await ledger.settle(
            Settlement(
                tenant_id=console.owner.tenant.id,
                call_id=call_id,
                opened_at=at,
                settled_at=at,
                outcome=outcome,
                status=200 if outcome == "completed" else 502,
                provider="far",
                upstream_model=model,
                attempts=1,
                usage=Usage(1000, 20),
                cost=Decimal(cost),
                first_token_ms=300,
                latency_ms=900,
                error_code=None,
            )
        )
    await ledger.stop()
    return console


def test_a_quiet_stretch_says_so(console: Console) -> None:
    said = words(console.owner.browser().get(console.at("usage/?from=2020-01-01&to=2020-01-07")))
    assert "Nothing in these 7 days" in said


def test_the_chart_states_its_finding_and_the_table_says_the_same(spent: Console) -> None:
    browser = spent.owner.browser()
    said = words(browser.get(spent.at("usage/")))
    finding = re.search(r"<h2>(Cost: .*?)</h2>", said)[1]
    assert finding.startswith("Cost: $1.75 in 30 days, most on")
    assert finding.endswith("($1.50)")
    assert said.count('<rect class="bar"') == 60  # 30 for a desk, 30 for a phone
    by_model = words(browser.get(spent.at("usage/?by=model&measure=calls")))
    assert "Calls: 3 in 30 days" in by_model
    assert by_model.index(">big<") < by_model.index(">small<")
    assert "Website" in words(browser.get(spent.at("usage/?by=key")))


@pytest.fixture
def known(console: Console) -> tuple[UUID, UUID]:
    """The assistant's id, and that of the newer version of its prompt."""
    with tenant_transaction(console.owner.tenant):
        assistant = Assistant.objects.within(console.owner.tenant).get()
        return assistant.id, assistant.prompt.versions.get(number=2).id


@pytest.fixture
async def named(console: Console, known: tuple[UUID, UUID]) -> Console:
    """Calls of an assistant's and of a prompt version's, by a person, by a user of a program's and by nobody, and of things that are gone."""
    tenant, (assistant_id, version_id) = console.owner.tenant, known
    ledger = Ledger()
    await ledger.start()
    now = datetime.now(UTC)
    for provider, said in (
        ("far", {"unit": str(console.owner.user.id), "assistant_id": assistant_id}),
        ("near", {"unit": "ada@example.com", "prompt_version_id": version_id}),
        ("cache", {"assistant_id": uuid7(), "prompt_version_id": uuid7()}),
        ("", {}),
    ):
        names = {"operation": "chat", "model": "m", "route": "small", "stream": False, "estimate": Decimal(0)}
        opened = Opening(
            tenant_id=tenant.id,
            call_id=uuid7(),
            opened_at=now,
            **names,
            **{"api_key_id": None, "user_id": None, "assistant_id": None, "prompt_version_id": None, **said},
        )
        await ledger.open(opened)
        await ledger.settle(
            Settlement(
                tenant_id=tenant.id,
                call_id=opened.call_id,
                opened_at=now,
                settled_at=now,
                outcome="completed",
                status=200,
                provider=provider,
                upstream_model="m",
                attempts=1,
                usage=Usage(10, 2),
                cost=Decimal("0.01"),
                first_token_ms=None,
                latency_ms=9,
                error_code=None,
            )
        )
    await ledger.stop()
    return console


@pytest.mark.parametrize(
    ("by", "head", "lines"),
    [
        ("user", "User", ["ada@example.com", "nobody in particular"]),
        ("route", "Route", ["small"]),
        ("provider", "Provider", ["far", "near", "answered from the cache", "nobody answered"]),
        ("assistant", "Assistant", ["Docs", "an assistant that is gone", "without an assistant"]),
        ("prompt_version", "Prompt version", ["Greeting, version 2", "a version that is gone", "without a managed prompt"]),
    ],
)
def test_each_grouping_calls_its_groups_by_name(named: Console, mallory: Person, by: str, head: str, lines: list[str]) -> None:
    said = words(named.owner.browser().get(named.at(f"usage/?by={by}")))
    assert f'<th scope="col">{head}</th>' in said
    shown = re.findall(r'<th scope="row" class="no-break">(.*?)</th>', said)
    if by == "user":
        lines = [*lines, named.owner.user.name]
    assert sorted(shown) == sorted(lines)
    assert f"group_by={by}" in said
    exported = words(named.owner.browser().get(named.at(f"usage/?by={by}&format=csv")))
    assert exported.splitlines()[0].startswith(f"{by},")
    assert all(line in exported for line in lines)
    theirs = words(mallory.browser().get(f"/t/{mallory.tenant.slug}/console/usage/?by={by}"))
    assert "No calls in these days." in theirs


@pytest.fixture
async def crowded(console: Console) -> Console:
    """A call by each of 203 users, each a little dearer than the one before."""
    tenant, now, ledger = console.owner.tenant, datetime.now(UTC), Ledger()
    await ledger.start()
    who = {"api_key_id": None, "user_id": None, "assistant_id": None, "prompt_version_id": None}
    how = {"operation": "chat", "model": "m", "route": "m", "stream": False, "estimate": Decimal(0)}
    done = {"settled_at": now, "outcome": "completed", "status": 200, "provider": "far", "upstream_model": "m", "attempts": 1}
    took = {"usage": Usage(10, 2), "first_token_ms": None, "latency_ms": 9, "error_code": None}

    async def call(number: int) -> None:
        opened = Opening(tenant_id=tenant.id, call_id=uuid7(), opened_at=now, unit=f"user-{number:03}", **who, **how)
        await ledger.open(opened)
        await ledger.settle(Settlement(tenant_id=tenant.id, call_id=opened.call_id, opened_at=now, cost=Decimal(number), **done, **took))

    await asyncio.gather(*(call(number) for number in range(203)))
    await ledger.stop()
    return console


def test_of_many_users_the_dearest_are_shown_and_all_are_in_the_file(crowded: Console) -> None:
    said = words(crowded.owner.browser().get(crowded.at("usage/?by=user")))
    shown = re.findall(r'<th scope="row" class="no-break">(.*?)</th>', said)
    assert (shown[0], shown[-1], len(shown)) == ("user-202", "user-003", 200)
    assert "3 more are in the file." in said
    assert len(words(crowded.owner.browser().get(crowded.at("usage/?by=user&format=csv"))).splitlines()) == 204


def test_the_file_is_exact(spent: Console) -> None:
    exported = spent.owner.browser().get(spent.at("usage/?by=model&format=csv"))
    heads, *lines = words(exported).splitlines()
    assert heads.split(",")[0] == "model"
    found = {line.split(",")[0]: line.split(",") for line in lines}
    cost = heads.split(",").index("cost_usd")
    assert {model: Decimal(cells[cost]) for model, cells in found.items()} == {"big": Decimal("1.5"), "small": Decimal("0.25")}


def test_the_first_page_says_whether_all_is_well(spent: Console) -> None:
    said = words(spent.owner.browser().get(spent.at()))
    assert "33 % of all calls fail." in said
    assert "$1.75" in said


def test_another_tenant_sees_none_of_it(spent: Console, mallory) -> None:
    said = words(mallory.browser().get(f"/t/{mallory.tenant.slug}/console/usage/?by=model"))
    assert "No calls in these days." in said


@pytest.mark.parametrize("query", ["?from=x&to=9999-99-99", "?from=2030-01-01&to=2020-01-01", "?by=%00&measure=none", "?from=0001-01-01"])
def test_nonsense_in_the_address_bar_is_as_if_it_were_not_there(console: Console, query: str) -> None:
    assert console.owner.browser().get(console.at(f"usage/{query}")).status_code == 200
