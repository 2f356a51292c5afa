"""Usage: the chart states its finding, the table and the file say the same."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from console.conftest import Console, words

from menhir.metering.entries import Opening, Settlement, Usage
from menhir.metering.ledger import Ledger
from menhir.postgres.ids import uuid7


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
