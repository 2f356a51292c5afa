"""Provider, Route, Target, Branch: who runs models for a tenant, and what his clients call them. Guardrail: what may be said there."""

from apps.gateway.capture.models import Capture, CapturePolicy
from apps.gateway.guardrails.models import Guardrail, GuardrailEvent
from apps.gateway.models.branch import Branch
from apps.gateway.models.provider import Provider
from apps.gateway.models.route import Route, Target

__all__ = ["Branch", "Capture", "CapturePolicy", "Guardrail", "GuardrailEvent", "Provider", "Route", "Target"]
