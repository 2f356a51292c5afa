"""Limits in the console: set in plain words, shown with their use, changed and deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from console.conftest import Console, words

from menhir.audit.models import Entry
from menhir.metering.limits.models import Limit, LimitEvent, Meter
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person


def set_now(console: Console) -> list[Limit]:
    """The limits beside the one that Acme begins with, the oldest first."""
    tenant = console.owner.tenant
    with tenant_transaction(tenant):
        return list(Limit.objects.within(tenant).exclude(id=console.limit_id).order_by("created_at"))


def limits_of(console: Console) -> list[str]:
    return sorted(str(limit) for limit in set_now(console))


def set_limit(console: Console, **fields: str) -> str:
    """Fill in the form; where one comes to."""
    answer = console.owner.browser().post(console.at("limits/new"), fields)
    return answer["location"] if answer.status_code == 302 else words(answer)


def use(console: Console, limit: Limit, *, subject: str, spent: str, percent: int = 0) -> None:
    """Somebody has used so much of it in a window that ends in an hour."""
    tenant, now = console.owner.tenant, datetime.now(UTC)
    with tenant_transaction(tenant):
        Meter.objects.create(
            tenant=tenant,
            limit=limit,
            subject=subject,
            turn=1,
            starts_at=now,
            ends_at=now + timedelta(hours=1),
            spent=Decimal(spent),
            leased=0,
            reached=percent,
        )
        if percent:
            LimitEvent.objects.create(
                tenant=tenant,
                limit=limit,
                subject=subject,
                starts_at=now,
                percent=percent,
                at=now,
                spent=Decimal(spent),
                amount=limit.amount,
            )


@pytest.mark.parametrize(
    ("fields", "made", "said"),
    [
        ({"subject": "tenant"}, "12.50 money a month for tenant", "All calls of this workspace together have $12.50 a month."),
        ({"subject": "user", "user": "anna", "route": "small"}, "12.50 money a month for user anna", "The user “anna” has $12.50 a month"),
        ({"subject": "route"}, "12.50 money a month for each route", "Each model has $12.50 a month of its own"),
    ],
)
def test_a_budget_is_set_and_explained(console: Console, fields: dict[str, str], made: str, said: str) -> None:
    address = set_limit(console, amount="12.50", what="money:month", **fields)
    assert limits_of(console) == [made.replace("12.50", "12.5")]
    page = words(console.owner.browser().get(address))
    assert said in page
    assert "first of the month" in page
    with tenant_transaction(console.owner.tenant):
        assert Entry.objects.within(console.owner.tenant).filter(verb="limit.set").count() == 1


def test_a_key_is_named_in_place_of_what_each_has(console: Console) -> None:
    address = set_limit(console, amount="60", what="requests:minute", subject="key", key=str(console.key.id))
    assert "The key “Website” has 60 requests a minute, in place of what each key has." in words(console.owner.browser().get(address))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"amount": "", "what": "tokens:day", "subject": "tenant"}, "This field is required."),
        ({"amount": "0.5", "what": "tokens:day", "subject": "tenant"}, "whole number"),
        ({"amount": "-3", "what": "tokens:day", "subject": "tenant"}, "above 0"),
        ({"amount": "7", "what": "money:minute", "subject": "tenant"}, "not one of the available choices"),
        ({"amount": "7", "what": "tokens:day", "subject": "key", "key": "00000000-0000-0000-0000-000000000000"}, "Select a valid choice"),
    ],
)
def test_what_makes_no_sense_is_said_at_its_field_and_kept(console: Console, fields: dict[str, str], complaint: str) -> None:
    page = set_limit(console, **fields)
    assert complaint in page
    assert f'value="{fields["amount"]}"' in page or not fields["amount"]
    assert limits_of(console) == []


def test_a_second_one_of_the_kind_is_refused(console: Console) -> None:
    fields = {"amount": "60", "what": "requests:minute", "subject": "key"}
    assert set_limit(console, **fields).startswith("/t/")
    assert "There is such a limit already." in set_limit(console, **{**fields, "amount": "61"})


def test_the_list_shows_who_has_come_furthest(console: Console) -> None:
    set_limit(console, amount="10", what="money:day", subject="key")
    set_limit(console, amount="1000", what="tokens:day", subject="tenant")
    budget, _tokens = set_now(console)
    use(console, budget, subject=str(console.key.id), spent="8.123456789012345", percent=80)
    use(console, budget, subject="00000000-0000-0000-0000-000000000000", spent="1")
    browser = console.owner.browser()
    page = words(browser.get(console.at("limits/")))
    assert "most by Website" in page
    assert "$8.123456789012345 of $10.00" in page
    assert "81 %" in page
    assert "<strong>Website</strong> came to 80 % of $10.00 a day" in page
    assert page.index("$10.00 a day") < page.index("1,000 tokens a day")
    other = words(browser.get(console.at("limits/?sort=used")))
    assert other.index("1,000 tokens a day") < other.index("$10.00 a day")
    only = words(browser.get(console.at("limits/?subject=tenant"))).partition("Lately reached")[0]
    assert "1,000 tokens a day" in only
    assert "$10.00" not in only
    assert "8.123456789012345" in words(browser.get(console.at("limits/?format=csv")))
    shown = words(browser.get(console.at(f"limits/{budget.id}/")))
    assert "a key that is gone" in shown


def test_an_amount_is_changed_and_a_limit_deleted(console: Console) -> None:
    address = set_limit(console, amount="60", what="requests:minute", subject="key", key=str(console.key.id))
    set_limit(console, amount="5", what="requests:minute", subject="key")
    browser = console.owner.browser()
    refused = words(browser.post(address, {"amount": "60.5"}))
    assert "whole number" in refused
    assert 'value="60.5"' in refused
    assert browser.post(address, {"amount": "90"}).status_code == 302
    assert "90 requests a minute" in words(browser.get(address))
    assert "From then on this holds instead: Each API key has 5 requests a minute of its own." in words(browser.get(f"{address}remove"))
    assert browser.post(f"{address}remove").status_code == 302
    assert limits_of(console) == ["5 requests a minute for each key"]


def test_a_stranger_neither_sees_nor_touches_it(console: Console, bob: Person, mallory: Person) -> None:
    address = set_limit(console, amount="60", what="requests:minute", subject="key")
    own = address.replace(f"/t/{console.owner.tenant.slug}/", f"/t/{mallory.tenant.slug}/")
    for path in (own, f"{own}remove"):
        assert mallory.browser().get(path).status_code == 404
        assert mallory.browser().post(path, {"amount": "1"}).status_code == 404
    assert bob.browser().post(f"{address}remove").status_code == 403
    assert limits_of(console) == ["60 requests a minute for each key"]
