"""What a refusal means, in the shapes in which servers of OpenAI's wire say it."""

from __future__ import annotations

import orjson
import pytest

from apps.gateway.errors import UpstreamBusy, UpstreamDown, UpstreamRefused, UpstreamUnusable
from apps.gateway.upstreams.anthropic.errors import error_of as of_anthropic
from apps.gateway.upstreams.openai.errors import error_of

WRONG = {
    "type": "extra_forbidden",
    "loc": ["body", "messages", 1, "assistant", "reasoning_content"],
    "msg": "Extra inputs are not permitted",
}
SAID = "messages.1.assistant.reasoning_content: Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"error": {"message": "No.", "param": "n"}}, "No.", "n"),
        ({"error": "No."}, "No.", None),
        ({"message": "No."}, "No.", None),
        ({"detail": "No."}, "No.", None),
        ({"detail": [WRONG]}, SAID, SAID.partition(":")[0]),
        ({"detail": [WRONG, {"loc": ["body", "top_p"], "msg": "A number"}]}, f"{SAID}; top_p: A number", SAID.partition(":")[0]),
        ({"object": "error", "message": {"detail": [WRONG]}, "type": "invalid_request_error"}, SAID, SAID.partition(":")[0]),
        ({"message": {"detail": [{"loc": ["body"], "msg": ["One", "Two"]}]}}, "One; Two", None),
        ({"error": {"message": {"why": "?"}}}, "The upstream `p` refused the request with status 422.", None),
        ({"detail": [[[[[[[[[["No."]]]]]]]]]]}, "The upstream `p` refused the request with status 422.", None),
        ([], "The upstream `p` refused the request with status 422.", None),
    ],
)
def test_the_reason_is_found_wherever_it_stands(body, message, param):
    refused = error_of(422, {}, orjson.dumps(body), provider="p")
    assert (type(refused), refused.message, refused.param) == (UpstreamRefused, message, param)


def said(message: str, **more: str) -> bytes:
    return orjson.dumps({"error": {"message": message, **more}})


@pytest.mark.parametrize(
    ("error", "lasts"),
    [
        (error_of(404, {}, said("The model `gpt-6` does not exist", code="model_not_found"), provider="p"), True),
        (error_of(429, {}, said("You exceeded your current quota", code="insufficient_quota"), provider="p"), True),
        (error_of(402, {}, said("Insufficient Balance"), provider="p"), True),
        (of_anthropic(403, {}, said("Pay", type="billing_error"), provider="p"), True),
        (of_anthropic(400, {}, said("Your credit balance is too low", type="invalid_request_error"), provider="p"), True),
        (error_of(500, {}, b"", provider="p"), False),
        (error_of(429, {}, said("Slow down"), provider="p"), False),
    ],
)
def test_clients_do_not_try_again_what_stays_as_it_is(error, lasts):
    assert isinstance(error, UpstreamUnusable) == lasts
    assert isinstance(error, UpstreamDown | UpstreamBusy)
    assert ((b"x-should-retry", b"false") in error.headers) == lasts
