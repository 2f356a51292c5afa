"""The transaction in which one tenant's rows exist, and what it leaves behind: nothing."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from menhir.tenancy.models import Membership
from menhir.tenancy.transaction import tenant_transaction


def seen() -> int:
    return int(Membership.objects.count())


def test_it_shows_one_tenant_and_closes_behind_itself(acme, globex):
    with tenant_transaction(acme):
        assert seen() == 1
    assert seen() == 0
    with transaction.atomic():
        assert seen() == 0
        with tenant_transaction(acme):
            assert seen() == 1
        assert seen() == 0, "a wider transaction does not stay inside"
        with tenant_transaction(globex):
            assert [member.tenant_id for member in Membership.objects.all()] == [globex.id]
        assert seen() == 0


def test_it_closes_when_it_breaks_off(acme, globex):
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), tenant_transaction(acme):
            _ = 1 / 0
        assert seen() == 0
    with pytest.raises(ZeroDivisionError), tenant_transaction(acme):
        _ = 1 / 0
    assert seen() == 0
    with tenant_transaction(globex):
        assert seen() == 1


def test_another_tenant_inside_is_refused(acme, globex):
    with tenant_transaction(acme):
        with tenant_transaction(acme):
            assert seen() == 1
        assert seen() == 1
        with pytest.raises(RuntimeError), tenant_transaction(globex):
            pass
        assert seen() == 1


def test_a_tenant_that_is_set_outside_of_a_transaction_is_forgotten_at_once(acme):
    with connection.cursor() as cursor:
        cursor.execute("SELECT menhir.set_tenant(%s)", [acme.id])
    assert seen() == 0
