"""Resolution: what the client named becomes a route, a rendered prompt, and what to look into.

`model` is a route's name or `assistant:<slug>`. Beside it a chat request may carry two members of ours, which never travel
upstream: `prompt: {id, version?, variables?}`, the shape of OpenAI's Responses API, where `version` is a number or a label and
`production` when it is left out; and `menhir: {collections?, documents?, passages?}`, which says what to look into instead of
the assistant's own collections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from apps.assistants import resolution
from apps.assistants.errors import MalformedRequest, UnknownCollection
from apps.assistants.models import DEFAULT_PASSAGES, MOST_COLLECTIONS, MOST_PASSAGES
from apps.assistants.resolution import ResolvedAssistant
from apps.gateway import routing
from apps.gateway.call import Call
from apps.gateway.errors import UnknownModel
from apps.prompts import releases, rendering
from apps.prompts.errors import NotReleased, RenderedTooLong, UnknownPrompt, VariablesRefused
from apps.prompts.models import PRODUCTION
from menhir.tenancy.principal import KNOWLEDGE_READ, Principal

ASSISTANT_PREFIX: Final = "assistant:"
MOST_DOCUMENTS: Final = 100


@dataclass(frozen=True, slots=True)
class Grounds:
    """What an answer shall rest on: passages of these collections, or of these texts."""

    collections: tuple[UUID, ...]
    documents: tuple[str, ...]
    passages: int


async def resolve(call: Call) -> Grounds | None:
    """Set the call's route and prompt; give what to look into, or None when the model alone shall answer.

    A plain request for a plain route is left as it came, bytes and all.
    """
    chats = call.operation == "chat"
    wanted, options = (call.body.pop("prompt", None), call.body.pop("menhir", None)) if chats else (None, None)
    if call.principal.models is not None and not call.principal.may_use(call.model):
        raise UnknownModel(f"There is no model `{call.model}` for you.", param="model")
    if call.model.startswith(ASSISTANT_PREFIX):
        if not chats:
            raise MalformedRequest("An assistant answers questions, and nothing else.", param="model")
        return await _resolve_assistant(call, wanted, options)
    # A NUL is no character to the database; anything else may be asked for.
    call.route = await routing.resolve(call.principal.tenant_id, call.model) if "\x00" not in call.model else None
    if call.route is None:
        raise UnknownModel(f"There is no model `{call.model}`.", param="model")
    if wanted is None and options is None:
        return None
    call.raw = None
    if wanted is not None:
        asked = _Asked.of(wanted)
        if asked.slug is None:
            raise MalformedRequest("`prompt.id` is required: the slug of a prompt.", param="prompt.id")
        await _speak(call, asked.slug, asked, label=asked.label or PRODUCTION, defaults={})
    return await _grounds(call, options, assistant=None)


async def _resolve_assistant(call: Call, wanted: object, options: object) -> Grounds | None:
    slug = call.model.removeprefix(ASSISTANT_PREFIX)
    assistant = await resolution.resolve(call.principal.tenant_id, slug)
    if assistant is None:
        raise UnknownModel(f"There is no assistant `{slug}`.", param="model")
    call.route = await routing.resolve(call.principal.tenant_id, assistant.route_name)
    if call.route is None:
        raise UnknownModel(f"The assistant `{slug}` answers by the model `{assistant.route_name}`, which does not exist.", param="model")
    call.raw = None
    call.assistant_id = assistant.id
    asked = _Asked.of(wanted if wanted is not None else {})
    if asked.slug not in {None, assistant.prompt}:
        raise MalformedRequest("An assistant brings its own prompt: leave `prompt.id` out.", param="prompt.id")
    # Our own unit of sticky assignment; OpenAI refuses `metadata` on a request that it is not asked to store.
    if not call.body.get("store"):
        call.body.pop("metadata", None)
    await _speak(call, assistant.prompt, asked, label=asked.label or assistant.label, defaults=assistant.variables)
    return await _grounds(call, options, assistant=assistant)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The request's member `prompt`."""

    slug: str | None
    version: int | None
    label: str | None
    variables: Mapping[str, Any]

    @classmethod
    def of(cls, wanted: object) -> _Asked:
        if not isinstance(wanted, dict):
            raise MalformedRequest("`prompt` is an object with `id`, `version` and `variables`.", param="prompt")
        slug, version, variables = wanted.get("id"), wanted.get("version"), wanted.get("variables")
        if slug is not None and not isinstance(slug, str):
            raise MalformedRequest("`prompt.id` is the slug of a prompt.", param="prompt.id")
        if variables is not None and not isinstance(variables, dict):
            raise MalformedRequest("`prompt.variables` is an object of names and values.", param="prompt.variables")
        number: int | None = None
        label: str | None = None
        if isinstance(version, int) and not isinstance(version, bool):
            number = version
        elif isinstance(version, str) and version:
            if version.isascii() and version.isdigit() and len(version) <= 10:  # noqa: PLR2004 - beyond any integer column
                number = int(version)
            else:
                label = version
        elif version is not None:
            raise MalformedRequest("`prompt.version` is a number or a label.", param="prompt.version")
        return cls(slug, number, label, variables or {})


async def _speak(call: Call, slug: str, asked: _Asked, *, label: str, defaults: Mapping[str, object]) -> None:
    """Put the rendered prompt before the conversation."""
    tenant_id = call.principal.tenant_id
    version = await releases.resolve(tenant_id, slug, asked.version, label=label)
    if version is None:
        if asked.version is not None:
            raise UnknownPrompt(f"There is no prompt `{slug}` with a version {asked.version}.", param="prompt.version")
        if asked.label is not None or asked.slug is None:
            raise NotReleased(f"Nothing of the prompt `{slug}` is released as `{label}`.", param="prompt.version")
        raise UnknownPrompt(f"There is no prompt `{slug}` that is released as `{label}`.", param="prompt.id")
    # An assistant's own values fill what this version has a place for; the client's must fit exactly.
    values = {**{name: value for name, value in defaults.items() if name in version.variables}, **asked.variables}
    try:
        text = rendering.render(version.text, values)
    except (VariablesRefused, RenderedTooLong) as refused:
        refused.param = f"prompt.{refused.param}"
        raise
    call.prompt_version_id = version.id
    call.prompt_version = f"{version.prompt_slug}@{version.number}"
    if text.strip():
        call.body["messages"] = [{"role": "system", "content": text}, *call.body["messages"]]


async def _grounds(call: Call, options: object, *, assistant: ResolvedAssistant | None) -> Grounds | None:
    if options is None:
        if assistant is None or not assistant.collections:
            return None
        return Grounds(assistant.collections, (), assistant.passages_limit)
    if not isinstance(options, dict):
        raise MalformedRequest("`menhir` is an object.", param="menhir")
    passages = options.get("passages", assistant.passages_limit if assistant is not None else DEFAULT_PASSAGES)
    if type(passages) is not int or not 1 <= passages <= MOST_PASSAGES:
        raise MalformedRequest(f"`menhir.passages` is a number from 1 to {MOST_PASSAGES}.", param="menhir.passages")
    if (documents := _texts(options, "documents", most=MOST_DOCUMENTS)) is not None:
        return Grounds((), documents, passages)
    if (slugs := _texts(options, "collections", most=MOST_COLLECTIONS)) is not None:
        found = await _opened(call.principal, slugs, own=assistant.collections if assistant is not None else ())
        return Grounds(found, (), passages)
    if assistant is None or not assistant.collections:
        return None
    return Grounds(assistant.collections, (), passages)


async def _opened(who: Principal, slugs: Sequence[str], *, own: Sequence[UUID]) -> tuple[UUID, ...]:
    """The collections of these names, as far as this caller may look into them.

    An assistant's own were opened to its callers by whoever made it. Any other is opened by the scope to read; without it nobody learns
    which there are.
    """
    try:
        found = await resolution.collections_named(who.tenant_id, slugs, param="menhir.collections")
    except UnknownCollection:
        who.require(KNOWLEDGE_READ)
        raise
    if not set(found) <= set(own):
        who.require(KNOWLEDGE_READ)
    return found


def _texts(options: Mapping[str, Any], name: str, *, most: int) -> tuple[str, ...] | None:
    given = options.get(name)
    if given is None:
        return None
    if not isinstance(given, list) or len(given) > most or not all(isinstance(item, str) for item in given):
        raise MalformedRequest(f"`menhir.{name}` is a list of at most {most} texts.", param=f"menhir.{name}")
    return tuple(given)
