"""From a token that a tenant's identity provider signed to a Principal: one of his end users.

Which tenant a token is for is never left to chance. Two tenants may trust the same issuer, and each writes into his configuration whatever
he likes: so the tenant is named either by the token itself, whose audience is `menhir:<tenant>`, or by the request (`OpenAI-Organization:
<tenant>`); only that tenant's issuers are asked, and where both speak they must agree. Whoever configures another's issuer with a key or an
audience of his own opens his own door, and no other's. (docs/decisions)

The algorithm is the configuration's. A token once verified is remembered by its hash until it expires or an issuer changes.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import jwt

from menhir.errors import Unauthenticated
from menhir.postgres import pools, sql
from menhir.postgres.hot import HotCache
from menhir.tenancy import keysets, sealing
from menhir.tenancy.jwks import RemoteKeys
from menhir.tenancy.keysets import KeySet
from menhir.tenancy.models.issuer import AUDIENCE_PREFIX, MOST_ISSUER_CHARACTERS, PURPOSE, SHARED
from menhir.tenancy.models.tenant import MOST_SLUG_CHARACTERS, SLUG
from menhir.tenancy.principal import INFERENCE, Principal

FIND_ISSUERS = sql.load(__package__, "find_issuers")
PREFIX: Final = "ey"
"""How each token begins: its head is a JSON object in base64."""
MOST_CHARACTERS: Final = 8 * 1024
MOST_USER_CHARACTERS: Final = 256
MOST_MODELS: Final = 1000
REMOTES_KEPT: Final = 1000


class InvalidToken(Unauthenticated):
    """The token cannot be read: it is no signed JWT."""

    code = "invalid_token"


class ExpiredToken(InvalidToken):
    """The token has expired. Get a new one from where you sign in."""

    code = "expired_token"


class WrongAudience(InvalidToken):
    """The token was not made for here: its `aud` names no tenant that accepts it."""

    code = "wrong_audience"


class UnknownIssuer(InvalidToken):
    """The tenant that the token is for does not accept tokens of its issuer."""

    code = "unknown_issuer"


class UnknownTokenKey(InvalidToken):
    """The token is signed with a key that its issuer does not have."""

    code = "unknown_key"


class BadSignature(InvalidToken):
    """The signature of the token is not valid."""

    code = "bad_signature"


@dataclass(frozen=True, slots=True)
class Issuer:
    """A TokenIssuer as the cache keeps it: with its keys read and its secret in the clear."""

    tenant_id: UUID
    tenant_slug: str
    id: UUID
    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    keys: KeySet | RemoteKeys | str
    user_claim: str
    user_prefix: str
    scope_claim: str
    scope_value: str
    models_claim: str
    leeway_seconds: int
    longest_lifetime_seconds: int


class _Verified(NamedTuple):
    principal: Principal
    until: float


_issuers: HotCache[tuple[Issuer, ...]] = HotCache("issuer")
_verified: HotCache[_Verified] = HotCache("issuer")
_remotes: dict[tuple[UUID, str], RemoteKeys] = {}


async def principal_of_token(token: str, organization: bytes | None = None) -> Principal:
    """Whose token this is; `organization` is the tenant's short name as the request says it. Raises InvalidToken or one of its kinds."""
    if len(token) > MOST_CHARACTERS:
        raise InvalidToken(f"A token has at most {MOST_CHARACTERS} characters.")
    if organization is not None and len(organization) > MOST_SLUG_CHARACTERS:
        raise UnknownIssuer

    async def load() -> _Verified:
        return await _verify(token, organization.decode("latin-1") if organization else None)

    found = await _verified.get(None, (hashlib.sha256(token.encode()).digest(), organization), load)
    if found is None or found.until <= time.time():
        raise ExpiredToken
    return found.principal


async def _verify(token: str, organization: str | None) -> _Verified:
    head, claims = _read(token)
    audiences = _audiences(claims)
    tenant = _tenant_named(audiences, organization)
    issuer = await _issuer(tenant, claims.get("iss"), audiences)
    algorithm = head.get("alg")
    if algorithm not in issuer.algorithms:
        raise BadSignature("The token is signed with an algorithm that is not accepted of its issuer.")
    kid = head.get("kid")
    key = await _key(issuer, kid if isinstance(kid, str) else None, algorithm)
    if key is None:
        raise UnknownTokenKey
    return _judge(token, issuer, key)


def _read(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What it says of itself, which nobody has vouched for yet: good for looking up whom to ask, and for nothing else."""
    try:
        read = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as e:
        raise InvalidToken from e
    return read["header"], read["payload"]


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    given = claims.get("aud")
    listed = given if isinstance(given, list) else [given]
    return [one for one in listed if isinstance(one, str)]


def _tenant_named(audiences: list[str], organization: str | None) -> str:
    named = {one.removeprefix(AUDIENCE_PREFIX) for one in audiences if one.startswith(AUDIENCE_PREFIX)}
    if organization is not None:
        if named and organization not in named:
            raise WrongAudience("The token is for another tenant than the header `OpenAI-Organization` names.")
        return organization
    if len(named) == 1:
        return named.pop()
    if named:
        raise WrongAudience("The token is for several tenants: name one in the header `OpenAI-Organization`.")
    raise WrongAudience(
        "Nothing says which tenant the token is for: let its `aud` be `menhir:` and the tenant's short name, "
        "or give that in the header `OpenAI-Organization`."
    )


async def _issuer(tenant: str, issuer: object, audiences: list[str]) -> Issuer:
    # Nobody has vouched for either yet: what no row can hold is neither looked up nor remembered.
    if (
        not isinstance(issuer, str)
        or len(issuer) > MOST_ISSUER_CHARACTERS
        or not issuer.isprintable()
        or not re.fullmatch(SLUG.regex, tenant)
    ):
        raise UnknownIssuer

    async def load() -> tuple[Issuer, ...] | None:
        async with pools.gateway.connection() as connection:
            rows = await FIND_ISSUERS.all(connection, tenant=tenant, issuer=issuer)
        return tuple(_compiled(row) for row in rows) or None

    found = await _issuers.get(None, (tenant, issuer), load)
    if found is None:
        raise UnknownIssuer
    accepting = next((one for one in found if one.audience in audiences), None)
    if accepting is None:
        raise WrongAudience
    return accepting


def _compiled(row: Any) -> Issuer:
    keys: KeySet | RemoteKeys | str
    if row.sealed is not None:
        keys = sealing.unseal(bytes(row.sealed), purpose=PURPOSE, tenant_id=row.tenant_id, row_id=row.issuer_id)
    elif row.keys_url:
        keys = _remote(row.issuer_id, row.keys_url)
    else:
        keys = keysets.parse(row.keys)
    return Issuer(
        tenant_id=row.tenant_id,
        tenant_slug=row.tenant_slug,
        id=row.issuer_id,
        issuer=row.issuer,
        audience=row.audience,
        algorithms=tuple(row.algorithms),
        keys=keys,
        user_claim=row.user_claim,
        user_prefix=row.user_prefix,
        scope_claim=row.scope_claim,
        scope_value=row.scope_value,
        models_claim=row.models_claim,
        leeway_seconds=row.leeway_seconds,
        longest_lifetime_seconds=row.longest_lifetime_seconds,
    )


def _remote(issuer_id: UUID, url: str) -> RemoteKeys:
    """What is known of this URL, across changes of the row: each tenant's issuer asks for itself."""
    if (issuer_id, url) not in _remotes:
        while len(_remotes) >= REMOTES_KEPT:
            _remotes.pop(next(iter(_remotes)))
        _remotes[issuer_id, url] = RemoteKeys(url)
    return _remotes[issuer_id, url]


async def _key(issuer: Issuer, kid: str | None, algorithm: str) -> Any | None:
    keys = issuer.keys
    if isinstance(keys, RemoteKeys):
        return await keys.find(kid, algorithm)
    if isinstance(keys, KeySet):
        return keys.find(kid, algorithm)
    return keys if algorithm == SHARED else None


def _judge(token: str, issuer: Issuer, key: Any) -> _Verified:
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=list(issuer.algorithms),
            audience=issuer.audience,
            issuer=issuer.issuer,
            leeway=issuer.leeway_seconds,
            options={"require": ["exp", "iss", "aud"], "verify_sub": False, "verify_jti": False},
        )
    except jwt.ExpiredSignatureError as e:
        raise ExpiredToken from e
    except (jwt.InvalidSignatureError, jwt.InvalidKeyError, jwt.InvalidAlgorithmError) as e:
        raise BadSignature from e
    except jwt.MissingRequiredClaimError as e:
        raise InvalidToken(f"The token lacks the claim `{e.claim}`.") from e
    except jwt.ImmatureSignatureError as e:
        raise InvalidToken("The token is not valid yet.") from e
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as e:
        raise InvalidToken("A claim of the token has no value that makes sense.") from e
    expires, now = float(claims["exp"]), time.time()
    if expires - float(claims.get("iat", now)) > issuer.longest_lifetime_seconds + issuer.leeway_seconds:
        raise InvalidToken("The token lives longer than is accepted of its issuer.")
    return _Verified(_principal(issuer, claims), expires + issuer.leeway_seconds)


def _principal(issuer: Issuer, claims: Mapping[str, Any]) -> Principal:
    user = claims.get(issuer.user_claim)
    name = str(user) if isinstance(user, str | int) and not isinstance(user, bool) else ""
    unit = issuer.user_prefix + name
    if not name or len(unit) > MOST_USER_CHARACTERS or not name.isprintable():
        raise InvalidToken(f"The token names no user in its claim `{issuer.user_claim}`.")
    scopes = frozenset({INFERENCE})
    if issuer.scope_claim and issuer.scope_value not in _words(claims.get(issuer.scope_claim)):
        scopes = frozenset()
    models = frozenset(_words(claims.get(issuer.models_claim))[:MOST_MODELS]) if issuer.models_claim else None
    return Principal(issuer.tenant_id, issuer.tenant_slug, "end_user", issuer.id, name, None, scopes, unit, models)


def _words(claim: object) -> list[str]:
    """The words of a claim: a list, or a text with blanks between them (RFC 8693)."""
    if isinstance(claim, str):
        return claim.split()
    return [one for one in claim if isinstance(one, str)] if isinstance(claim, list) else []
