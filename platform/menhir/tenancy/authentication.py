"""From a credential to a Principal.

The async door is the data plane's: it asks a cache that a revocation evicts everywhere. Its sync twin asks the database each time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from menhir.errors import Unauthenticated
from menhir.postgres import pools, sql
from menhir.postgres.hot import HotCache
from menhir.tenancy.models.key import CHARACTERS, hash_of, is_well_formed
from menhir.tenancy.principal import Principal

KEYS_REMEMBERED = 4_096
FIND_KEY = sql.load(__package__, "find_key")


class InvalidKey(Unauthenticated):
    """The API key is not valid. Check that it was copied whole and has not been revoked."""

    code = "invalid_api_key"


class ExpiredKey(Unauthenticated):
    """The API key has expired. Create a new one in the console."""

    code = "expired_api_key"


class _Row(NamedTuple):
    """What `menhir.find_key` gives."""

    tenant_id: UUID
    tenant_slug: str
    key_id: UUID
    name: str
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None


class _Found(NamedTuple):
    """A key as the cache keeps it: what it is, and until when."""

    principal: Principal
    expires_at: datetime | None


_keys: HotCache[_Found] = HotCache("key")


async def principal_of_key(plaintext: str) -> Principal:
    """Who holds this key. Raises InvalidKey or ExpiredKey."""
    # What is no key by its length is not remembered: a stranger's thousand headers of 60 KB would be.
    digest = _digest_of(plaintext) if len(plaintext) == CHARACTERS else None
    if digest is None:
        raise InvalidKey
    if (known := _keys.known(None, digest)) is not None:
        return _admit(known[1])

    async def load() -> _Found | None:
        async with pools.gateway.connection() as conn:
            row = await FIND_KEY.one(conn, key_hash=digest)
        return None if row is None else _found(row)

    return _admit(await _keys.get(None, digest, load))


@lru_cache(maxsize=KEYS_REMEMBERED)
def _digest_of(plaintext: str) -> bytes | None:
    """What a key is kept as; None when it is none by its form. The same few keys come with every call, and this takes 4 microseconds."""
    return hash_of(plaintext) if is_well_formed(plaintext) else None


def principal_of_key_now(plaintext: str) -> Principal:
    """Who holds this key, by Django's connection. Raises InvalidKey or ExpiredKey."""
    if not is_well_formed(plaintext):
        raise InvalidKey
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM menhir.find_key(%s)", [hash_of(plaintext)])
        row = cursor.fetchone()
    return _admit(None if row is None else _found(_Row(*row)))


def _found(row: _Row) -> _Found | None:
    if row.revoked_at is not None:
        return None
    return _Found(Principal(row.tenant_id, row.tenant_slug, "key", row.key_id, row.name, None, frozenset(row.scopes)), row.expires_at)


def _admit(found: _Found | None) -> Principal:
    if found is None:
        raise InvalidKey
    if found.expires_at is not None and found.expires_at <= datetime.now(UTC):
        raise ExpiredKey
    return found.principal
