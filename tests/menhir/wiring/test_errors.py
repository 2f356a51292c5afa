"""What a person sees when something breaks, and what stands in the log."""

from __future__ import annotations

import pytest
from django.test import Client, override_settings
from django.urls import path


def broken(request):
    raise ValueError("the secret is mh_live_0123456789abcdefXYZ9")


urlpatterns = [path("broken", broken), path("api/broken", broken)]
handler500 = "menhir.wiring.urls.handler500"


@pytest.fixture
def client():
    with override_settings(ROOT_URLCONF=__name__):
        yield Client(headers={"host": "localhost"}, raise_request_exception=False)


def test_an_unexpected_error_is_logged_and_not_shown(client, caplog):
    answer = client.get("/broken", headers={"x-request-id": "find-me-again"})
    page = answer.content.decode()
    assert answer.status_code == 500
    assert "ValueError" not in page
    assert "mh_live_" not in page
    assert "find-me-again" in page
    assert any("ValueError" in (record.exc_text or "") or record.exc_info for record in caplog.records)


def test_under_api_it_is_a_problem(client):
    answer = client.get("/api/broken")
    assert (answer.status_code, answer["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.content.decode()
