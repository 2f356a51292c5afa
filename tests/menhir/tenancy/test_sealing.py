"""Credentials at rest."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from menhir.tenancy import sealing
from menhir.tenancy.sealing import Unsealable, key_id_of

OLD, NEW = b"o" * 32, b"n" * 32
TENANT, ROW = uuid4(), uuid4()
PURPOSE = "menhir.test"


def seal(secret: str, *, tenant_id=TENANT, row_id=ROW, purpose: str = PURPOSE) -> bytes:
    return sealing.seal(secret, purpose=purpose, tenant_id=tenant_id, row_id=row_id)


def unseal(blob: bytes, *, tenant_id=TENANT, row_id=ROW, purpose: str = PURPOSE) -> str:
    return sealing.unseal(blob, purpose=purpose, tenant_id=tenant_id, row_id=row_id)


@given(st.text())
def test_what_is_sealed_opens_again(secret: str):
    assert unseal(seal(secret, tenant_id=TENANT, row_id=ROW), tenant_id=TENANT, row_id=ROW) == secret


def test_the_same_secret_never_looks_the_same():
    assert seal("sk-1", tenant_id=TENANT, row_id=ROW) != seal("sk-1", tenant_id=TENANT, row_id=ROW)


@pytest.mark.parametrize(("tenant", "row"), [(uuid4(), ROW), (TENANT, uuid4()), (ROW, TENANT)])
def test_a_blob_opens_in_its_own_row_only(tenant, row):
    blob = seal("sk-1", tenant_id=TENANT, row_id=ROW)
    with pytest.raises(Unsealable):
        unseal(blob, tenant_id=tenant, row_id=row)


def test_a_blob_opens_for_its_own_purpose_only():
    assert unseal(seal("sk-1", purpose="menhir.tenancy.issuer"), purpose="menhir.tenancy.issuer") == "sk-1"
    with pytest.raises(Unsealable):
        unseal(seal("sk-1", purpose="menhir.tenancy.issuer"), purpose="menhir.gateway.credential")


@given(st.integers(0, 40), st.integers(1, 255))
def test_a_changed_byte_is_noticed(position: int, flip: int):
    blob = bytearray(seal("sk-12345678", tenant_id=TENANT, row_id=ROW))
    blob[position % len(blob)] ^= flip
    with pytest.raises(Unsealable):
        unseal(bytes(blob), tenant_id=TENANT, row_id=ROW)


def test_the_first_key_seals_and_every_key_opens():
    with override_settings(MENHIR_MASTER_KEYS_FILE=None, MENHIR_MASTER_KEYS=(OLD,)):
        before = seal("sk-1", tenant_id=TENANT, row_id=ROW)
    with override_settings(MENHIR_MASTER_KEYS_FILE=None, MENHIR_MASTER_KEYS=(NEW, OLD)):
        after = seal("sk-1", tenant_id=TENANT, row_id=ROW)
        assert unseal(before, tenant_id=TENANT, row_id=ROW) == unseal(after, tenant_id=TENANT, row_id=ROW) == "sk-1"
    assert key_id_of(before) != key_id_of(after)
    with override_settings(MENHIR_MASTER_KEYS_FILE=None, MENHIR_MASTER_KEYS=(NEW,)):
        assert unseal(after, tenant_id=TENANT, row_id=ROW) == "sk-1"
        with pytest.raises(Unsealable, match="no longer configured"):
            unseal(before, tenant_id=TENANT, row_id=ROW)


@pytest.mark.parametrize("blob", [b"", b"\x01", b"\x02" + b"x" * 40, b"sk-in-the-clear-by-mistake"])
def test_what_was_never_sealed_does_not_open(blob: bytes):
    with pytest.raises(Unsealable):
        unseal(blob, tenant_id=TENANT, row_id=ROW)
