"""The kinds of guardrail and what can be set about each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from apps.gateway.guardrails import pii
from apps.gateway.patterns import BadPattern, compiled
from menhir.errors import Invalid

Patterns = Annotated[list[Annotated[str, Meta(min_length=1, max_length=2_000)]], Meta(min_length=1, max_length=50)]
Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=200)]
Seconds = Annotated[float, Meta(ge=0.1, le=30)]
Held = Annotated[int, Meta(ge=1, le=4_096)]
Every = Annotated[int, Meta(ge=20, le=20_000)]
Unread = Literal["pass", "refuse"] | None
"""What becomes of images, audio, files and tokens; None: as `fails_closed` says."""
MOST_STORED_CHARACTERS = 100_000


class UnfitGuardrail(Invalid):
    """These settings do not fit the guardrail."""

    code = "unfit_guardrail"


class Regex(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Regular expressions (RE2), any of which counts. In a stream, matches of up to `window` characters are caught before they are sent."""

    patterns: Patterns
    replacement: Annotated[str, Meta(max_length=200)] = "[REDACTED]"
    ignore_case: bool = False
    window: Held = 256
    unread: Unread = None


class Pii(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Personal data. With `restore`, what was redacted in the request stands in the client's answer again."""

    kinds: list[str] = msgspec.field(default_factory=lambda: list(pii.KINDS))
    regions: Annotated[list[Annotated[str, Meta(pattern=r"^[A-Z]{2}$")]], Meta(max_length=10)] = []
    restore: bool = False
    unread: Unread = None


class Size(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much text, and how many messages."""

    max_characters: Annotated[int, Meta(ge=1)] | None = None
    max_messages: Annotated[int, Meta(ge=1)] | None = None


class Models(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The models that may be named, with `*` for any characters; with `users`, for these alone."""

    allow: Names
    users: Names = []


class Moderation(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A model of the tenant's own that judges: by `/v1/moderations`, or a chat model by a fixed rubric."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    mode: Literal["moderations", "chat"] = "moderations"
    categories: Names = []
    threshold: Annotated[float, Meta(gt=0, le=1)] | None = None
    timeout_seconds: Seconds = 5.0
    every_characters: Every = 400
    unread: Unread = None


class Webhook(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A server of the tenant's own that judges."""

    url: Annotated[str, Meta(min_length=1, max_length=500)]
    timeout_seconds: Seconds = 3.0
    every_characters: Every = 400
    unread: Unread = None


Settings = Regex | Pii | Size | Models | Moderation | Webhook
KINDS: Mapping[str, type[Settings]] = {
    "regex": Regex,
    "pii": Pii,
    "size": Size,
    "models": Models,
    "moderation": Moderation,
    "webhook": Webhook,
}
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "regex": ("block", "redact", "flag"),
    "pii": ("block", "redact", "flag"),
    "size": ("block", "flag"),
    "models": ("block", "flag"),
    "moderation": ("block", "flag"),
    "webhook": ("block", "flag"),
}


def settings_of(kind: str, given: Mapping[str, Any]) -> Settings:
    """Read the settings of a kind; raises UnfitGuardrail (or BadPattern) that names the field."""
    if kind not in KINDS:
        raise UnfitGuardrail(f"There is no kind `{kind}`. There are: {', '.join(KINDS)}.", param="kind")
    try:
        settings: Settings = msgspec.convert(dict(given), KINDS[kind])
    except msgspec.ValidationError as e:
        said, _, path = str(e).partition(" - at `")
        where = path.rstrip("`").removeprefix("$").strip(".")
        raise UnfitGuardrail(f"{said}.", param=f"settings.{where}" if where else "settings") from e
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    match settings:
        case Regex():
            _check_patterns(settings)
        case Pii():
            if unknown := [kind for kind in settings.kinds if kind not in pii.KINDS]:
                raise UnfitGuardrail(f"There is no kind `{unknown[0]}`. There are: {', '.join(pii.KINDS)}.", param="settings.kinds")
            if not settings.kinds:
                raise UnfitGuardrail("Name at least one kind.", param="settings.kinds")
        case Size():
            if settings.max_characters is None and settings.max_messages is None:
                raise UnfitGuardrail("Set `max_characters`, `max_messages` or both.", param="settings")
        case Webhook():
            parts = urlsplit(settings.url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise UnfitGuardrail("A webhook is reached by a URL of http or https.", param="settings.url")
        case _:
            return


def _check_patterns(settings: Regex) -> None:
    for number, pattern in enumerate(settings.patterns):
        try:
            compiled(pattern, ignore_case=settings.ignore_case)
        except BadPattern as e:
            e.param = f"settings.patterns[{number}]"
            raise
    compiled(together(settings), ignore_case=settings.ignore_case)


def together(settings: Regex) -> str:
    """All patterns as one."""
    return "|".join(f"(?:{pattern})" for pattern in settings.patterns)
