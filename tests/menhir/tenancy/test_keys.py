"""API keys: their form, their life, and who is admitted by them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from menhir.errors import Invalid
from menhir.tenancy.authentication import ExpiredKey, InvalidKey, principal_of_key_now
from menhir.tenancy.models import ApiKey
from menhir.tenancy.models.key import BASE62, generate, is_well_formed
from menhir.tenancy.transaction import tenant_transaction


def test_a_key_admits_its_tenant_and_no_other(alice, mallory):
    principal = principal_of_key_now(alice.key("inference"))
    assert principal.tenant_id == alice.tenant.id != mallory.tenant.id
    assert principal.scopes == {"inference"}
    assert principal.kind == "key"


def test_only_a_hash_and_the_last_four_are_kept(acme, alice):
    with tenant_transaction(acme):
        key, plaintext = ApiKey.issue(acme, name="ci", by=alice.user)
        row = ApiKey.objects.within(acme).values().get(id=key.id)
    assert plaintext.encode() not in b"".join(
        str(value).encode() + bytes(value if isinstance(value, bytes | memoryview) else b"") for value in row.values()
    )
    assert row["last_four"] == plaintext[-4:]


def test_a_revoked_key_is_refused(acme, alice):
    with tenant_transaction(acme):
        key, plaintext = ApiKey.issue(acme, name="ci", by=alice.user)
    principal_of_key_now(plaintext)
    with tenant_transaction(acme):
        key.revoke()
    with pytest.raises(InvalidKey):
        principal_of_key_now(plaintext)


def test_an_expired_key_is_refused_by_its_own_name(acme, alice):
    with tenant_transaction(acme):
        key, plaintext = ApiKey.issue(acme, name="ci", by=alice.user, expires_at=timezone.now() + timedelta(hours=1))
        key.expires_at = timezone.now() - timedelta(seconds=1)
        key.save()
    with pytest.raises(ExpiredKey):
        principal_of_key_now(plaintext)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"name": " "}, "name"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"expires_at": timezone.now() - timedelta(days=1)}, "expires_at"),
    ],
)
def test_nonsense_is_refused_and_makes_nothing(acme, alice, bad, field):
    with tenant_transaction(acme), pytest.raises(Invalid) as refused:
        ApiKey.issue(acme, by=alice.user, **{"name": "ci", **bad})
    assert refused.value.param == field
    with tenant_transaction(acme):
        assert not ApiKey.objects.within(acme).exists()


@given(st.integers(min_value=8, max_value=43), st.sampled_from(BASE62))
def test_a_changed_character_breaks_the_checksum(position, letter):
    key = generate()
    changed = key[:position] + letter + key[position + 1 :]
    assert is_well_formed(key)
    assert is_well_formed(changed) == (changed == key)
