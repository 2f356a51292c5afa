"""Whatever people write into names, titles and texts is shown as they wrote it, and runs nowhere."""

from __future__ import annotations

import pytest
from console.conftest import Console, words

from apps.assistants.models import Assistant
from apps.chat.models import Citation, Conversation, Message
from apps.knowledge.models import Collection, Document
from apps.prompts.models import Prompt
from menhir.metering.limits.models import Limit
from menhir.postgres.ids import uuid7
from menhir.tenancy.models import ApiKey, Tenant, TokenIssuer
from menhir.tenancy.transaction import tenant_transaction

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7|add:7 }}"
ANSWER = f"{EVIL}\n\n[a](javascript:alert(3)) ![b](data:text/html,x) <svg/onload=alert(4)> [1]\n\n```<b>\n{EVIL}\n```"


@pytest.fixture
def infested(console: Console) -> Console:
    """Every name in Acme is an attempt."""
    tenant, by = console.owner.tenant, console.owner.principal
    with tenant_transaction(tenant):
        Tenant.objects.filter(id=tenant.id).update(name=EVIL)
        ApiKey.objects.within(tenant).update(name=EVIL[:80])
        Prompt.objects.within(tenant).update(name=EVIL, created_by=EVIL)
        console.prompt.add_version(f"{EVIL[:-16]} {{{{ product }}}}", note=EVIL, by=by)
        Assistant.objects.within(tenant).update(name=EVIL, description=EVIL)
        Collection.objects.within(tenant).update(name=EVIL)
        Document.objects.within(tenant).update(title=EVIL, external_id=EVIL, filename=EVIL, failure=EVIL, status="failed", text=EVIL)
        TokenIssuer.objects.within(tenant).update(name=EVIL[:80], issuer=EVIL)
        Limit.objects.within(tenant).update(subject_id=EVIL)
        talk = Conversation.objects.create(tenant=tenant, owner=console.owner.user, title=EVIL, model="assistant:docs")
        asked = talk.messages.create(tenant=tenant, author="user", text=EVIL)
        answer = talk.messages.create(tenant=tenant, author="assistant", parent=asked, text=ANSWER, passages=1)
        Citation.objects.create(
            tenant=tenant, message=answer, number=1, chunk=uuid7(), document=console.document.id, title=EVIL, start=0, end=1, text=EVIL
        )
        Conversation.objects.within(tenant).filter(id=talk.id).update(head=answer.id)
        assert Message.objects.within(tenant).count() == 2
    console.owner.user.name = EVIL
    console.owner.user.save()
    return console


def test_no_page_runs_what_a_name_says(infested: Console) -> None:
    browser, tenant = infested.owner.browser(), infested.owner.tenant
    with tenant_transaction(tenant):
        talk = Conversation.objects.within(tenant).get()
    chat = ["", f"c/{talk.id}", "conversations", "conversations?q=alert", f"documents/{infested.document.id}"]
    pages = [*infested.pages, infested.at("prompts/greeting/compare?from=1&to=3"), *(f"/t/{tenant.slug}/{path}" for path in chat)]
    shown = 0
    for page in pages:
        answer = browser.get(page)
        assert answer.status_code == 200, page
        text = words(answer)
        shown += "alert(1)" in text
        for part in ("<script>alert", "<img src=x", "<svg/onload", 'href="javascript:', 'href="data:', "14}}"):
            assert part not in text, (page, part)
    assert shown > 20


def test_exports_run_nothing_either(infested: Console) -> None:
    tenant = infested.owner.tenant
    with tenant_transaction(tenant):
        Collection.objects.within(tenant).update(name="\n=cmd|' /C calc'!A0")
        Document.objects.within(tenant).update(title="=1+1", external_id="\uff1d1+1")
    browser = infested.owner.browser()
    for page, risky in ((infested.at("collections/?format=csv"), "\n=cmd"), (infested.at("collections/handbook/?format=csv"), "=1+1")):
        answer = browser.get(page)
        assert answer["content-disposition"].startswith("attachment;")
        assert f"'{risky}" in words(answer)
        assert f",{risky}" not in words(answer)
