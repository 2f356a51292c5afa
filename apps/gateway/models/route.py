"""What clients write into `model`, and where that leads."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.gateway.models.provider import Provider
from apps.gateway.routing import KIND
from menhir.metering import prices
from menhir.tenancy.models import HotModel, TenantForeignKey

# It is printed into headers and URLs. `assistant:` at the front belongs to the assistants.
NAME = RegexValidator(
    r"^(?!assistant:)[A-Za-z0-9][A-Za-z0-9._:/@+-]*\Z",
    _("Use letters, digits and . _ : / @ + -, beginning with a letter or digit, and not with “assistant:”."),
)


MOST_RETRIES = 5
LEAST_PATIENCE = MinValueValidator(0.1)
PRICE_DIGITS, PRICE_PLACES = 16, 10
PRICES = ("input_price", "output_price", "cached_input_price")


def _price(label: Any, **options: Any) -> models.DecimalField[Any, Any]:
    least = [MinValueValidator(0)]
    return models.DecimalField(
        label, max_digits=PRICE_DIGITS, decimal_places=PRICE_PLACES, null=True, blank=True, validators=least, **options
    )


class Route(HotModel):
    """A model by the name that a tenant's clients know it by, and how it is answered."""

    class Strategy(models.TextChoices):
        """In which order the targets are asked; those of one position stand beside each other."""

        PRIORITY = "priority", _("By position")
        WEIGHTED = "weighted", _("By position, then by chance according to weight")
        LEAST_LATENCY = "least_latency", _("The quickest of late first")
        LEAST_COST = "least_cost", _("The cheapest first")
        FAN_OUT = "fan_out", _("All at once, the first good answer wins")
        CLASSIFIER = "classifier", _("Another route, chosen by the question")

    hot_kind: ClassVar[str] = KIND

    name = models.CharField(_("name"), max_length=200, validators=[NAME], help_text=_("What clients write into `model`."))
    strategy = models.CharField(_("strategy"), max_length=20, choices=Strategy.choices, default=Strategy.PRIORITY)
    retries = models.PositiveSmallIntegerField(
        _("retries"), default=1, validators=[MaxValueValidator(MOST_RETRIES)], help_text=_("How often a busy target is asked again.")
    )
    first_byte_timeout_seconds = models.FloatField(
        _("first byte within, in seconds"), null=True, blank=True, validators=[LEAST_PATIENCE], help_text=_("Empty: as the provider says.")
    )
    idle_timeout_seconds = models.FloatField(
        _("longest silence inside a stream, in seconds"), null=True, blank=True, validators=[LEAST_PATIENCE]
    )
    total_timeout_seconds = models.FloatField(_("everything within, in seconds"), null=True, blank=True, validators=[LEAST_PATIENCE])
    hedge_seconds = models.FloatField(
        _("ask the next after, in seconds"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.001)],
        help_text=_("Of a fan-out: how long a target has before the next is asked beside it; empty asks all at once."),
    )
    max_output_tokens = models.PositiveIntegerField(
        _("longest answer, in tokens"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("For a call that sets no limit."),
    )
    cache_seconds = models.PositiveIntegerField(
        _("keep answers for, in seconds"), default=0, help_text=_("The same question gets the same answer; 0 keeps none.")
    )
    stale_seconds = models.PositiveIntegerField(
        _("serve stale answers for, in seconds"), default=0, help_text=_("After that, and only while every target is down.")
    )
    semantic_threshold = models.FloatField(
        _("similarity that counts as the same question"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.5), MaxValueValidator(1.0)],
        help_text=_("Cosine similarity; empty compares questions by their words alone."),
    )
    classifier = TenantForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="classifies_for",
        verbose_name=_("classifying model"),
        help_text=_("Asked which branch a question belongs to, where rules do not say; empty: rules alone decide."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="gateway_route_name")]

    def __str__(self) -> str:
        return self.name

    def lead_to(self, *targets: tuple[Provider, str]) -> None:
        """Replace the targets by these pairs of a provider and the model's name there, tried in this order."""
        for before in self.targets.all():
            before.delete()
        for position, (provider, upstream_model) in enumerate(targets):
            Target.objects.create(tenant_id=self.tenant_id, route=self, provider=provider, upstream_model=upstream_model, position=position)


class Target(HotModel):
    """One place that can answer for a route."""

    class Role(models.TextChoices):
        """Whether anybody reads what it says."""

        ANSWER = "answer", _("Answers")
        SHADOW = "shadow", _("Is asked as well; nobody waits for it")

    hot_kind: ClassVar[str] = KIND

    route = TenantForeignKey(Route, on_delete=models.CASCADE, related_name="targets", verbose_name=_("route"))
    provider = TenantForeignKey(Provider, on_delete=models.PROTECT, related_name="targets", verbose_name=_("provider"))
    upstream_model = models.CharField(_("model at the provider"), max_length=200)
    position = models.PositiveSmallIntegerField(_("position"), default=0, help_text=_("The lowest is tried first."))
    weight = models.PositiveSmallIntegerField(
        _("weight"),
        default=1,
        help_text=_("Its share among the targets of one position; of a shadow, the percentage of calls it is shown."),
    )
    role = models.CharField(_("role"), max_length=10, choices=Role.choices, default=Role.ANSWER)
    input_price = _price(_("price of input"), help_text=_("USD for a million tokens; empty: as the price list says."))
    output_price = _price(_("price of output"), help_text=_("USD for a million tokens."))
    cached_input_price = _price(_("price of cached input"), help_text=_("USD for a million tokens; empty: as all input."))

    class Meta:
        verbose_name = _("target")
        verbose_name_plural = _("targets")
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "route", "position", "provider", "upstream_model"], name="gateway_target_place"),
            models.CheckConstraint(
                condition=Q(input_price__gte=0, output_price__gte=0) | Q(input_price=None, output_price=None, cached_input_price=None),
                name="gateway_target_price",
            ),
            models.CheckConstraint(condition=Q(cached_input_price=None) | Q(cached_input_price__gte=0), name="gateway_target_price_cached"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} · {self.upstream_model}"

    def clean(self) -> None:
        """Refuse half a price: what is not said would be taken for nothing."""
        given = [name for name in PRICES if getattr(self, name) is not None]
        if given and (self.input_price is None or self.output_price is None):
            lacking = "input_price" if self.input_price is None else "output_price"
            raise ValidationError({lacking: _("Give the prices of input and of output, or none at all.")})

    @property
    def has_price(self) -> bool:
        """Whether the tenant has said what it costs."""
        return self.input_price is not None

    @property
    def is_listed(self) -> bool:
        """Whether the provider's price list knows it."""
        return prices.known(provider=self.provider.tariff, model=self.upstream_model)
