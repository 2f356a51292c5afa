"""A prompt is written, tried, compared and released."""

from __future__ import annotations

from console.conftest import TEXT, Console, words

from apps.prompts.models import Prompt
from menhir.tenancy.transaction import tenant_transaction


def served(console: Console) -> int:
    with tenant_transaction(console.owner.tenant):
        prompt = Prompt.objects.within(console.owner.tenant).get(slug="greeting")
        return prompt.releases.select_related("version").get(label="production").version.number


def test_a_release_changes_what_is_served_and_says_for_whom(console: Console) -> None:
    browser = console.owner.browser()
    page = words(browser.get(console.at("prompts/greeting/")))
    assert "Release version 2" in page
    assert "<strong>Docs</strong>" in page
    assert served(console) == 1
    done = browser.post(console.at("prompts/greeting/versions/2/release"), follow=True)
    assert "release version 1 again" in words(done)
    assert served(console) == 2


def test_saving_keeps_a_version_and_serves_nothing_by_it(console: Console) -> None:
    browser = console.owner.browser()
    saved = browser.post(console.at("prompts/greeting/save"), {"text": "Hello {{ name }}.\r\nBye.", "note": "Short"}, follow=True)
    assert "Version 3 is kept" in words(saved)
    assert served(console) == 1
    with tenant_transaction(console.owner.tenant):
        assert console.prompt.version(3).text == "Hello {{ name }}.\nBye."


def test_a_text_that_does_not_parse_stays_in_the_editor_with_the_reason(console: Console) -> None:
    refused = console.owner.browser().post(console.at("prompts/greeting/save"), {"text": "Hello {{ name"})
    assert refused.status_code == 422
    assert "Hello {{ name" in words(refused)
    assert "Line 1" in words(refused)


def test_the_preview_fills_in_sample_values_and_keeps_nothing(console: Console) -> None:
    browser = console.owner.browser()
    given = {"text": "For {{ product }}, by {{ who }}.", "var.product": "<b>Menhir</b>"}
    page = words(browser.post(console.at("prompts/greeting/preview"), given))
    assert "For &lt;b&gt;Menhir&lt;/b&gt;, by {{ who }}." in page
    part = browser.post(console.at("prompts/greeting/preview"), given, headers={"hx-request": "true"})
    assert words(part).lstrip().startswith('<div id="preview"')
    with tenant_transaction(console.owner.tenant):
        assert console.prompt.versions.count() == 2


def test_versions_are_compared_word_by_word(console: Console) -> None:
    page = words(console.owner.browser().get(console.at("prompts/greeting/compare?from=1&to=2")))
    assert "<ins> and kind</ins>" in page
    assert "1 lines came" in page
    assert console.owner.browser().get(console.at("prompts/greeting/compare?from=9&to=2")).status_code == 404


def test_a_new_prompt_begins_with_a_version(console: Console) -> None:
    browser = console.owner.browser()
    refused = browser.post(console.at("prompts/new"), {"slug": "other", "text": "{% for x in y %}{{ x }}{% endfor %}"})
    assert "loops" in words(refused)
    assert "already" in words(browser.post(console.at("prompts/new"), {"slug": "greeting", "text": TEXT}))
    made = browser.post(console.at("prompts/new"), {"slug": "other", "name": "Other", "text": TEXT})
    assert made["location"] == console.at("prompts/other/")


def test_archiving_names_who_loses_it_and_can_be_taken_back(console: Console) -> None:
    browser, address = console.owner.browser(), console.at("prompts/greeting/archive")
    assert "<strong>Docs</strong>" in words(browser.get(address))
    browser.post(address)
    assert "Greeting" not in words(browser.get(console.at("prompts/"))).replace("“Greeting” is archived", "")
    assert "refused until it is taken back" in words(browser.get(console.at("prompts/greeting/")))
    browser.post(address)
    assert "Greeting" in words(browser.get(console.at("prompts/")))
