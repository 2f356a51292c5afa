"""The whole of it, as a person sees it: from `up` in an empty home to a cited answer, and everything the issue's walk names."""

from __future__ import annotations

import json
import re
import urllib.request

import psycopg
import pytest
from playwright.sync_api import Page, expect

from menhir.postgres import embedded

from stage.browser import PHONE, WIDE, chromium, picture, sign_in
from stage.servers import Installation, eventually, installation

pytestmark = [pytest.mark.browser, pytest.mark.local, pytest.mark.timeout(420)]
QUESTION = "How do I create an API key?"
READING_SECONDS = 120


@pytest.fixture(scope="module")
def menhir(tmp_path_factory):
    """A fresh installation whose first documents have been read."""
    with installation(tmp_path_factory.mktemp("walk") / "home") as made:
        eventually(
            lambda: _documents(made)["ready"] >= 5 and not _documents(made)["queued"],
            seconds=READING_SECONDS,
            what="the documentation being read",
        )
        yield made


def test_the_walk(menhir: Installation, documents_folder):
    with chromium() as browser:
        page = browser.new_context(viewport=WIDE).new_page()
        errors = _listen_for_errors(page)
        page.goto(menhir.base_url)
        picture(page, "01-sign-in")
        sign_in(page, menhir.base_url, menhir.email, menhir.password)
        expect(page.locator("#question")).to_be_focused()
        picture(page, "02-new-chat")

        answer = _ask(page, QUESTION)
        expect(answer).to_contain_text("New key", timeout=15_000)
        _finished(page)
        picture(page, "03-answer")
        _follow_a_citation(page, answer)

        _upload(page, menhir, documents_folder / "test.docx")
        page.goto(f"{menhir.base_url}/t/first/")
        about_document = _ask(page, "Which large language models agents does AutoGen let work together in conversations?")
        _finished(page)
        expect(about_document.locator(".citation").first).to_be_visible()
        picture(page, "06-answer-from-upload")

        _release(page, menhir, "Begin answers with: Ahoy!")
        page.goto(f"{menhir.base_url}/t/first/")
        changed = _ask(page, QUESTION)
        expect(changed).to_contain_text("Ahoy!", timeout=15_000)
        _finished(page)

        _reload_in_the_middle(page, menhir)
        assert errors == []


def test_on_a_phone(menhir: Installation):
    with chromium() as browser:
        page = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True).new_page()
        errors = _listen_for_errors(page)
        sign_in(page, menhir.base_url, menhir.email, menhir.password)
        _ask(page, QUESTION)
        _finished(page)
        picture(page, "10-phone-answer")
        for path in (
            "/t/first/",
            "/t/first/console/",
            "/t/first/console/keys/",
            "/t/first/console/prompts/docs/",
            "/t/first/console/collections/docs/",
            "/t/first/console/usage/",
        ):
            page.goto(f"{menhir.base_url}{path}")
            picture(page, f"11-phone{path.replace('/', '-')}".rstrip("-"))
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{path} scrolls sideways"
        assert errors == []


def test_the_second_start_takes_seconds_and_keeps_everything(menhir: Installation):
    """The first is still running: its files are what a second start finds."""
    first = json.loads((menhir.home / "first-tenant.json").read_text())
    assert (menhir.home / "first-tenant.json").stat().st_mode & 0o777 == 0o600
    assert set(first) == {"base_url", "tenant", "email", "password", "api_key"}


def _listen_for_errors(page: Page) -> list[str]:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    return errors


def _ask(page: Page, question: str):
    """Type and send; the newest answer's text."""
    page.fill("#question", question)
    page.keyboard.press("Enter")
    page.wait_for_url("**/c/**")
    answer = page.locator("article.answer").last
    expect(answer).to_be_visible()
    return answer


def _finished(page: Page) -> None:
    expect(page.locator("article.answer[aria-busy=true]")).to_have_count(0, timeout=30_000)


def _follow_a_citation(page: Page, answer) -> None:
    citation = answer.locator(".citation").first
    citation.hover()
    expect(page.locator("#preview")).to_be_visible()
    citation.click()
    passage = page.locator("#beside mark")
    expect(passage).to_be_visible()
    expect(passage).to_contain_text("create an API key")
    picture(page, "04-citation")


def _upload(page: Page, menhir: Installation, path) -> None:
    page.goto(f"{menhir.base_url}/t/first/console/collections/docs/")
    page.set_input_files("#files", str(path))
    if page.locator("#upload button.primary").is_visible():
        page.click("#upload button.primary")
    row = page.locator("tr", has_text=path.name).first
    expect(row).to_be_visible(timeout=20_000)
    picture(page, "05-uploading")
    eventually(lambda: not _documents(menhir)["queued"] and not _documents(menhir)["processing"], seconds=60, what="the upload being read")
    expect(page.locator("tr", has_text=path.name).first).to_contain_text(re.compile("ready", re.IGNORECASE), timeout=20_000)
    assert _documents(menhir)["failed"] == 0


def _release(page: Page, menhir: Installation, line: str) -> None:
    page.goto(f"{menhir.base_url}/t/first/console/prompts/docs/")
    editor = page.locator("#editor textarea").first
    editor.fill(f"{editor.input_value()}\n\n{line}\n")
    page.get_by_role("button", name=re.compile("Keep as version")).click()
    picture(page, "07-prompt")
    page.get_by_role("button", name=re.compile("Release version")).click()
    expect(page.get_by_text("in production").first).to_be_visible()
    picture(page, "08-released")


def _reload_in_the_middle(page: Page, menhir: Installation) -> None:
    _slow_down(menhir)
    page.goto(f"{menhir.base_url}/t/first/")
    _ask(page, QUESTION)
    prose = page.locator("article.answer .prose").last
    expect(prose).to_contain_text("open the console", timeout=15_000)
    page.reload(wait_until="domcontentloaded")
    assert "open the console" in prose.inner_text(), "the text so far was not there at once"
    assert page.locator("article.answer[aria-busy=true]").count() == 1, "the answer was over before the reload"
    picture(page, "09-reloaded")
    _finished(page)
    whole = prose.inner_text()
    assert whole.count("open the console") == 1
    assert "nobody can show it to you again" in whole


def _slow_down(menhir: Installation) -> None:
    """Make the built-in model speak slowly enough for somebody to reload a page."""
    secret = (menhir.home / "secret-key").read_text().strip()
    with psycopg.connect(
        embedded.superuser_conninfo(menhir.home / "postgres", secret=secret), dbname=embedded.DATABASE, autocommit=True
    ) as connection:
        tenant = connection.execute(
            """UPDATE gateway_provider SET headers = '{"x-pace-ms": "150"}' WHERE kind = 'extract' RETURNING tenant_id"""
        ).fetchone()[0]
        connection.execute("SELECT pg_notify('menhir_hot', %s)", [f"route {tenant}"])


def _documents(menhir: Installation) -> dict[str, int]:
    request = urllib.request.Request(f"{menhir.base_url}/api/v1/collections/docs", headers={"Authorization": f"Bearer {menhir.api_key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["documents"]
