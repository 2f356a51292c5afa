"""What can go wrong on the way to a model.

* GatewayError
  x UnknownModel ............. no route of this name
  x Unsealable ............... a stored credential that no master key of ours opens
  x UpstreamError ............ the other side failed
    + UpstreamBusy             worth another try, here or elsewhere
    + UpstreamDown             not here, not now: go to the next target
      - UpstreamCut            it broke off in the middle of its answer
      - UpstreamUnauthorized   it does not accept the credential it is configured with
    + UpstreamRefused          will never work as asked: stop

`dispatch` asks of an error only which of the three it is. The client's status comes from the table of
`menhir.errors`: Busy and Down are `Unavailable` (503), Refused is `Invalid` (400), so that a 401 of an upstream is
never mistaken for a wrong key of ours.
"""

from __future__ import annotations

from menhir.errors import Invalid, MenhirError, NotFound, Unavailable


class GatewayError(MenhirError):
    """The call could not be answered."""

    code = "gateway_error"


class UnknownModel(GatewayError, NotFound):
    """There is no model of this name."""

    code = "model_not_found"


class Unsealable(GatewayError, Unavailable):
    """A stored credential cannot be read."""

    code = "credential_unreadable"


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


class UpstreamDown(UpstreamError, Unavailable):
    """The upstream cannot be reached or does not work."""

    code = "upstream_down"


class UpstreamCut(UpstreamDown):
    """The upstream broke off in the middle of its answer."""

    code = "upstream_cut"


class UpstreamUnauthorized(UpstreamDown):
    """The upstream does not accept the credential that is configured for it."""

    code = "upstream_unauthorized"


class UpstreamRefused(UpstreamError, Invalid):
    """The upstream refused the request."""

    code = "upstream_refused"
