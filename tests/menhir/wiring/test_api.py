"""What the JSON API says of itself, and of errors."""

from __future__ import annotations

import pytest
from django.test import Client


@pytest.fixture
def nobody():
    return Client(headers={"host": "localhost"})


def test_the_reference_works_without_internet(nobody):
    page = nobody.get("/api/v1/docs").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "https://" not in page
    assert nobody.get("/static/ninja/swagger-ui-bundle.js").status_code == 200


def test_the_openapi_document_names_what_the_issue_promises(nobody):
    paths = nobody.get("/api/v1/openapi.json").json()["paths"]
    assert {
        "/api/v1/query",
        "/api/v1/usage",
        "/api/v1/collections",
        "/api/v1/collections/{slug}",
        "/api/v1/collections/{slug}/documents:batch",
        "/api/v1/collections/{slug}/search",
    } <= set(paths)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({}, "unauthenticated"),
        ({"authorization": "Bearer nonsense"}, "invalid_api_key"),
        ({"authorization": "Basic abc"}, "unauthenticated"),
        ({"authorization": "Bearer mh_live_" + "0" * 36}, "invalid_api_key"),
    ],
)
def test_no_key_is_a_problem_with_a_code(nobody, header, code):
    answer = nobody.get("/api/v1/usage", headers=header)
    assert answer.status_code == 401
    assert answer["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer["www-authenticate"].startswith("Bearer")


def test_a_key_without_the_scope_is_told_which(alice):
    answer = alice.api("inference").get("/api/v1/usage")
    assert answer.status_code == 403
    assert "usage:read" in answer.json()["detail"]


def test_every_answer_has_a_request_id_and_keeps_a_sane_one(nobody):
    assert nobody.get("/accounts/login/")["x-request-id"].startswith("req_")
    assert nobody.get("/accounts/login/", headers={"x-request-id": "abc-12345"})["x-request-id"] == "abc-12345"
    assert nobody.get("/accounts/login/", headers={"x-request-id": "<script>"})["x-request-id"].startswith("req_")


def test_an_unknown_path_of_the_api_is_a_problem(nobody):
    answer = nobody.get("/api/v1/nothing-here")
    assert (answer.status_code, answer["content-type"]) == (404, "application/problem+json")


def test_the_policy_forbids_inline_scripts_everywhere_and_styles_outside_of_staff(nobody):
    policy = nobody.get("/accounts/login/")["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_cookies_are_closed_to_scripts_and_to_other_sites(nobody, alice):
    answer = nobody.post("/accounts/login/", {"login": alice.email, "password": alice.password})
    assert answer.status_code == 302
    assert {"menhir_session"} <= set(answer.cookies)
    for cookie in answer.cookies.values():
        assert (cookie["samesite"], cookie["httponly"]) == ("Lax", True), cookie.key
