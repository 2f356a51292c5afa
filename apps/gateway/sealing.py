"""Credentials at rest: AES-256-GCM, bound to the tenant and the row they belong to.

    version (1 byte) | key id (4) | nonce (12) | ciphertext and tag

The tenant's and the row's ids are associated data: a blob copied into another tenant's row, or into another row of the
same tenant, does not open. `MENHIR_MASTER_KEYS` holds several keys: the first seals, each of them opens what it sealed,
so that a key is changed by putting a new one in front and sealing again.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from apps.gateway.errors import Unsealable

if TYPE_CHECKING:
    from uuid import UUID

VERSION = b"\x01"
PURPOSE = b"menhir.gateway.credential"
KEY_ID_BYTES = 4
NONCE_BYTES = 12
HEAD_BYTES = len(VERSION) + KEY_ID_BYTES + NONCE_BYTES


def seal(secret: str, *, tenant_id: UUID, row_id: UUID) -> bytes:
    """Encrypt a credential for one row of one tenant, with the first master key."""
    key_id, key = next(iter(_keyring(settings.MENHIR_MASTER_KEYS).items()))
    nonce = os.urandom(NONCE_BYTES)
    return VERSION + key_id + nonce + key.encrypt(nonce, secret.encode(), _binding(tenant_id, row_id))


def unseal(blob: bytes, *, tenant_id: UUID, row_id: UUID) -> str:
    """Decrypt it; raises Unsealable when its master key is gone, or when it is not this row's."""
    if len(blob) <= HEAD_BYTES or blob[:1] != VERSION:
        raise Unsealable
    key = _keyring(settings.MENHIR_MASTER_KEYS).get(key_id_of(blob))
    if key is None:
        raise Unsealable("A stored credential was sealed with a master key that is no longer configured.")
    try:
        return key.decrypt(blob[HEAD_BYTES - NONCE_BYTES : HEAD_BYTES], blob[HEAD_BYTES:], _binding(tenant_id, row_id)).decode()
    except InvalidTag as e:
        raise Unsealable from e


def key_id_of(blob: bytes) -> bytes:
    """Say which master key sealed it, so that a rotation finds what is left to do."""
    return blob[len(VERSION) : len(VERSION) + KEY_ID_BYTES]


@lru_cache(maxsize=8)
def _keyring(keys: tuple[bytes, ...]) -> dict[bytes, AESGCM]:
    return {hashlib.sha256(PURPOSE + key).digest()[:KEY_ID_BYTES]: AESGCM(key) for key in keys}


def _binding(tenant_id: UUID, row_id: UUID) -> bytes:
    return PURPOSE + tenant_id.bytes + row_id.bytes
