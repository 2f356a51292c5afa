"""What an admin fills in about routes and providers. What fits together is for `apps.gateway.arranging` to say, when it writes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator
from django.forms.models import fields_for_model
from django.utils.translation import gettext, gettext_lazy

from apps.console.templatetags.look import NOTHING
from apps.gateway.models import Branch, Provider, Route, Target
from apps.gateway.models.route import PRICE_DIGITS, PRICE_PLACES, PRICES
from apps.gateway.shapes import MOST_HEADERS, MOST_TARGETS, SMALL, base_url, header_lines
from menhir.tenancy.models import Tenant

SPARE_ROWS = 2
HIDDEN = "••••••"
"""Stands for a header's value that is kept and not shown."""
LONGEST_SECONDS = 86_400
POLICY = (
    *("strategy", "retries", "first_byte_timeout_seconds", "idle_timeout_seconds", "total_timeout_seconds", "hedge_seconds"),
    *("max_output_tokens", "cache_seconds", "stale_seconds", "semantic_threshold"),
)
ACCOUNT = ("kind", "tariff", "first_byte_timeout_seconds", "answer_timeout_seconds")
WITHOUT = [("", gettext_lazy("either way")), ("yes", gettext_lazy("yes")), ("no", gettext_lazy("no"))]


def _price(label: Any) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        required=False,
        min_value=0,
        max_digits=PRICE_DIGITS,
        decimal_places=PRICE_PLACES,
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
    )


def _plain(price: Decimal | None) -> str | None:
    return None if price is None else f"{price.normalize():f}"


class RouteForm(forms.Form):
    """A route's name, while it is new, and how it is answered."""

    def __init__(self, data: Any, *, tenant: Tenant, route: Route | None = None) -> None:
        super().__init__(data, initial={name: getattr(route, name) for name in POLICY} if route is not None else None)
        self.fields.update(fields_for_model(Route, fields=POLICY if route is not None else ("name", *POLICY)))
        for name, field in self.fields.items():
            if name.endswith("_seconds") and isinstance(field, forms.FloatField):
                field.validators.append(MaxValueValidator(LONGEST_SECONDS))
                field.widget.attrs.update({"step": "any", "inputmode": "decimal"})
        others = Route.objects.within(tenant).exclude(strategy=Route.Strategy.CLASSIFIER).order_by("name")
        self.fields["classifier"] = forms.ModelChoiceField(
            label=gettext_lazy("Model that decides"),
            queryset=others,
            required=False,
            empty_label=gettext("None: rules alone decide"),
            initial=route.classifier if route is not None else None,
            help_text=gettext_lazy("Asked which branch a question belongs to, where rules do not say."),
        )

    @property
    def changes(self) -> dict[str, Any]:
        """What to set."""
        return {**self.cleaned_data, "classifier": self.cleaned_data["classifier"] if self.is_classifier else None}

    @property
    def is_classifier(self) -> bool:
        """Whether it leads to other routes, and not to providers."""
        return bool(self.cleaned_data["strategy"] == Route.Strategy.CLASSIFIER)


class Row(forms.Form):
    """One of several; one that is left empty, or emptied, does not count."""

    needed: tuple[str, ...] = ()
    lacking: Any = ""

    def clean(self) -> dict[str, Any]:
        """Refuse half a row."""
        given = [bool(self.cleaned_data.get(name)) for name in self.needed]
        if any(given) and not all(given) and not self.errors:
            raise forms.ValidationError(self.lacking)
        return self.cleaned_data

    @property
    def counts(self) -> bool:
        """Whether anything is in it."""
        return all(self.cleaned_data.get(name) for name in self.needed)


class TargetRow(Row):
    """Who answers."""

    needed = ("provider", "upstream_model")
    lacking = gettext_lazy("Give both the provider and the model there; empty both to take the row away.")

    provider = forms.ChoiceField(label=gettext_lazy("Provider"), required=False)
    upstream_model = forms.CharField(label=gettext_lazy("Model there"), max_length=200, required=False)
    position = forms.IntegerField(label=gettext_lazy("Position"), min_value=0, max_value=SMALL, required=False)
    weight = forms.IntegerField(label=gettext_lazy("Weight"), min_value=0, max_value=SMALL, required=False, initial=1)
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=Target.Role.choices, initial=Target.Role.ANSWER)
    input_price = _price(gettext_lazy("Input, $ per million"))
    output_price = _price(gettext_lazy("Output, $ per million"))
    cached_input_price = _price(gettext_lazy("Cached, $ per million"))

    def __init__(self, *args: Any, providers: Sequence[Provider], **options: Any) -> None:
        super().__init__(*args, **options)
        self._providers = {provider.slug: provider for provider in providers}
        choosing: Any = self.fields["provider"]
        choosing.choices = [("", NOTHING), *((slug, slug) for slug in self._providers)]

    def target(self, route: Route, number: int) -> Target:
        """What it says; without a position, as it stands."""
        given = self.cleaned_data
        return Target(
            tenant_id=route.tenant_id,
            route=route,
            provider=self._providers[given["provider"]],
            upstream_model=given["upstream_model"],
            position=number if given["position"] is None else given["position"],
            weight=1 if given["weight"] is None else given["weight"],
            role=given["role"],
            **{name: given[name] for name in PRICES},
        )

    def clean(self) -> dict[str, Any]:
        """Refuse half a price, too."""
        given = super().clean()
        priced = [name for name in PRICES if given.get(name) is not None]
        if priced and not self.errors and not {"input_price", "output_price"} <= set(priced):
            raise forms.ValidationError(gettext("Give the prices of input and of output, or none at all."))
        return given


class BranchRow(Row):
    """Where which questions go."""

    needed = ("label", "leads_to")
    lacking = gettext_lazy("Give both a label and a model; empty both to take the row away.")

    label = forms.SlugField(label=gettext_lazy("Label"), max_length=60, required=False)
    leads_to = forms.ChoiceField(label=gettext_lazy("Leads to"), required=False)
    description = forms.CharField(label=gettext_lazy("Which questions"), max_length=500, required=False)
    matches = forms.CharField(label=gettext_lazy("Matches (RE2)"), max_length=500, required=False)
    longer_than = forms.IntegerField(label=gettext_lazy("Characters above"), min_value=1, max_value=2**31 - 1, required=False)
    has_tools = forms.ChoiceField(label=gettext_lazy("With tools"), choices=WITHOUT, required=False)
    has_images = forms.ChoiceField(label=gettext_lazy("With images"), choices=WITHOUT, required=False)

    def __init__(self, *args: Any, routes: Sequence[Route], **options: Any) -> None:
        super().__init__(*args, **options)
        self._routes = {route.name: route for route in routes}
        choosing: Any = self.fields["leads_to"]
        choosing.choices = [("", NOTHING), *((name, name) for name in self._routes)]

    def branch(self, route: Route, number: int) -> Branch:
        """What it says."""
        given = dict(self.cleaned_data)
        ways = {"": None, "yes": True, "no": False}
        return Branch(
            tenant_id=route.tenant_id,
            route=route,
            position=number,
            **{
                **given,
                "leads_to": self._routes[given["leads_to"]],
                "has_tools": ways[given["has_tools"]],
                "has_images": ways[given["has_images"]],
            },
        )


def target_rows(data: Any, *, tenant: Tenant, route: Route | None) -> Any:
    """The rows of a route's targets, and two to spare."""
    present = route.targets.select_related("provider") if route is not None else ()
    initial = [
        {
            "provider": one.provider.slug,
            **{name: getattr(one, name) for name in ("upstream_model", "position", "weight", "role")},
            **{name: _plain(getattr(one, name)) for name in PRICES},
        }
        for one in present
    ]
    made = forms.formset_factory(TargetRow, extra=SPARE_ROWS, max_num=MOST_TARGETS, validate_max=True)
    providers = list(Provider.objects.within(tenant).order_by("slug"))
    return made(data, prefix="targets", initial=initial, form_kwargs={"providers": providers})


def branch_rows(data: Any, *, tenant: Tenant, route: Route | None) -> Any:
    """The rows of a classifier's branches, and two to spare."""
    ways = {None: "", True: "yes", False: "no"}
    present = route.branches.select_related("leads_to") if route is not None else ()
    initial = [
        {
            "leads_to": one.leads_to.name,
            "has_tools": ways[one.has_tools],
            "has_images": ways[one.has_images],
            **{name: getattr(one, name) for name in ("label", "description", "matches", "longer_than")},
        }
        for one in present
    ]
    made = forms.formset_factory(BranchRow, extra=SPARE_ROWS, max_num=MOST_TARGETS, validate_max=True)
    routes = list(Route.objects.within(tenant).order_by("name"))
    return made(data, prefix="branches", initial=initial, form_kwargs={"routes": routes})


class ProviderForm(forms.Form):
    """An account at somebody who runs models. Neither its credential nor its headers' values are shown again."""

    def __init__(self, data: Any, *, provider: Provider | None = None) -> None:
        shown = ("base_url", *ACCOUNT)
        super().__init__(data, initial={name: getattr(provider, name) for name in shown} if provider is not None else None)
        self._headers = dict(provider.headers) if provider is not None else {}
        self.unseen_headers: set[str] = set()
        """Whose values are the present ones, which the person who saves has not seen."""
        self.fields.update(fields_for_model(Provider, fields=ACCOUNT if provider is not None else ("slug", *ACCOUNT)))
        for name in ("first_byte_timeout_seconds", "answer_timeout_seconds"):
            self.fields[name].validators.append(MaxValueValidator(LONGEST_SECONDS))
            self.fields[name].widget.attrs.update({"step": "any", "inputmode": "decimal"})
        self.fields["base_url"] = forms.CharField(
            label=gettext_lazy("Base URL"),
            required=False,
            max_length=500,
            help_text=gettext_lazy("Up to and including its version, such as https://api.openai.com/v1; empty for what is built in."),
            widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "class": "mono"}),
        )
        self.fields["credential"] = forms.CharField(
            label=gettext_lazy("Credential"),
            required=False,
            max_length=4_000,
            widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
            help_text=gettext_lazy(
                "Sealed when saved, and never shown again. Left empty, the present one stays; another server or kind needs it anew."
            ),
        )
        if provider is not None and provider.has_credential:
            self.fields["forget"] = forms.BooleanField(label=gettext_lazy("Take the present credential away"), required=False)
        self.fields["headers"] = forms.CharField(
            label=gettext_lazy("Extra headers"),
            required=False,
            initial="\n".join(f"{name}: {HIDDEN}" for name in self._headers),
            widget=forms.Textarea(attrs={"class": "mono", "rows": 2, "spellcheck": "false"}),
            help_text=gettext_lazy("One in a line, Name: value. Values are not shown again; a line with dots keeps its value."),
        )
        self.order_fields(["slug", "kind", "base_url", "credential", "forget", "tariff", "headers"])

    def clean_base_url(self) -> str:
        """An address that a gateway can ask."""
        try:
            return base_url(self.cleaned_data["base_url"])
        except ValueError as e:
            raise forms.ValidationError(gettext("An address of http or https, with nothing after its path.")) from e

    def clean_headers(self) -> dict[str, str]:
        """The lines as names and values."""
        headers: dict[str, str] = {}
        for line in filter(str.strip, self.cleaned_data["headers"].splitlines()):
            name, colon, value = (part.strip() for part in line.partition(":"))
            kept = self._headers.get(name)
            if not colon or (value == HIDDEN and kept is None):
                raise forms.ValidationError(gettext("“%(line)s” is no header: write Name: value.") % {"line": line.strip()[:80]})
            if value == HIDDEN and kept is not None:
                self.unseen_headers.add(name)
                value = kept
            headers[name] = value
        if len(headers) > MOST_HEADERS:
            raise forms.ValidationError(gettext("At most %(n)d headers.") % {"n": MOST_HEADERS})
        try:
            return header_lines(headers)
        except ValueError as e:
            raise forms.ValidationError(gettext("A header's name has letters, digits and dashes, and its value is one line.")) from e

    @property
    def changes(self) -> dict[str, Any]:
        """What to set, beside the credential."""
        return {name: value for name, value in self.cleaned_data.items() if name not in {"credential", "forget"}}

    @property
    def credential(self) -> str | None:
        """A new one, an empty one to take it away, or nothing."""
        typed: str = self.cleaned_data["credential"]
        return typed or ("" if self.cleaned_data.get("forget") else None)
