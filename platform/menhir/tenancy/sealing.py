"""Secrets at rest: AES-256-GCM, bound to their purpose, their tenant and their row.

    version (1 byte) | key id (4) | nonce (12) | ciphertext and tag

Purpose, tenant and row are associated data: a blob copied into another tenant's row, into another row of the same tenant, or into
another kind of secret, does not open. Of the master keys the first seals, each opens what it sealed: `manage.py rotate_master_key` puts a
new one in front and seals again whatever stands in a `SealedField`.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import models

from menhir.errors import Unavailable
from menhir.tenancy import masterkeys

if TYPE_CHECKING:
    from uuid import UUID

VERSION = b"\x01"
KEY_ID_SALT = b"menhir.gateway.credential"
KEY_ID_BYTES = 4
NONCE_BYTES = 12
HEAD_BYTES = len(VERSION) + KEY_ID_BYTES + NONCE_BYTES


class Unsealable(Unavailable):
    """A stored credential cannot be read."""

    code = "credential_unreadable"


class SealedField(models.BinaryField):  # type: ignore[type-arg]
    """Where a sealed secret is kept. What it is for stands here, so that a rotation finds it and can seal it again."""

    def __init__(self, *args: Any, purpose: str = "", **options: Any) -> None:
        self.purpose = purpose
        super().__init__(*args, **options)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        """As the database knows it: bytes."""
        name, _path, args, options = super().deconstruct()
        return name, "django.db.models.BinaryField", args, options


def seal(secret: str, *, purpose: str, tenant_id: UUID, row_id: UUID) -> bytes:
    """Encrypt a secret for one row of one tenant, with the first master key as it is now."""
    key_id, key = next(iter(_keyring(masterkeys.present()).items()))
    nonce = os.urandom(NONCE_BYTES)
    return VERSION + key_id + nonce + key.encrypt(nonce, secret.encode(), _binding(purpose, tenant_id, row_id))


def unseal(blob: bytes, *, purpose: str, tenant_id: UUID, row_id: UUID) -> str:
    """Decrypt it; raises Unsealable when its master key is gone, or when it is not this row's."""
    if len(blob) <= HEAD_BYTES or blob[:1] != VERSION:
        raise Unsealable
    # A key that was put in front after this process had begun: look again.
    key = _keyring(masterkeys.known()).get(key_id_of(blob)) or _keyring(masterkeys.present()).get(key_id_of(blob))
    if key is None:
        raise Unsealable("A stored credential was sealed with a master key that is no longer configured.")
    try:
        return key.decrypt(blob[HEAD_BYTES - NONCE_BYTES : HEAD_BYTES], blob[HEAD_BYTES:], _binding(purpose, tenant_id, row_id)).decode()
    except InvalidTag as e:
        raise Unsealable from e


def key_id_of(blob: bytes) -> bytes:
    """Say which master key sealed it, so that a rotation finds what is left to do."""
    return blob[len(VERSION) : len(VERSION) + KEY_ID_BYTES]


def id_of(key: bytes) -> bytes:
    """What stands in a blob for a master key."""
    return hashlib.sha256(KEY_ID_SALT + key).digest()[:KEY_ID_BYTES]


@lru_cache(maxsize=8)
def _keyring(keys: tuple[bytes, ...]) -> dict[bytes, AESGCM]:
    return {id_of(key): AESGCM(key) for key in keys}


def _binding(purpose: str, tenant_id: UUID, row_id: UUID) -> bytes:
    return purpose.encode() + tenant_id.bytes + row_id.bytes
