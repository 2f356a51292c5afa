"""A new master key, and every sealed secret sealed again with it: while everything runs, and however often it is interrupted.

The new key is put in front of the file first. From then on whoever seals uses it, and whoever meets a blob of a key that he does not
know reads the file again; the older keys stay behind it and open what they sealed. Then row after row is sealed again, tenant by tenant,
in short transactions. As long as an older key stands in the file, no newer one is made: a run that was killed is taken up by the next,
and one that was through is repeated in vain. One rotation runs at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.apps import apps
from django.conf import settings
from django.db.models import BinaryField, F, Func, Value

from menhir.postgres import roles
from menhir.tenancy import masterkeys
from menhir.tenancy.models import Tenant, TenantModel
from menhir.tenancy.sealing import KEY_ID_BYTES, VERSION, SealedField, Unsealable, id_of, key_id_of, seal, unseal
from menhir.tenancy.transaction import tenant_transaction
from menhir.wiring.operators import operating

BATCH_ROWS = 100
MOST_ROUNDS = 10
LOCK = "SELECT pg_try_advisory_lock(hashtext('menhir:rotate'))"


class CannotRotate(Exception):
    """A rotation cannot begin, and nothing was changed; the message says what stands in its way."""


class Unreadable(NamedTuple):
    """A secret that none of our keys opens."""

    tenant_id: UUID
    noun: str
    row_id: UUID
    key_id: str
    """Of the key that sealed it, in hexadecimal; empty when the key is there and what it sealed is damaged, or another row's."""

    def __str__(self) -> str:
        why = f"sealed with the key {self.key_id}, which is not here" if self.key_id else "damaged"
        return f"{self.noun} {self.row_id} of tenant {self.tenant_id}: {why}"


@dataclass(slots=True)
class Rows:
    """Where things stand."""

    left: int = 0
    """Sealed with an older key."""
    unreadable: list[Unreadable] = field(default_factory=list)


@contextmanager
def alone() -> Iterator[None]:
    """Run a block while no other process rotates; raises CannotRotate when one does."""
    with psycopg.connect(roles.conninfo("app"), autocommit=True) as connection:
        if connection.execute(LOCK).fetchone() != (True,):
            raise CannotRotate("Another process is rotating the master key: let it end.")
        yield


def columns() -> list[tuple[type[TenantModel], SealedField]]:
    """Every place where a secret is sealed."""
    return [
        (model, column)
        for model in apps.get_models()
        if issubclass(model, TenantModel)
        for column in model._meta.local_fields  # noqa: SLF001 - Django's documented door to a model's fields
        if isinstance(column, SealedField)
    ]


def begin() -> bool:
    """Put a new key in front of the file; False where an earlier rotation did and forgot none, or the environment gives the keys."""
    if settings.MENHIR_MASTER_KEYS_FILE is None or len(masterkeys.present()) > 1:
        return False
    try:
        masterkeys.replace(lambda keys: (secrets.token_bytes(masterkeys.KEY_BYTES), *keys))
    except (OSError, ValueError) as e:
        raise CannotRotate(f"{settings.MENHIR_MASTER_KEYS_FILE} cannot be changed: {e}.") from e
    return True


def proceed() -> Iterator[int]:
    """Seal everything again with the first key; gives how many rows with each batch.

    Round after round: a process may have sealed something with the older key at the very moment when the new one came.
    """
    for _round in range(MOST_ROUNDS):
        resealed = 0
        for tenant_id in _tenants():
            for model, column in columns():
                for batch in _reseal(tenant_id, model, column):
                    resealed += batch
                    yield batch
        if not resealed:
            return


def survey() -> Rows:
    """Look at what is not sealed with the first key."""
    found = Rows()
    known = {id_of(key) for key in masterkeys.present()}
    for tenant_id in _tenants():
        with tenant_transaction(tenant_id):
            for model, column in columns():
                for row in _older(tenant_id, model, column).iterator(BATCH_ROWS):
                    if _opened(row, column) is not None:
                        found.left += 1
                        continue
                    key_id = key_id_of(bytes(getattr(row, column.attname)))
                    missing = "" if key_id in known else key_id.hex()
                    found.unreadable.append(Unreadable(tenant_id, str(model._meta.model_name), row.id, missing))  # noqa: SLF001 - documented
    return found


def forget() -> bool:
    """Take every key but the first out of the file; False, and nothing done, while a row still needs one of them."""
    if survey().left:
        return False
    masterkeys.replace(lambda keys: keys[:1])
    return True


def _tenants() -> list[UUID]:
    with operating(None):
        return list(Tenant.objects.order_by("id").values_list("id", flat=True))


def _reseal(tenant_id: UUID, model: type[TenantModel], column: SealedField) -> Iterator[int]:
    last: UUID | None = None
    while True:
        with tenant_transaction(tenant_id):
            rows = _older(tenant_id, model, column)
            if last is not None:
                rows = rows.filter(id__gt=last)
            batch = list(rows.select_for_update()[:BATCH_ROWS])
            resealed = sum(_reseal_one(row, column) for row in batch)
        if resealed:
            yield resealed
        if len(batch) < BATCH_ROWS:
            return
        last = batch[-1].id


def _reseal_one(row: TenantModel, column: SealedField) -> bool:
    secret = _opened(row, column)
    if secret is None:
        return False
    sealed = seal(secret, purpose=column.purpose, tenant_id=row.tenant_id, row_id=row.id)
    # No bell: it is the same secret, and whoever has opened it keeps it.
    type(row).objects.within(row.tenant_id).filter(id=row.id).update(**{column.attname: sealed})
    return True


def _opened(row: TenantModel, column: SealedField) -> str | None:
    try:
        return unseal(bytes(getattr(row, column.attname)), purpose=column.purpose, tenant_id=row.tenant_id, row_id=row.id)
    except Unsealable:
        return None


def _older(tenant_id: UUID, model: type[TenantModel], column: SealedField) -> Any:
    """The rows that are not sealed with the first key."""
    key_id = Func(F(column.attname), Value(len(VERSION) + 1), Value(KEY_ID_BYTES), function="substr", output_field=BinaryField())
    rows = model.objects.within(tenant_id).filter(**{f"{column.attname}__isnull": False}).order_by("id")
    return rows.alias(key_id=key_id).exclude(key_id=id_of(masterkeys.present()[0]))
