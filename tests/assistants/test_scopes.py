"""What a key may name: with `inference` alone it asks models and assistants, and opens no collection that none of them looks into."""

from __future__ import annotations

import httpx2
import openai
import pytest
from assistants.conftest import Company

QUESTION = [{"role": "user", "content": "What is the salary?"}]


@pytest.fixture
def closed(acmes: Company) -> Company:
    """Acme has an assistant for its handbook, and a collection that is nobody else's business."""
    handbook = acmes.learn("handbook", holidays="There are thirty days of holidays.")
    acmes.learn("payroll", salaries="The salary of the boss is a secret number.")
    acmes.assistant("docs", acmes.prompt("docs", "Answer."), acmes.extract(), collections=[handbook])
    return acmes


@pytest.mark.parametrize("model", ["plain", "assistant:docs"])
@pytest.mark.parametrize("slug", ["payroll", "no-such-thing"])
def test_inference_alone_opens_no_other_collection_and_learns_of_none(closed: Company, model: str, slug: str):
    more = {"menhir": {"collections": [slug]}}
    with pytest.raises(openai.PermissionDeniedError) as refused:
        closed.client("inference").chat.completions.create(model=model, messages=QUESTION, extra_body=more)
    assert "knowledge:read" in refused.value.message


def test_it_may_name_what_the_assistant_looks_into(closed: Company):
    more = {"menhir": {"collections": ["handbook"]}}
    assert closed.client("inference").chat.completions.create(model="assistant:docs", messages=QUESTION, extra_body=more)


def test_who_may_read_may_name_any(closed: Company):
    more = {"menhir": {"collections": ["payroll"]}}
    answer = closed.client("inference", "knowledge:read").chat.completions.create(
        model="assistant:docs", messages=QUESTION, extra_body=more
    )
    assert "secret number" in answer.model_extra["menhir"]["passages"][0]["text"]


def test_a_query_says_403_too(closed: Company):
    headers = {"authorization": f"Bearer {closed.person.key('inference')}"}
    body = {"question": "What is the salary?", "collection": "payroll"}
    answer = httpx2.post(f"{closed.server.base_url}/api/v1/query", json=body, headers=headers)
    assert answer.status_code == 403
    assert "secret" not in answer.text
