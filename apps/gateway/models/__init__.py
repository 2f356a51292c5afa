"""Provider, Route, Target, Branch: who runs models for a tenant, and what his clients call them."""

from apps.gateway.models.branch import Branch
from apps.gateway.models.provider import Provider
from apps.gateway.models.route import Route, Target

__all__ = ["Branch", "Provider", "Route", "Target"]
