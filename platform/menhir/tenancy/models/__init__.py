"""Tenant, Membership, ApiKey, TokenIssuer, and what every tenant's noun is made of."""

from menhir.tenancy.models.fields import TenantForeignKey
from menhir.tenancy.models.foundation import HotModel, TenantManager, TenantModel, TenantQuerySet
from menhir.tenancy.models.issuer import TokenIssuer
from menhir.tenancy.models.key import ApiKey
from menhir.tenancy.models.membership import Membership
from menhir.tenancy.models.tenant import Tenant

__all__ = [
    "ApiKey",
    "HotModel",
    "Membership",
    "Tenant",
    "TenantForeignKey",
    "TenantManager",
    "TenantModel",
    "TenantQuerySet",
    "TokenIssuer",
]
