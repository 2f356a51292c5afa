"""Whatever the OpenAPI description allows, and much that it does not, is answered without a 5xx, and every refusal is a problem."""

from __future__ import annotations

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from menhir.wiring.api import api

from stage.cast import Person
from stage.served import Served

# Many small requests for each endpoint, the same in each run: a failure can be looked at.
THOROUGH = settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
LONGEST_URL = 32 * 1024
DESCRIBED = schemathesis.openapi.from_dict(json.loads(json.dumps(api.get_openapi_schema(), default=str)))
OPERATIONS = {operation.label: operation for operation in (found.ok() for found in DESCRIBED.get_all_operations())}


def test_everything_is_described():
    assert len(OPERATIONS) > 40


@pytest.mark.timeout(120)
@pytest.mark.parametrize("label", OPERATIONS)
def test_no_answer_is_our_fault(label: str, server: Served, alice: Person) -> None:
    headers = {"authorization": f"Bearer {alice.key()}"}
    for mode in GenerationMode:

        @THOROUGH
        @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
        def asked(case: schemathesis.Case) -> None:
            answer = case.call(base_url=server.base_url, headers=headers)
            assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.text}"
            # A head that is too long is refused by the server itself, before there is anybody who could say it in JSON.
            if answer.status_code >= 400 and len(answer.request.url) < LONGEST_URL:
                assert answer.headers["content-type"] == ["application/problem+json"], case.as_curl_command()
                assert answer.json()["status"] == answer.status_code

        asked()
