"""The one value that walks down the corridor, and what it is resolved to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from apps.gateway.health import Health

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from apps.gateway.cache.recording import Kept
    from apps.gateway.capture.recording import Policy
    from apps.gateway.guardrails.guarding import CallGuard, RouteGuards
    from menhir.metering.limits import Hold
    from menhir.metering.tariffs import Tariff
    from menhir.telemetry.tracing import Trace
    from menhir.tenancy.principal import Principal

Operation = Literal["chat", "completions", "embeddings", "moderations", "rerank"]

PATHS: Mapping[Operation, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "moderations": "/moderations",
    "rerank": "/rerank",
}


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """One place that can answer: a provider with its credential in the clear, and the model's name there."""

    kind: str
    """`openai`, `anthropic`, `embedder`, …: which adapter speaks to it."""
    provider: str
    """The provider's slug, as it goes into the ledger."""
    provider_id: UUID
    base_url: str
    """Without a trailing slash, up to and including `/v1`; empty for what is built in."""
    credential: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    upstream_model: str
    tariff: str = ""
    """Whose price list applies (`openai`, `groq`, …); empty for what costs nothing."""
    price: Tariff | None = None
    """What the tenant says that it costs, which goes before any list."""
    first_byte_timeout_seconds: float = 60.0
    """How long a stream may be silent before its first byte."""
    idle_timeout_seconds: float = 60.0
    """How long it may be silent between two."""
    answer_timeout_seconds: float = 600.0
    """How long a whole (not streamed) answer may take."""
    id: UUID | None = None
    position: int = 0
    weight: int = 1
    role: Literal["answer", "shadow"] = "answer"
    guarded: bool = False
    """Named by the tenant itself: see `addresses`."""
    health: Health = field(default_factory=Health, compare=False, repr=False)
    """How it has been doing, in this process."""

    @property
    def costs(self) -> bool:
        """Whether what it does is paid for, known though the price may not be."""
        return self.price is not None or bool(self.tariff)


@dataclass(frozen=True, slots=True)
class ResolvedBranch:
    """One of the routes that a classifier may choose, and what speaks for it."""

    label: str
    description: str
    route: str
    pattern: Pattern | None = None
    """Found in the question."""
    longer_than: int | None = None
    """The whole conversation has more characters."""
    has_tools: bool | None = None
    has_images: bool | None = None

    @property
    def has_rules(self) -> bool:
        """Whether rules alone decide for it; else it is for the model to choose."""
        return any(rule is not None for rule in (self.pattern, self.longer_than, self.has_tools, self.has_images))


@dataclass(frozen=True, slots=True)
class ResolvedRoute:
    """What a model name means for one tenant: the targets in the order in which they are tried."""

    name: str
    targets: tuple[ResolvedTarget, ...]
    """Those whose answer is read, by position."""
    id: UUID | None = None
    shadows: tuple[ResolvedTarget, ...] = ()
    branches: tuple[ResolvedBranch, ...] = ()
    """Of a classifier: where questions may go, the last one taking what no other takes. It has no targets itself."""
    chosen_by: tuple[str, ...] = ()
    """The classifiers that led here, by name."""
    classifier: str | None = None
    """The model that is asked which branch a question belongs to."""
    strategy: str = "priority"
    retries: int = 1
    """How often a busy target is asked again."""
    total_timeout_seconds: float | None = None
    hedge_seconds: float | None = None
    """Of a fan-out: how long a target has before the next one is asked beside it."""
    max_output_tokens: int | None = None
    """For a call that sets no limit."""
    cache_seconds: int = 0
    stale_seconds: int = 0
    semantic_threshold: float | None = None
    fingerprint: bytes = b""
    """Changes with everything that may change an answer: part of the key of whatever is kept for this route."""
    guards: RouteGuards | None = None
    """The tenant's guardrails that apply here; None when there are none."""
    capture: Policy | None = None
    """How the texts of its calls are kept; None when they are not."""


class Call(msgspec.Struct):
    """One request of one principal, from admission to settlement."""

    id: UUID
    request_id: str
    principal: Principal
    operation: Operation
    received: float
    """`time.perf_counter()` when the request entered the process."""
    opened_at: datetime
    model: str
    """As the client wrote it."""
    body: dict[str, Any]
    """The parsed request: what is sent upstream, with the model's name replaced for each target."""
    raw: bytes | None
    """The client's bytes, passed on untouched while nobody changed `body`; whoever changes `body` sets this to None."""
    stream: bool
    wants_usage: bool
    """The client itself asked for `stream_options.include_usage`."""
    unit: str | None = None
    """Whose call it is among the callers of one key: a signed-in person, or whom the client names."""
    idempotency_key: bytes | None = None
    cache_control: bytes | None = None
    hold: Hold | None = None
    """What it holds of the limits that apply to it."""
    headers: list[tuple[bytes, bytes]] | None = None
    """What its answer says besides: what is left of those limits."""
    wire: str = "chat"
    """What the client speaks: `chat` is OpenAI's own, others are translated at the front door."""
    trace: Trace | None = None
    """Where it stands in its caller's trace; None when nobody follows it."""
    parent_id: UUID | None = None
    """The call that this one is a leg or a shadow of: a row of its own in the ledger, and nobody's answer but its own."""
    client_retries: int = 0
    """How often the client itself has tried before: its retries and ours must not multiply."""
    route: ResolvedRoute | None = None
    assistant_id: UUID | None = None
    prompt_version_id: UUID | None = None
    prompt_version: str | None = None
    preface: dict[str, Any] | None = None
    """What the answer carries in its extra member `menhir`: in a stream the first chunk, else at top level."""
    completed: bool = False
    """It was answered to its end and without error: said before the client's last byte."""
    error_code: str | None = None
    """What went wrong, once it is settled."""
    kept: Kept | None = None
    """What it was answered with, when that was kept from an identical call."""
    characters: int | None = None
    """How much text it asks with, once somebody has counted."""
    guard: CallGuard | None = None
    """The guardrails that watch over this call; None when none does."""


class Pattern(Protocol):
    """A compiled regular expression."""

    def search(self, text: str) -> object | None:
        """Give a match, or None."""


class Respond(Protocol):
    """The way back to the client."""

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the status line; from here on errors can only be told inside the body."""

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Send a part of the body; the last one says `more=False`."""
