"""Rules that live elsewhere: what they are asked, and what they may say."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from apps.gateway.guardrails import kinds

if TYPE_CHECKING:
    from apps.gateway.call import Call
    from apps.gateway.guardrails.guard import Guard

log = structlog.get_logger(__name__)
JUDGE = "guardrail"
"""Under this name the platform asks a tenant's own models."""


class JudgeFailed(Exception):
    """Whoever was asked did not answer, or not what was asked. Says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be judged."""

    call: Call
    guardrail: str
    stage: str
    texts: list[str]
    context: str = ""
    """What has been let through of the same text before."""
    partial: bool = False
    """Whether it is a piece of an answer that is still being written."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came back: what was found (nothing: it may pass), what is to be sent instead, or why there is no verdict."""

    kinds: tuple[str, ...] = ()
    texts: list[str] | None = None
    failure: str | None = None


async def judge(guard: Guard, question: Question) -> Verdict:
    """Ask, for as long as the rule allows. Never raises: whatever goes wrong is the rule's failure."""
    from apps.gateway.guardrails import moderation, webhook  # the openai SDK and TLS: only where there is somebody to ask

    ask: Any = webhook.ask if isinstance(guard.settings, kinds.Webhook) else moderation.ask
    try:
        async with asyncio.timeout(guard.settings.timeout_seconds):  # type: ignore[union-attr]
            verdict: Verdict = await ask(guard, question)
    except TimeoutError:
        return Verdict(failure="too slow")
    except JudgeFailed as e:
        return Verdict(failure=str(e))
    except Exception:
        log.exception("guardrail.judge_failed", guardrail=guard.name, kind=guard.kind)
        return Verdict(failure="could not be asked")
    return verdict
