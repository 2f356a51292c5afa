"""What an admin fills in about a guardrail of each kind. What fits together is for `Guardrail` to say, when it is made or revised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.forms.models import fields_for_model
from django.utils.translation import gettext_lazy

from apps.console.refusals import show_refusal
from apps.gateway.guardrails import pii
from apps.gateway.guardrails.kinds import ACTIONS, MOST_STORED_CHARACTERS
from apps.gateway.guardrails.models import MOST_POSITION
from apps.gateway.models import Guardrail, Route
from menhir.errors import MenhirError
from menhir.tenancy.models import ApiKey, Tenant

COMMON = ("stage", "action", "fails_closed", "position", "enabled")
KIND_WORDS = {
    "regex": gettext_lazy("Finds what you describe by regular expressions, such as access tokens or internal names."),
    "pii": gettext_lazy("Finds e-mail addresses, phone numbers, bank accounts, cards and the like; can hide them from the model."),
    "size": gettext_lazy("Stops calls with too much text or too many messages."),
    "models": gettext_lazy("Lets only the models pass that you name, for everybody or for some users."),
    "moderation": gettext_lazy("Lets one of your own models judge what is asked and answered."),
    "webhook": gettext_lazy("Lets a server of your own judge; its calls are signed."),
}
PERSONAL = {
    "email": gettext_lazy("E-mail addresses"),
    "phone": gettext_lazy("Phone numbers"),
    "iban": gettext_lazy("Bank accounts (IBAN)"),
    "credit_card": gettext_lazy("Credit cards"),
    "ip_address": gettext_lazy("IP addresses"),
    "us_ssn": gettext_lazy("US social security numbers"),
    "de_tax_id": gettext_lazy("German tax ids"),
}


class Lines(forms.CharField):
    """A list of texts, one in a line."""

    def __init__(self, *, rows: int = 4, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": rows, "class": "mono", "spellcheck": "false"})
        super().__init__(widget=widget, max_length=MOST_STORED_CHARACTERS, **options)

    def prepare_value(self, value: Any) -> Any:
        """A list as lines."""
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        """The lines that hold anything."""
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()]


def unread_field() -> forms.ChoiceField:
    """What becomes of what a rule that looks at texts cannot read."""
    return forms.ChoiceField(
        label=gettext_lazy("What cannot be read: images, audio, files"),
        choices=[
            ("", gettext_lazy("Passes, unless the guardrail fails closed")),
            ("pass", gettext_lazy("Passes")),
            ("refuse", gettext_lazy("Is refused")),
        ],
        required=False,
    )


class GuardrailForm(forms.Form):
    """What all guardrails have; each kind adds its settings before it."""

    kind: ClassVar[str]
    settings_fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, data: Any, *, tenant: Tenant, guardrail: Guardrail | None = None) -> None:
        super().__init__(data, initial=_present(guardrail) if guardrail is not None else None)
        self.settings_names = tuple(self.fields)
        self.fields.update(fields_for_model(Guardrail, fields=COMMON if guardrail is not None else ("name", *COMMON)))
        adjusting: Any = self.fields
        adjusting["action"].choices = [(value, words) for value, words in Guardrail.Action.choices if value in ACTIONS[self.kind]]
        adjusting["position"].max_value = MOST_POSITION
        if self.kind == "models":
            del self.fields["stage"]
        routes = Route.objects.within(tenant).order_by("name").values_list("name", flat=True)
        keys = ApiKey.objects.within(tenant).filter(revoked_at=None).order_by("name").values_list("id", "name", "last_four")
        self.fields["routes"] = forms.MultipleChoiceField(
            label=gettext_lazy("Watches these models; none chosen means all"),
            choices=[(name, name) for name in routes],
            required=False,
            widget=forms.CheckboxSelectMultiple,
        )
        self.fields["keys"] = forms.TypedMultipleChoiceField(
            coerce=UUID,
            empty_value=[],
            label=gettext_lazy("Watches these keys; none chosen means everybody"),
            choices=[(str(key_id), f"{name} (…{last_four})") for key_id, name, last_four in keys],
            required=False,
            widget=forms.CheckboxSelectMultiple,
        )
        self.order_fields(["name", *self.settings_names, "action", "stage", "routes", "keys", "fails_closed", "position", "enabled"])

    @property
    def said(self) -> dict[str, Any]:
        """What was filled in, as a guardrail takes it; a setting that was left empty is as it is by itself."""
        given = dict(self.cleaned_data)
        settings = {name: given.pop(name) for name in self.settings_names}
        return {**given, "settings": {name: value for name, value in settings.items() if value not in (None, "")}}

    def show(self, refusal: MenhirError) -> None:
        """Put a refusal where its field is: `settings.patterns[0]` is at `patterns`."""
        refusal.param = (refusal.param or "").removeprefix("settings.").partition("[")[0]
        show_refusal(self, refusal)


class RegexForm(GuardrailForm):
    """Regular expressions."""

    kind = "regex"

    patterns = Lines(label=gettext_lazy("Patterns, one in a line"), help_text=gettext_lazy("Regular expressions in RE2 syntax."))
    ignore_case = forms.BooleanField(label=gettext_lazy("Blind to upper and lower case"), required=False)
    replacement = forms.CharField(label=gettext_lazy("What is redacted becomes"), max_length=200, required=False, initial="[REDACTED]")
    window = forms.IntegerField(
        label=gettext_lazy("Longest match in a stream, in characters"), min_value=1, max_value=4_096, required=False, initial=256
    )
    unread = unread_field()


class PiiForm(GuardrailForm):
    """Personal data."""

    kind = "pii"

    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("What is looked for"),
        choices=[(kind, PERSONAL[kind]) for kind in pii.KINDS],
        initial=list(pii.KINDS),
        widget=forms.CheckboxSelectMultiple,
    )
    regions = Lines(
        label=gettext_lazy("Countries whose phone numbers are known without their code"),
        required=False,
        rows=2,
        help_text=gettext_lazy("Two capital letters, one in a line, such as DE."),
    )
    restore = forms.BooleanField(label=gettext_lazy("Put what was redacted back into the client's answer"), required=False)
    unread = unread_field()


class SizeForm(GuardrailForm):
    """How much text."""

    kind = "size"

    max_characters = forms.IntegerField(label=gettext_lazy("Characters, at most"), min_value=1, required=False)
    max_messages = forms.IntegerField(label=gettext_lazy("Messages, at most"), min_value=1, required=False)


class ModelsForm(GuardrailForm):
    """Which models may be named."""

    kind = "models"

    allow = Lines(
        label=gettext_lazy("Models that may be named, one in a line"), help_text=gettext_lazy("With * for any characters: assistant:*")
    )
    users = Lines(label=gettext_lazy("For these users alone, one in a line"), required=False, rows=2)


class ModerationForm(GuardrailForm):
    """A model that judges."""

    kind = "moderation"

    model = forms.CharField(label=gettext_lazy("Model that judges"), max_length=256)
    mode = forms.ChoiceField(
        label=gettext_lazy("How it is asked"),
        choices=[
            ("moderations", gettext_lazy("A moderation model, at /v1/moderations")),
            ("chat", gettext_lazy("A chat model, by a fixed rubric")),
        ],
    )
    categories = Lines(
        label=gettext_lazy("Categories that count, one in a line"), required=False, rows=3, help_text=gettext_lazy("Empty: all of them.")
    )
    threshold = forms.FloatField(label=gettext_lazy("Score from which on they count, up to 1"), min_value=0, max_value=1, required=False)
    timeout_seconds = forms.FloatField(label=gettext_lazy("Longest wait, in seconds"), min_value=0.1, max_value=30, initial=5.0)
    every_characters = forms.IntegerField(
        label=gettext_lazy("In a stream, asked every so many characters"), min_value=20, max_value=20_000, initial=400
    )
    unread = unread_field()


class WebhookForm(GuardrailForm):
    """A server that judges."""

    kind = "webhook"

    url = forms.CharField(
        label=gettext_lazy("Address"), max_length=500, widget=forms.TextInput(attrs={"inputmode": "url", "class": "mono"})
    )
    timeout_seconds = forms.FloatField(label=gettext_lazy("Longest wait, in seconds"), min_value=0.1, max_value=30, initial=3.0)
    every_characters = forms.IntegerField(
        label=gettext_lazy("In a stream, asked every so many characters"), min_value=20, max_value=20_000, initial=400
    )
    unread = unread_field()


FORMS: Mapping[str, type[GuardrailForm]] = {
    form.kind: form for form in (RegexForm, PiiForm, SizeForm, ModelsForm, ModerationForm, WebhookForm)
}


class TrialForm(forms.Form):
    """A text to be tried."""

    text = forms.CharField(
        label=gettext_lazy("Try a text"),
        max_length=MOST_STORED_CHARACTERS,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=gettext_lazy("Nothing is called and nothing is kept; models and webhooks that judge are not asked."),
    )
    stage = forms.ChoiceField(
        label=gettext_lazy("As"), choices=[("before", gettext_lazy("a question")), ("after", gettext_lazy("an answer"))], initial="before"
    )


def _present(guardrail: Guardrail) -> dict[str, Any]:
    common = {name: getattr(guardrail, name) for name in (*COMMON, "routes")}
    return {**guardrail.settings, **common, "keys": [str(key_id) for key_id in guardrail.keys]}
