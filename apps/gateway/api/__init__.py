"""The gateway under `/api/v1`: providers, routes, the limits of those who call them, and what they may say."""

from __future__ import annotations

from ninja import Router

from apps.gateway.api import limits, routes
from apps.gateway.capture import api as calls
from apps.gateway.guardrails import api as guardrails

router = Router()
router.add_router("", routes.router)
router.add_router("", limits.router)
router.add_router("", guardrails.router)
router.add_router("", calls.router)
