"""The gateway under `/api/v1`: providers, routes, and the limits of those who call them."""

from __future__ import annotations

from ninja import Router

from apps.gateway.api import limits, routes

router = Router()
router.add_router("", routes.router)
router.add_router("", limits.router)
