"""Prompts and assistants on the wire: what the model reads, and what the ledger knows."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from assistants.conftest import Company

from apps.gateway.models import Route
from menhir.tenancy.transaction import tenant_transaction

QUESTION = [{"role": "user", "content": "What is a menhir?"}]


def heard(company: Company) -> dict[str, Any]:
    """What the upstream was sent last."""
    return company.upstream.stats.bodies[-1]


def ask(company: Company, model: str = "plain", **more: Any) -> Any:
    return company.client("inference").with_raw_response.chat.completions.create(model=model, messages=QUESTION, extra_body=more)


def test_a_prompt_becomes_the_first_system_message(acmes: Company):
    acmes.prompt("support", "You are {{ who }}.")
    answer = ask(acmes, prompt={"id": "support", "variables": {"who": "kind"}}, temperature=0)
    assert heard(acmes) == {
        "model": "fake",
        "messages": [{"role": "system", "content": "You are kind."}, *QUESTION],
        "temperature": 0,
    }
    assert answer.headers["x-menhir-prompt-version"] == "support@1"


def test_a_prompt_goes_by_its_id_as_well(acmes: Company):
    prompt = acmes.prompt("support", "You are kind.")
    for version in (None, 1):
        answer = ask(acmes, prompt={"id": str(prompt.id), "version": version})
        assert answer.headers["x-menhir-prompt-version"] == "support@1"


def test_the_prompts_words_stand_alone_when_there_are_no_messages(acmes: Company):
    acmes.prompt("poem", "Write a poem.")
    acmes.client("inference").chat.completions.create(model="plain", messages=[], extra_body={"prompt": {"id": "poem"}})
    assert heard(acmes)["messages"] == [{"role": "system", "content": "Write a poem."}]


def test_the_very_next_call_is_answered_by_what_was_released(acmes: Company):
    prompt = acmes.prompt("support", "one")
    for text in ("two", "three", "four"):
        ask(acmes, prompt={"id": "support"})
        with tenant_transaction(acmes.tenant):
            version = prompt.add_version(text, by=acmes.person.principal)
            prompt.release(version, by=acmes.person.principal)
        eventually(acmes, text)


def test_what_was_released_is_never_answered_by_what_was_kept_of_another_version(acmes: Company):
    acmes.model("kept", "echo=1000")
    prompt = acmes.prompt("support", "text 1")
    with tenant_transaction(acmes.tenant):
        Route.objects.within(acmes.tenant).filter(name="kept").update(cache_seconds=3600)
        for number in (2, 3):
            prompt.add_version(f"text {number}", by=acmes.person.principal)

    def served() -> tuple[str, str]:
        answer = acmes.client("inference").with_raw_response.chat.completions.create(
            model="kept", messages=[], extra_body={"prompt": {"id": "support"}}
        )
        version = answer.headers["x-menhir-prompt-version"].removeprefix("support@")
        assert answer.parse().choices[0].message.content == f"text {version}"
        return version, answer.headers["x-menhir-cache"]

    assert [served(), served()] == [("1", "miss"), ("1", "hit")]
    for number, how in ((2, "miss"), (1, "hit"), (3, "miss")):
        with tenant_transaction(acmes.tenant):
            prompt.release(number, by=acmes.person.principal)
        for _ in range(50):
            now = served()
            if now[0] == str(number):
                break
        assert now == (str(number), how)
        assert served() == (str(number), "hit")
    assert acmes.upstream.stats.requests == 3


def eventually(company: Company, text: str) -> None:
    """The bell that evicts rings on another connection: it may be a few calls away, and never a second."""
    for _ in range(50):
        ask(company, prompt={"id": "support"})
        if heard(company)["messages"][0]["content"] == text:
            return
    pytest.fail(f"{text!r} was not served")


@pytest.mark.parametrize(("version", "text"), [(1, "one"), ("2", "two"), ("staging", "two"), ("production", "one"), (None, "one")])
def test_a_version_is_named_by_number_or_label(acmes: Company, version: object, text: str):
    prompt = acmes.prompt("support", "one")
    with tenant_transaction(acmes.tenant):
        prompt.release(prompt.add_version("two", by=acmes.person.principal), "staging", by=acmes.person.principal)
    ask(acmes, prompt={"id": "support", "version": version})
    assert heard(acmes)["messages"][0]["content"] == text


@pytest.mark.parametrize(
    ("prompt", "status", "code", "param"),
    [
        ({"id": "absent"}, 404, "prompt_not_found", "prompt.id"),
        ({"id": "a\x00"}, 404, "prompt_not_found", "prompt.id"),
        ({"id": "support", "version": 9}, 404, "prompt_not_found", "prompt.version"),
        ({"id": "support", "version": 2**40}, 404, "prompt_not_found", "prompt.version"),
        ({"id": "support", "version": -1}, 404, "prompt_not_found", "prompt.version"),
        ({"id": "support", "version": "beta"}, 404, "prompt_not_released", "prompt.version"),
        ({"id": "support"}, 400, "missing_variable", "variables.who"),
        ({"id": "support", "variables": {"who": "a", "x": "b"}}, 400, "unknown_variable", "variables.x"),
    ],
)
def test_what_does_not_fit_is_named(acmes: Company, prompt: dict[str, Any], status: int, code: str, param: str):
    acmes.prompt("support", "You are {{ who }}.")
    with pytest.raises(openai.APIStatusError) as refused:
        ask(acmes, prompt=prompt)
    assert (refused.value.status_code, refused.value.code) == (status, code)
    assert refused.value.param == (f"prompt.{param}" if param.startswith("variables") else param)
    assert acmes.upstream.stats.requests == 0


def test_a_withdrawn_label_is_forgotten_at_once(acmes: Company):
    prompt = acmes.prompt("support", "one")
    ask(acmes, prompt={"id": "support"})
    with tenant_transaction(acmes.tenant):
        prompt.withdraw("production", by=acmes.person.principal)
    for _ in range(50):
        try:
            ask(acmes, prompt={"id": "support"})
        except openai.NotFoundError:
            return
    pytest.fail("a withdrawn release is still served")


def test_an_archived_prompt_is_not_served(acmes: Company):
    prompt = acmes.prompt("support", "one")
    with tenant_transaction(acmes.tenant):
        prompt.archive(by=acmes.person.principal)
    with pytest.raises(openai.NotFoundError):
        ask(acmes, prompt={"id": "support", "version": 1})


def test_another_tenants_prompt_and_assistant_are_not_found(acmes: Company, globexs: Company):
    acmes.assistant("guide", acmes.prompt("secret", "The treasure is under the menhir."), "plain")
    for call in ({"prompt": {"id": "secret"}}, {"model": "assistant:guide"}):
        with pytest.raises(openai.NotFoundError) as refused:
            ask(globexs, **call)
        assert "treasure" not in str(refused.value.body)
    assert globexs.upstream.stats.requests == 0


def test_an_assistant_speaks_by_its_prompt_and_its_route(acmes: Company):
    prompt = acmes.prompt("guide", "Guide people to {{ place }}, {{ how }}.")
    acmes.assistant("guide", prompt, "plain", variables={"place": "Carnac", "how": "slowly"})
    answer = ask(acmes, "assistant:guide", metadata={"session_id": "s"}, prompt={"variables": {"how": "quickly"}})
    assert heard(acmes) == {
        "model": "fake",
        "messages": [{"role": "system", "content": "Guide people to Carnac, quickly."}, *QUESTION],
    }
    assert "menhir" not in answer.http_response.json()


def test_an_assistants_prompt_cannot_be_swapped(acmes: Company):
    acmes.prompt("other", "Other.")
    acmes.assistant("guide", acmes.prompt("guide", "Guide."), "plain")
    with pytest.raises(openai.BadRequestError) as refused:
        ask(acmes, "assistant:guide", prompt={"id": "other"})
    assert refused.value.param == "prompt.id"


def test_an_assistant_whose_route_is_gone_says_so(acmes: Company):
    acmes.assistant("guide", acmes.prompt("guide", "Guide."), "absent")
    with pytest.raises(openai.NotFoundError, match="absent"):
        ask(acmes, "assistant:guide")


def test_a_changed_assistant_answers_by_the_change(acmes: Company):
    assistant = acmes.assistant("guide", acmes.prompt("guide", "Guide."), "plain")
    other = acmes.prompt("other", "Other.")
    ask(acmes, "assistant:guide")
    assistant.prompt = other
    with tenant_transaction(acmes.tenant):
        assistant.revise(by=acmes.person.principal)
    for _ in range(50):
        ask(acmes, "assistant:guide")
        if heard(acmes)["messages"][0]["content"] == "Other.":
            return
    pytest.fail("the change was not served")


def test_the_ledger_knows_version_and_assistant(acmes: Company, superuser: str):
    import psycopg

    prompt = acmes.prompt("guide", "Guide.")
    assistant = acmes.assistant("guide", prompt, "plain")
    ask(acmes, "assistant:guide")
    with psycopg.connect(superuser) as connection:
        rows = connection.execute(
            "SELECT model, assistant_id, prompt_version_id FROM metering_call WHERE tenant_id = %s", [acmes.tenant.id]
        ).fetchall()
    with tenant_transaction(acmes.tenant):
        version = prompt.version(1)
    assert rows == [("assistant:guide", assistant.id, version.id)]
