"""Limits, and how far they are used, as Django reads them. Meters and leases are written by `menhir.metering_lease` alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from django.db import IntegrityError, models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from menhir.errors import Conflict, Invalid
from menhir.tenancy.models import ApiKey, HotModel, Tenant, TenantForeignKey, TenantModel

KIND = "limit"
MOST_AMOUNT = Decimal(10) ** 15
NAME_CHARACTERS = 256


class Limit(HotModel):
    """So much of something, for somebody, in a stretch of time.

    With an empty `subject_id` each key, user or route has that much of its own.
    """

    class Subject(models.TextChoices):
        """Whose limit it is."""

        TENANT = "tenant", _("The whole tenant")
        KEY = "key", _("An API key")
        USER = "user", _("A user")
        ROUTE = "route", _("A route")

    class Metric(models.TextChoices):
        """What is limited."""

        REQUESTS = "requests", _("Requests")
        TOKENS = "tokens", _("Tokens")
        PARALLEL = "parallel", _("Calls at the same time")
        MONEY = "money", _("Money, in USD")

    class Period(models.TextChoices):
        """In which stretch of time; none for calls at the same time."""

        NONE = "", _("At any time")
        MINUTE = "minute", _("A minute")
        HOUR = "hour", _("An hour")
        DAY = "day", _("A day")
        WEEK = "week", _("A week")
        MONTH = "month", _("A month")

    hot_kind: ClassVar[str] = KIND

    subject = models.CharField(_("whose"), max_length=10, choices=Subject.choices)
    subject_id = models.CharField(
        _("which one"),
        max_length=NAME_CHARACTERS,
        blank=True,
        default="",
        help_text=_("A key's id, a user's or a route's name; empty: each has so much of its own."),
    )
    metric = models.CharField(_("what"), max_length=10, choices=Metric.choices)
    period = models.CharField(_("period"), max_length=10, choices=Period.choices, blank=True, default="")
    amount = models.DecimalField(_("amount"), max_digits=30, decimal_places=15)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("limit")
        verbose_name_plural = _("limits")
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "subject", "subject_id", "metric", "period"], name="metering_limit_once"),
            models.CheckConstraint(
                condition=Q(metric__in=["requests", "tokens"], period__in=["minute", "hour", "day"])
                | Q(metric="money", period__in=["day", "week", "month"])
                | Q(metric="parallel", period=""),
                name="metering_limit_period",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0, amount__lte=MOST_AMOUNT), name="metering_limit_amount"),
            models.CheckConstraint(
                condition=Q(metric="money") | Q(amount=models.functions.Floor(F("amount"))), name="metering_limit_whole"
            ),
            models.CheckConstraint(
                condition=Q(subject__in=["key", "user", "route"]) | Q(subject="tenant", subject_id=""), name="metering_limit_subject"
            ),
        ]

    def __str__(self) -> str:
        who = f"{self.subject} {self.subject_id}".strip() if self.subject_id or self.subject == "tenant" else f"each {self.subject}"
        return f"{self.amount.normalize():f} {self.metric} {f'a {self.period} ' if self.period else ''}for {who}"

    @classmethod
    def set(cls, tenant: Tenant, *, subject: str, subject_id: str = "", metric: str, period: str = "", amount: Decimal) -> Limit:
        """Make a limit. Raises Invalid for what makes no sense, Conflict when there is one of that kind already."""
        limit = cls(tenant=tenant, subject=subject, subject_id=subject_id, metric=metric, period=period, amount=amount)
        limit.check_sense()
        try:
            with transaction.atomic():
                limit.save(force_insert=True)
        except IntegrityError as e:
            raise Conflict("There is such a limit already: change its amount.") from e
        return limit

    def change(self, amount: Decimal) -> None:
        """Allow more or less from now on; what was used stays used."""
        if amount == self.amount:
            return
        self.amount = amount
        self.check_sense()
        self.save(update_fields=["amount"])

    def clean(self) -> None:
        """For forms: what the platform would refuse, in the form's own way."""
        from django.core.exceptions import ValidationError

        try:
            self.check_sense()
        except Invalid as e:
            raise ValidationError({e.param: e.message} if e.param else e.message) from e

    def check_sense(self) -> None:
        """Raise Invalid for a combination that means nothing."""
        for name, choices in (("subject", self.Subject), ("metric", self.Metric), ("period", self.Period)):
            if getattr(self, name) not in choices.values:
                raise Invalid(f"`{name}` is one of {', '.join(value for value in choices.values if value)}.", param=name)
        periods = PERIODS[self.metric]
        if self.period not in periods:
            allowed = ", ".join(period for period in periods if period) or "nothing: it holds at any time"
            raise Invalid(f"The period of {self.metric} is {allowed}.", param="period")
        if self.amount is None or not self.amount.is_finite() or not 0 < self.amount <= MOST_AMOUNT:
            raise Invalid("The amount is a number above 0.", param="amount")
        if self.metric != self.Metric.MONEY and self.amount != self.amount.to_integral_value():
            raise Invalid(f"The amount of {self.metric} is a whole number.", param="amount")
        self._check_subject()

    def _check_subject(self) -> None:
        if not self.subject_id:
            return
        if self.subject == self.Subject.TENANT:
            raise Invalid("A limit of the whole tenant names nobody else.", param="subject_id")
        if len(self.subject_id) > NAME_CHARACTERS or "\0" in self.subject_id:
            raise Invalid(f"A name has at most {NAME_CHARACTERS} characters.", param="subject_id")
        if self.subject == self.Subject.KEY:
            try:
                key_id = UUID(self.subject_id)
            except ValueError as e:
                raise Invalid("A key is named by its id.", param="subject_id") from e
            if not ApiKey.objects.within(self.tenant_id).filter(id=key_id).exists():
                raise Invalid("There is no such key.", param="subject_id")
            self.subject_id = str(key_id)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete it with its meters. They are locked first, as those do who take from them: else the two would wait for each other.

        Then the limit, so that nobody makes another meter of it meanwhile.
        """
        list(Meter.objects.within(self.tenant_id).filter(limit=self).order_by("subject").select_for_update())
        list(Limit.objects.within(self.tenant_id).filter(id=self.id).select_for_update())
        return super().delete(*args, **kwargs)


PERIODS: dict[str, tuple[str, ...]] = {
    "requests": ("minute", "hour", "day"),
    "tokens": ("minute", "hour", "day"),
    "parallel": ("",),
    "money": ("day", "week", "month"),
}


class Meter(TenantModel):
    """How far one subject has come with a limit in the present window. `turn` names the window; the next one has another."""

    limit = TenantForeignKey(Limit, on_delete=models.CASCADE, related_name="meters")
    subject = models.TextField(_("whose"), blank=True)
    turn = models.BigIntegerField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    spent = models.DecimalField(max_digits=30, decimal_places=15)
    leased = models.DecimalField(max_digits=30, decimal_places=15)
    reached = models.SmallIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "limit", "subject"], name="metering_meter_once"),
            models.CheckConstraint(condition=Q(spent__gte=0, leased__gte=0), name="metering_meter_not_negative"),
        ]


class Lease(TenantModel):
    """What a process holds of a meter (`held`, of it `spare` beyond what its calls need) and what it has reported as spent (`told`).

    `epoch` counts how often it was taken away.
    """

    limit = TenantForeignKey(Limit, on_delete=models.CASCADE, related_name="leases")
    subject = models.TextField(blank=True)
    process_id = models.UUIDField()
    turn = models.BigIntegerField()
    epoch = models.IntegerField(default=0)
    held = models.DecimalField(max_digits=30, decimal_places=15)
    spare = models.DecimalField(max_digits=30, decimal_places=15)
    told = models.DecimalField(max_digits=30, decimal_places=15)
    told_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "limit", "subject", "process_id"], name="metering_lease_once"),
            models.CheckConstraint(condition=Q(held__gte=0, told__gte=0), name="metering_lease_not_negative"),
        ]


class LimitEvent(TenantModel):
    """A limit came to 80 or 100 per cent: once for each limit, subject and window. What leaps past both has both."""

    limit = TenantForeignKey(Limit, on_delete=models.CASCADE, related_name="events", verbose_name=_("limit"))
    subject = models.TextField(_("whose"), blank=True)
    starts_at = models.DateTimeField(_("window since"))
    percent = models.SmallIntegerField(_("per cent"))
    at = models.DateTimeField(_("when"))
    spent = models.DecimalField(_("used"), max_digits=30, decimal_places=15)
    amount = models.DecimalField(_("limit"), max_digits=30, decimal_places=15)

    class Meta:
        verbose_name = _("limit reached")
        verbose_name_plural = _("limits reached")
        ordering = ["-at", "-percent"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "limit", "subject", "starts_at", "percent"], name="metering_limitevent_once")
        ]

    def __str__(self) -> str:
        return f"{self.percent} % at {self.at:%Y-%m-%d %H:%M:%S}"
