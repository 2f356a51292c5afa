"""Token issuers as a tenant keeps them: checked as a whole and in the audit. Runs inside the tenant's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from menhir import audit
from menhir.errors import Conflict
from menhir.tenancy.models import TokenIssuer
from menhir.tenancy.principal import Principal

MOST_ISSUERS = 50


def put_issuer(issuer: TokenIssuer, given: Mapping[str, Any], *, secret: str, by: Principal) -> None:
    """Write what is said of an issuer; a shared secret that is left out stays as it is while no other key is given.

    A new one of whom nothing is said about `user_prefix` gets one that keeps its users apart.
    Raises Invalid, naming the field, or Conflict.
    """
    made = issuer._state.adding  # noqa: SLF001 - Django's documented door to whether a row is there already
    if made and TokenIssuer.objects.within(issuer.tenant_id).count() >= MOST_ISSUERS:
        raise Conflict(f"A tenant has at most {MOST_ISSUERS} token issuers.")
    for name, value in given.items():
        if name != "user_prefix" or value is not None:
            setattr(issuer, name, value)
    if made and given.get("user_prefix") is None:
        issuer.user_prefix = issuer.prefix_apart()
    if secret or issuer.keys or issuer.keys_url:
        issuer.set_secret(secret)
    issuer.keep()
    _record(issuer, "created" if made else "changed", by)


def delete_issuer(issuer: TokenIssuer, *, by: Principal) -> None:
    """Accept its tokens no more, anywhere, within a second."""
    _record(issuer, "deleted", by)
    issuer.delete()


def _record(issuer: TokenIssuer, verb: str, by: Principal) -> None:
    detail = {"name": issuer.name, "issuer": issuer.issuer, "audience": issuer.audience}
    audit.record(by, verb=f"tokenissuer.{verb}", noun="tokenissuer", noun_id=issuer.id, detail=detail)
