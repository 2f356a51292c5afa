"""What can go wrong on the way to a model.

* GatewayError
  x UnknownModel ............. no route of this name
  x UnpricedModel ............ a budget applies, and nobody knows what it costs
  x UnboundedCall ............ a limit applies, and the call does not say plainly how long its answer may be
  x MalformedKey ............. an `Idempotency-Key` that is none
  x KeyReused ................ an `Idempotency-Key` that came with another body before
  x UnknownRoute, UnknownProvider . not there, or another tenant's
  x UnfitRoute, UnfitProvider . make no sense as they are described
  x NameTaken ................ there is one of this name
  x StillUsed ................ others lead there
  x RouteLoop ................ routes that choose among routes lead back to where they came from
  x UpstreamError ............ the other side failed
    + UpstreamBusy             worth another try, here or elsewhere
      - UpstreamLimited        it is asked too often: its limit, not one of ours
    + UpstreamDown             not here, not now: go to the next target
      - UpstreamCut            it broke off in the middle of its answer
      - UpstreamUnusable       … nor later, until somebody changes something: an unknown model, an account without money
        . UpstreamUnauthorized it does not accept the credential it is configured with
      - UpstreamSlow           it did not keep to a time
        . FirstByteTimeout     nothing came of a stream
        . IdleTimeout          a stream fell silent
        . AnswerTimeout        a whole answer was not complete
    + UpstreamRefused          will never work as asked: stop
      - UpstreamUnfit          it does not work there: go to the next target
        . ContextTooLong       more than the model can read
        . ContentFiltered      the provider does not want to answer this
    + TotalTimeout             the time that the route allows for everything is over: stop
  x GuardrailError ........... a rule of the tenant's own stands against it
    + GuardrailBlocked         the rule found something
    + GuardrailUnavailable     the rule could not be asked, and nothing may pass unasked

`dispatch` asks of an error only which of these it is. The client's status comes from the table of `menhir.errors`: Busy and
Down are `Unavailable` (503), who is asked too often is `LimitReached` (429, decision 19), what took too long is `TimedOut` (504),
Refused is `Invalid` (400), so that a 401 of an upstream is never mistaken for a wrong key of ours.
"""

from __future__ import annotations

from menhir.errors import Conflict, Invalid, LimitReached, MenhirError, NotFound, TimedOut, Unavailable


class GatewayError(MenhirError):
    """The call could not be answered."""

    code = "gateway_error"


class UnknownModel(GatewayError, NotFound):
    """There is no model of this name."""

    code = "model_not_found"


class UnpricedModel(GatewayError, Invalid):
    """A budget applies, and nobody knows what this model costs. Set its price."""

    code = "unpriced_model"


class UnboundedCall(GatewayError, Invalid):
    """A limit applies, and this request does not say plainly how long its answer may be."""

    code = "invalid_request"


class MalformedKey(GatewayError, Invalid):
    """The idempotency key is not valid."""

    code = "invalid_idempotency_key"


class KeyReused(GatewayError, Conflict):
    """This idempotency key was used with another request. Use a new key for each new request."""

    code = "idempotency_key_reused"

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        """Keep clients from trying again: they do so after a 409."""
        super().__init__(message, param=param)
        self.headers = [(b"x-should-retry", b"false")]


class UnknownRoute(GatewayError, NotFound):
    """There is no route of this name."""

    code = "route_not_found"


class UnknownProvider(GatewayError, NotFound):
    """There is no provider of this name."""

    code = "provider_not_found"


class UnfitRoute(GatewayError, Invalid):
    """A route like this would answer nothing."""

    code = "route_unfit"


class UnfitProvider(GatewayError, Invalid):
    """A provider like this cannot be reached."""

    code = "provider_unfit"


class NameTaken(GatewayError, Conflict):
    """There is one of this name already."""

    code = "name_taken"


class StillUsed(GatewayError, Conflict):
    """Others still lead there."""

    code = "still_used"


class RouteLoop(GatewayError, Invalid):
    """The routes that choose among routes lead in a circle."""

    code = "route_loop"


class UpstreamError(GatewayError):
    """The upstream failed."""

    code = "upstream_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        upstream_status: int | None = None,
        upstream_code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Keep what the upstream said, for the client's error, the ledger and the next attempt."""
        super().__init__(message, param=param)
        self.upstream_status = upstream_status
        self.upstream_code = upstream_code
        self.retry_after_seconds = retry_after_seconds


class UpstreamBusy(UpstreamError, Unavailable):
    """The upstream is busy; try again in a moment."""

    code = "upstream_busy"


class UpstreamLimited(LimitReached, UpstreamBusy):
    """The upstream is asked too often; try again in a moment."""

    code = "upstream_rate_limited"


class UpstreamDown(UpstreamError, Unavailable):
    """The upstream cannot be reached or does not work."""

    code = "upstream_down"


class UpstreamCut(UpstreamDown):
    """The upstream broke off in the middle of its answer."""

    code = "upstream_cut"


class UpstreamUnusable(UpstreamDown):
    """The upstream cannot be used as it is configured."""

    headers = ((b"x-should-retry", b"false"),)
    """Clients try a 503 again; this one stays until somebody changes the target, or pays."""


class UpstreamUnauthorized(UpstreamUnusable):
    """The upstream does not accept the credential that is configured for it."""

    code = "upstream_unauthorized"


class UpstreamSlow(TimedOut, UpstreamDown):
    """The upstream took too long."""

    code = "upstream_timeout"


class FirstByteTimeout(UpstreamSlow):
    """The upstream did not begin to answer in time."""

    code = "first_byte_timeout"


class IdleTimeout(UpstreamSlow):
    """The upstream fell silent in the middle of its answer."""

    code = "idle_timeout"


class AnswerTimeout(UpstreamSlow):
    """The upstream did not complete its answer in time."""

    code = "answer_timeout"


class UpstreamRefused(UpstreamError, Invalid):
    """The upstream refused the request."""

    code = "upstream_refused"


class UpstreamUnfit(UpstreamRefused):
    """The upstream cannot answer this request; another one may."""

    code = "upstream_unfit"


class ContextTooLong(UpstreamUnfit):
    """The conversation is longer than what the model can read."""

    code = "context_length_exceeded"


class ContentFiltered(UpstreamUnfit):
    """The provider's own filter refused the request."""

    code = "content_filter"


class TotalTimeout(UpstreamError, TimedOut):
    """There was no answer within the time that this route allows."""

    code = "total_timeout"


class GuardrailError(GatewayError):
    """A guardrail stands against this call."""

    def __init__(self, message: str | None = None, *, guardrail: str) -> None:
        """Keep the name of the guardrail, which the client and the ledger are told."""
        super().__init__(message)
        self.guardrail = guardrail

    @property
    def reason(self) -> str:
        """What the ledger says of the call."""
        return f"guardrail:{self.guardrail}"


class GuardrailBlocked(GuardrailError, Invalid):
    """A guardrail blocked this call."""

    code = "content_policy_violation"


class GuardrailUnavailable(GuardrailError, Unavailable):
    """A guardrail cannot be asked at the moment, and nothing may pass without it."""

    code = "guardrail_unavailable"
