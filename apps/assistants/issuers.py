"""`/api/v1/token-issuers`: whose tokens admit a tenant's end users to `/v1`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Self
from uuid import UUID

from django.http import HttpResponse
from ninja import Field, Router, Schema, Status
from pydantic import AfterValidator

from apps.assistants.admitting import delete_issuer, put_issuer
from menhir.errors import NotFound
from menhir.tenancy.fields import Strict, storable
from menhir.tenancy.http import TenantRequest, in_tenant, needs
from menhir.tenancy.models import TokenIssuer
from menhir.tenancy.models.issuer import (
    LONGEST_LEEWAY_SECONDS,
    MOST_KEY_CHARACTERS,
    MOST_PREFIX_CHARACTERS,
    MOST_SECRET_CHARACTERS,
    YEAR_SECONDS,
)

KEYS: Final = needs("keys:write")

router = Router(tags=["token issuers"])
router.add_decorator(in_tenant, mode="operation")

Claim = Annotated[str, Field(max_length=80), AfterValidator(storable)]


class UnknownTokenIssuer(NotFound):
    """There is no such token issuer."""

    code = "token_issuer_not_found"


class TokenIssuerIn(Strict):
    """An issuer, and one of `keys` (PEM or JWKS), `keys_url` (of a JWKS document) or `secret` (for HS256)."""

    name: Claim
    issuer: Annotated[str, Field(max_length=500), AfterValidator(storable)]
    audience: Annotated[str, Field(max_length=200), AfterValidator(storable)] = ""
    algorithms: Annotated[list[Annotated[str, Field(max_length=10)]], Field(max_length=12)]
    keys: Annotated[str, Field(max_length=MOST_KEY_CHARACTERS), AfterValidator(storable)] = ""
    keys_url: Annotated[str, Field(max_length=500), AfterValidator(storable)] = ""
    secret: Annotated[str, Field(max_length=MOST_SECRET_CHARACTERS), AfterValidator(storable)] = ""
    user_claim: Claim = "sub"
    user_prefix: Annotated[str, Field(max_length=MOST_PREFIX_CHARACTERS), AfterValidator(storable)] | None = None
    """When left out, what keeps a new issuer's users apart from those of others; it stays for one that is there."""
    scope_claim: Claim = ""
    scope_value: Claim = "inference"
    models_claim: Claim = ""
    leeway_seconds: Annotated[int, Field(ge=0, le=LONGEST_LEEWAY_SECONDS)] = 30
    longest_lifetime_seconds: Annotated[int, Field(ge=60, le=YEAR_SECONDS)] = 24 * 3600


class TokenIssuerOut(Schema):
    """An issuer; its shared secret is never shown."""

    id: UUID
    name: str
    issuer: str
    audience: str
    algorithms: list[str]
    keys: str
    keys_url: str
    has_secret: bool
    user_claim: str
    user_prefix: str
    scope_claim: str
    scope_value: str
    models_claim: str
    leeway_seconds: int
    longest_lifetime_seconds: int
    created_at: datetime

    @classmethod
    def of(cls, issuer: TokenIssuer) -> Self:
        return cls(**{name: getattr(issuer, name) for name in cls.model_fields})


class TokenIssuerList(Schema):
    """Every issuer of the tenant, by name."""

    token_issuers: list[TokenIssuerOut]


@router.get("/token-issuers", response=TokenIssuerList, auth=KEYS)
def list_token_issuers(request: TenantRequest) -> TokenIssuerList:
    """List the issuers whose tokens admit end users."""
    return TokenIssuerList(token_issuers=[TokenIssuerOut.of(issuer) for issuer in TokenIssuer.objects.within(request.tenant)])


@router.post("/token-issuers", response={201: TokenIssuerOut}, auth=KEYS)
def create_token_issuer(request: TenantRequest, body: TokenIssuerIn) -> Status[TokenIssuerOut]:
    """Accept the tokens of an issuer. `audience` is `menhir:<tenant>` when it is left out."""
    issuer = TokenIssuer(tenant=request.tenant, created_by_id=request.principal.user_id)
    put_issuer(issuer, body.model_dump(exclude={"secret"}), secret=body.secret, by=request.principal)
    return Status(201, TokenIssuerOut.of(issuer))


@router.get("/token-issuers/{issuer_id}", response=TokenIssuerOut, auth=KEYS)
def get_token_issuer(request: TenantRequest, issuer_id: UUID) -> TokenIssuerOut:
    """Show one issuer."""
    return TokenIssuerOut.of(_issuer(request, issuer_id))


@router.put("/token-issuers/{issuer_id}", response=TokenIssuerOut, auth=KEYS)
def change_token_issuer(request: TenantRequest, issuer_id: UUID, body: TokenIssuerIn) -> TokenIssuerOut:
    """Replace what is said of an issuer; a shared secret that is left out stays as it is while no other key is given."""
    issuer = _issuer(request, issuer_id)
    put_issuer(issuer, body.model_dump(exclude={"secret"}), secret=body.secret, by=request.principal)
    return TokenIssuerOut.of(issuer)


@router.delete("/token-issuers/{issuer_id}", response={204: None}, auth=KEYS)
def delete_token_issuer(request: TenantRequest, issuer_id: UUID) -> HttpResponse:
    """Accept its tokens no more, anywhere, within a second."""
    delete_issuer(_issuer(request, issuer_id), by=request.principal)
    return HttpResponse(status=204)


def _issuer(request: TenantRequest, issuer_id: UUID) -> TokenIssuer:
    issuer: TokenIssuer | None = TokenIssuer.objects.within(request.tenant).filter(id=issuer_id).first()
    if issuer is None:
        raise UnknownTokenIssuer
    return issuer
