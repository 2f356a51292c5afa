"""Provider, Route, Target: who runs models for a tenant, and what his clients call them."""

from apps.gateway.models.provider import Provider
from apps.gateway.models.route import Route, Target

__all__ = ["Provider", "Route", "Target"]
