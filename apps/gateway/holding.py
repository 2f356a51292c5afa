"""What a call may use of its limits: known before an upstream is asked, held, and settled with what it did use.

Tokens are held at what is expected, and settled with the upstream's count. Money is held at what the call may cost at the very most:
a token is at least one byte, so its input is bounded by its bytes; its output by the limit that the client sets, else by the route's, else
by ours, and such a limit is sent along: without one nobody can say what a call may cost. A model without a known price may cost
anything: under a budget it is not asked.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from apps.gateway.errors import UnboundedCall, UnpricedModel
from apps.gateway.media import without_media
from apps.gateway.weighing import LIMIT_WORDS, characters_asked, max_output_tokens
from menhir.metering import prices, tokens
from menhir.metering.limits import Meters, limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.gateway.call import Call, ResolvedRoute, ResolvedTarget
    from menhir.metering.limits import Hold

LIMIT_NAMES = {"chat": ("max_completion_tokens", 4_096), "completions": ("max_tokens", 16)}
"""What writes an answer, how its length is limited there, and to how much under a budget for which neither client nor route says it; for
completions OpenAI's own default."""
TYPED, AUDIO, ESCAPED = b'"type"', b'"audio', b"\\u"
"""A body without any of these has no medium in it and asks for none: one says its type, and JSON puts names in quotes, or into escapes."""
CHOICE_WORDS = ("n", "best_of")
MOST_CHOICES = 128
NOTHING = Decimal(0)


async def hold(call: Call, route: ResolvedRoute) -> Hold | None:
    """Take what a call may need of every limit that applies to it; None when none does.

    Raises LimitReached, UnboundedCall, or UnpricedModel where a budget cannot be kept, and then takes nothing.
    """
    meters = await _meters(call, route)
    if meters is None:
        return None
    require_bounds(call)
    # Every leg of a fan-out may come to as much as the others.
    legs = len(route.targets) if route.strategy == "fan_out" else 1
    money = most_cost(call, route, route.targets) * legs if meters.money else NOTHING
    expected = expected_tokens(call, route) * legs if meters.tokens else 0
    held = await limits.hold(meters, tokens=expected, money=money)
    if legs > 1:
        held.split(legs)
    call.headers = limits.headers(meters)
    return held


async def hold_shadow(call: Call, route: ResolvedRoute, target: ResolvedTarget) -> Hold | None:
    """Take what a shadow may need: its tokens and its money, but it is no request of the client's. Raises as `hold`."""
    if limits.none_for(call.principal.tenant_id):
        return None
    meters = await _meters(call, route)
    if meters is None:
        return None
    require_bounds(call)
    money = most_cost(call, route, (target,)) if meters.money else NOTHING
    return await limits.hold(meters, requests=0, tokens=expected_tokens(call, route) if meters.tokens else 0, slots=0, money=money)


async def hold_count(call: Call, route: ResolvedRoute) -> Hold | None:
    """Take a request that generates nothing and costs nothing: how many tokens it would be. Raises LimitReached."""
    if limits.none_for(call.principal.tenant_id):
        return None
    meters = await _meters(call, route)
    if meters is None:
        return None
    held = await limits.hold(meters)
    call.headers = limits.headers(meters)
    return held


async def hold_more(call: Call, route: ResolvedRoute, *, tokens: int, money: Decimal) -> Hold | None:
    """Take what a call has used beside what it holds. Raises LimitReached, and then takes nothing."""
    meters = await _meters(call, route)
    if meters is None:
        return None
    return await limits.hold(meters, requests=0, tokens=tokens if meters.tokens else 0, slots=0, money=money if meters.money else NOTHING)


async def _meters(call: Call, route: ResolvedRoute) -> Meters | None:
    """Those of the caller on this route, and on each by which it was chosen."""
    who, user = call.principal, user_of(call)
    meters = await limits.meters(who.tenant_id, key_id=who.key_id, user=user, route=route.name)
    for name in route.chosen_by:
        meters = _joined(meters, await limits.meters(who.tenant_id, key_id=who.key_id, user=user, route=name))
    return meters


def _joined(meters: Meters | None, more: Meters | None) -> Meters | None:
    if meters is None or more is None:
        return meters or more
    known = {id(piece) for piece in meters.slices}
    others = [(piece, whose) for piece, whose in zip(more.slices, more.whose, strict=True) if id(piece) not in known]
    return Meters(
        slices=(*meters.slices, *(piece for piece, _whose in others)),
        whose=(*meters.whose, *(whose for _piece, whose in others)),
        tokens=meters.tokens or more.tokens,
        money=meters.money or more.money,
    )


def user_of(call: Call) -> str | None:
    """Give the user whose own limits apply: the one who is signed in, or whom the client names."""
    unit = call.unit
    if unit is None:
        return str(call.principal.id) if call.principal.kind == "user" else None
    return unit if "\0" not in unit else unit.replace("\0", "")  # which the database does not take


def require_bounds(call: Call) -> None:
    """Refuse what bounds an answer in a way that servers may read otherwise than we do. Raises UnboundedCall."""
    if call.operation not in LIMIT_NAMES:
        return
    for name in (*LIMIT_WORDS, *CHOICE_WORDS):
        number = call.body.get(name)
        if number is None:
            continue
        if type(number) is not int or number < 1:
            raise UnboundedCall(f"`{name}` must be a whole number from 1: a limit applies to this call.", param=name)
        if name in CHOICE_WORDS and number > MOST_CHOICES:
            raise UnboundedCall(f"`{name}` must be {MOST_CHOICES} or less: a limit applies to this call.", param=name)


def expected_tokens(call: Call, route: ResolvedRoute) -> int:
    """How many tokens a call will use, as far as anybody can tell."""
    expected = tokens.of_characters(characters_asked(call))
    if call.operation not in LIMIT_NAMES:
        return expected
    written = max_output_tokens(call.body) or route.max_output_tokens or prices.ASSUMED_OUTPUT_TOKENS
    return expected + written * choices_of(call.body)


def most_cost(call: Call, route: ResolvedRoute, targets: Sequence[ResolvedTarget]) -> Decimal:
    """What a call may cost at most, in USD, whichever of these answers. A call that has no limit to its answer gets one.

    Raises UnpricedModel where one of them may cost anything.
    """
    paid = [target for target in targets if target.costs]
    if not paid:
        return NOTHING
    for target in paid:
        if target.price is None and not prices.known(provider=target.tariff, model=target.upstream_model):
            raise UnpricedModel(
                f"A budget applies, and nobody knows what `{target.upstream_model}` at `{target.provider}` costs. "
                f"Set its price at the model `{route.name}`.",
                param="model",
            )
    read, audio = _most_read(call)
    written = 0
    if call.operation in LIMIT_NAMES:
        written = max_output_tokens(call.body) or _limited(call, route)
        written *= choices_of(call.body)
    costs = [
        prices.most(
            provider=target.tariff,
            model=target.upstream_model,
            input_tokens=read,
            output_tokens=written,
            audio=audio,
            at=call.opened_at,
            own=target.price,
        )
        for target in paid
    ]
    return max(costs)


def most_input_tokens(call: Call) -> int:
    """The most tokens that a request can be: its bytes, which cover what a model adds around each message, too."""
    return _most_read(call)[0]


def _most_read(call: Call) -> tuple[int, bool]:
    """The same, and whether there may be images, sounds or files in it, or asked for: without, nothing is heard or spoken."""
    raw = orjson.dumps(call.body) if call.raw is None else call.raw
    if TYPED not in raw and AUDIO not in raw and ESCAPED not in raw:
        return len(raw), False
    plain, media = without_media(call.body)
    return len(orjson.dumps(plain)) + media, True


def choices_of(body: dict[str, Any]) -> int:
    """How many answers are generated at once: for each prompt as many as are asked for, or as the best is chosen from.

    >>> choices_of({"n": 3}), choices_of({"prompt": ["a", "b"], "n": 2, "best_of": 4}), choices_of({"prompt": [17, 4]})
    (3, 8, 1)
    """
    if "n" not in body and "prompt" not in body and "best_of" not in body:
        return 1
    each = max(n if type(n := body.get(name)) is int and n > 1 else 1 for name in CHOICE_WORDS)
    prompt = body.get("prompt")
    prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    return each * prompts


def _limited(call: Call, route: ResolvedRoute) -> int:
    name, limit = LIMIT_NAMES[call.operation]
    limit = route.max_output_tokens or limit
    call.body = {**call.body, name: limit}
    call.raw = None
    return limit
