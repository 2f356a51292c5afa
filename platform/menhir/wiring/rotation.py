"""A new master key, and every sealed secret sealed again with it: while everything runs, and however often it is interrupted.

The new key is put in front of the file first. From then on whoever seals uses it, and whoever meets a blob of a key that he does not
know reads the file again; the older keys stay behind it and open what they sealed. Then row after row is sealed again, tenant by tenant,
in short transactions. A run that was killed is taken up by the next: as long as anything is sealed with an older key, no newer one is
made.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db.models import BinaryField, F, Func, Value

from menhir.tenancy import masterkeys
from menhir.tenancy.models import Tenant, TenantModel
from menhir.tenancy.sealing import SealedField, Unsealable, id_of, key_id_of, seal, unseal
from menhir.tenancy.transaction import tenant_transaction
from menhir.wiring.operators import operating

BATCH_ROWS = 100
MOST_ROUNDS = 10


@dataclass(slots=True)
class Rows:
    """Where things stand."""

    left: int = 0
    """Sealed with an older key."""
    lost: int = 0
    """Sealed with a key that is no longer there, or for another row: nobody can open them."""


def columns() -> list[tuple[type[TenantModel], SealedField]]:
    """Every place where a secret is sealed."""
    return [
        (model, field)
        for model in apps.get_models()
        if issubclass(model, TenantModel)
        for field in model._meta.local_fields  # noqa: SLF001 - Django's documented door to a model's fields
        if isinstance(field, SealedField)
    ]


def begin() -> bool:
    """Put a new key in front of the file, unless an earlier rotation is not through or the environment gives the keys; whether it did."""
    masterkeys.present()
    if settings.MENHIR_MASTER_KEYS_FILE is None or survey().left:
        return False
    masterkeys.replace(lambda keys: (secrets.token_bytes(masterkeys.KEY_BYTES), *keys))
    return True


def proceed() -> Iterator[int]:
    """Seal everything again with the first key; gives how many rows with each batch.

    Round after round: a process may have sealed something with the older key at the very moment when the new one came.
    """
    for _round in range(MOST_ROUNDS):
        resealed = 0
        for tenant_id in _tenants():
            for model, field in columns():
                for batch in _reseal(tenant_id, model, field):
                    resealed += batch
                    yield batch
        if not resealed:
            return


def survey() -> Rows:
    """Count what is not sealed with the first key."""
    found = Rows()
    known = {id_of(key) for key in masterkeys.present()}
    for tenant_id in _tenants():
        with tenant_transaction(tenant_id):
            for model, field in columns():
                for row in _older(tenant_id, model, field):
                    if key_id_of(bytes(getattr(row, field.attname))) in known and _opened(row, field) is not None:
                        found.left += 1
                    else:
                        found.lost += 1
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


def _reseal(tenant_id: UUID, model: type[TenantModel], field: SealedField) -> Iterator[int]:
    last: UUID | None = None
    while True:
        with tenant_transaction(tenant_id):
            rows = _older(tenant_id, model, field)
            if last is not None:
                rows = rows.filter(id__gt=last)
            batch = list(rows.select_for_update()[:BATCH_ROWS])
            resealed = sum(_reseal_one(row, field) for row in batch)
        if resealed:
            yield resealed
        if len(batch) < BATCH_ROWS:
            return
        last = batch[-1].id


def _reseal_one(row: TenantModel, field: SealedField) -> bool:
    secret = _opened(row, field)
    if secret is None:
        return False
    sealed = seal(secret, purpose=field.purpose, tenant_id=row.tenant_id, row_id=row.id)
    # No bell: it is the same secret, and whoever has opened it keeps it.
    type(row).objects.within(row.tenant_id).filter(id=row.id).update(**{field.attname: sealed})
    return True


def _opened(row: TenantModel, field: SealedField) -> str | None:
    try:
        return unseal(bytes(getattr(row, field.attname)), purpose=field.purpose, tenant_id=row.tenant_id, row_id=row.id)
    except Unsealable:
        return None


def _older(tenant_id: UUID, model: type[TenantModel], field: SealedField) -> Any:
    """The rows that are not sealed with the first key."""
    key_id = Func(F(field.attname), Value(2), Value(4), function="substr", output_field=BinaryField())
    rows = model.objects.within(tenant_id).filter(**{f"{field.attname}__isnull": False}).order_by("id")
    return rows.alias(key_id=key_id).exclude(key_id=id_of(masterkeys.present()[0]))
