"""What goes into `/api/v1/providers` and `/api/v1/routes`, and what comes out."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from ninja import Field, Schema
from pydantic import AfterValidator, PlainSerializer

from apps.gateway.models import Branch, Provider, Route, Target
from apps.gateway.models.route import MOST_RETRIES, PRICE_DIGITS, PRICE_PLACES
from menhir.tenancy.fields import Strict, Text

MOST_TARGETS = 50
MOST_HEADERS = 50
INT4 = 2**31 - 1
SMALL = 2**15 - 1


def base_url(text: str) -> str:
    """Take an address that a gateway can ask.

    >>> base_url("https://api.example.com/v1/")
    'https://api.example.com/v1'
    """
    parts = urlsplit(text)
    if text and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("is no URL of http or https")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("holds more than scheme, host, port and path")
    return text.rstrip("/")


def header_lines(headers: dict[str, str]) -> dict[str, str]:
    """Refuse what would break out of its line."""
    for name, value in headers.items():
        if not name or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum() or not value.isprintable():
            raise ValueError(f"{name!r} is no header")
    return headers


Word = Annotated[Text, Field(max_length=60)]
Slug = Annotated[Word, Field(pattern=r"^[A-Za-z0-9_-]+$")]
ModelName = Annotated[Text, Field(min_length=1, max_length=200)]
Url = Annotated[Text, Field(max_length=500), AfterValidator(base_url)]
Headers = Annotated[dict[Text, Text], Field(max_length=MOST_HEADERS), AfterValidator(header_lines)]
Usd = Annotated[
    Decimal,
    Field(ge=0, max_digits=PRICE_DIGITS, decimal_places=PRICE_PLACES),
    PlainSerializer(lambda amount: format(amount.normalize(), "f"), return_type=str, when_used="unless-none"),
]
"""As a decimal string: a JSON number would be read as a float."""
Patience = Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]
Kind = Literal["openai", "anthropic", "gemini", "embedder", "extract"]
Strategy = Literal["priority", "weighted", "least_latency", "least_cost", "fan_out", "classifier"]


class ProviderIn(Strict):
    """A provider. Its credential is sealed and can never be read again."""

    slug: Slug
    kind: Kind
    base_url: Url = ""
    credential: Annotated[Text, Field(max_length=4_000)] = ""
    headers: Headers = {}
    tariff: Word = ""
    first_byte_timeout_seconds: Patience = 60.0
    answer_timeout_seconds: Patience = 600.0


class ProviderChange(Strict):
    """What shall be different; what is left out stays. An empty credential takes the present one away."""

    kind: Kind | None = None
    base_url: Url | None = None
    credential: Annotated[Text, Field(max_length=4_000)] | None = None
    headers: Headers | None = None
    tariff: Word | None = None
    first_byte_timeout_seconds: Patience | None = None
    answer_timeout_seconds: Patience | None = None


class ProviderOut(Schema):
    """A provider; of its headers the names alone, for a value may be a secret."""

    slug: str
    kind: str
    base_url: str
    has_credential: bool
    header_names: list[str]
    tariff: str
    first_byte_timeout_seconds: float
    answer_timeout_seconds: float
    created_at: datetime

    @classmethod
    def of(cls, provider: Provider) -> Self:
        """Show a provider."""
        plain = {name: getattr(provider, name) for name in cls.model_fields if name != "header_names"}
        return cls(header_names=sorted(provider.headers), **plain)


class ProviderList(Schema):
    """Every provider of the tenant, by slug."""

    providers: list[ProviderOut]


class Price(Strict):
    """What a target costs, in USD for a million tokens, instead of what a price list says."""

    input: Usd
    output: Usd
    cached_input: Usd | None = None
    """As all input, when left out."""

    @classmethod
    def of(cls, target: Target) -> Self | None:
        """Show what the tenant said; None when he left it to the price list."""
        if target.input_price is None or target.output_price is None:
            return None
        return cls(input=target.input_price, output=target.output_price, cached_input=target.cached_input_price)

    def fields(self) -> dict[str, Decimal | None]:
        """Give it as a target keeps it."""
        return {"input_price": self.input, "output_price": self.output, "cached_input_price": self.cached_input}


class TargetIn(Strict):
    """Who answers for a route. Without a position, as they stand in the list."""

    provider: Word
    model: ModelName
    position: Annotated[int, Field(ge=0, le=SMALL, strict=True)] | None = None
    weight: Annotated[int, Field(ge=0, le=SMALL, strict=True)] = 1
    role: Literal["answer", "shadow"] = "answer"
    price: Price | None = None


class TargetOut(Schema):
    """Who answers for a route."""

    provider: str
    model: str
    position: int
    weight: int
    role: str
    price: Price | None

    @classmethod
    def of(cls, target: Target) -> Self:
        """Show a target."""
        return cls(
            provider=target.provider.slug,
            model=target.upstream_model,
            position=target.position,
            weight=target.weight,
            role=target.role,
            price=Price.of(target),
        )


class BranchIn(Strict):
    """Where a classifier sends which questions; the last one takes what no other takes."""

    label: Slug
    route: ModelName
    description: Annotated[Text, Field(max_length=500)] = ""
    matches: Annotated[Text, Field(max_length=500)] = ""
    longer_than: Annotated[int, Field(ge=1, le=INT4, strict=True)] | None = None
    has_tools: bool | None = None
    has_images: bool | None = None


class BranchOut(BranchIn):
    """Where a classifier sends which questions."""

    @classmethod
    def of(cls, branch: Branch) -> Self:
        """Show a branch."""
        rules = {name: getattr(branch, name) for name in cls.model_fields if name != "route"}
        return cls(route=branch.leads_to.name, **rules)


class Policy(Strict):
    """How a route is answered."""

    strategy: Strategy = "priority"
    retries: Annotated[int, Field(ge=0, le=MOST_RETRIES, strict=True)] = 1
    first_byte_timeout_seconds: Patience | None = None
    idle_timeout_seconds: Patience | None = None
    total_timeout_seconds: Patience | None = None
    hedge_seconds: Annotated[float, Field(ge=0.001, le=3_600, allow_inf_nan=False)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=INT4, strict=True)] | None = None
    cache_seconds: Annotated[int, Field(ge=0, le=INT4, strict=True)] = 0
    stale_seconds: Annotated[int, Field(ge=0, le=INT4, strict=True)] = 0
    semantic_threshold: Annotated[float, Field(ge=0.5, le=1.0, allow_inf_nan=False)] | None = None
    classifier_model: ModelName | None = None
    targets: Annotated[list[TargetIn], Field(max_length=MOST_TARGETS)] = []
    branches: Annotated[list[BranchIn], Field(max_length=MOST_TARGETS)] = []


class RouteIn(Policy):
    """A route, by the name that clients write into `model`."""

    name: ModelName


class RouteOut(Schema):
    """A route with its targets and branches."""

    name: str
    strategy: str
    retries: int
    first_byte_timeout_seconds: float | None
    idle_timeout_seconds: float | None
    total_timeout_seconds: float | None
    hedge_seconds: float | None
    max_output_tokens: int | None
    cache_seconds: int
    stale_seconds: int
    semantic_threshold: float | None
    classifier_model: str | None
    targets: list[TargetOut]
    branches: list[BranchOut]
    created_at: datetime

    @classmethod
    def of(cls, route: Route) -> Self:
        """Show a route."""
        nested = {"classifier_model", "targets", "branches"}
        plain = {name: getattr(route, name) for name in cls.model_fields if name not in nested}
        return cls(
            classifier_model=route.classifier.name if route.classifier is not None else None,
            targets=[TargetOut.of(target) for target in route.targets.select_related("provider")],
            branches=[BranchOut.of(branch) for branch in route.branches.select_related("leads_to")],
            **plain,
        )


class RoutePage(Schema):
    """Routes by name; `next` is what to give as `after` for those that follow."""

    routes: list[RouteOut]
    next: str | None


class Listing(Schema):
    """Which routes to list."""

    after: Text = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 100
