"""The chat in a real browser: what stays still, what comes back, and what a keyboard reaches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from chat.conftest import begun, cookie_of
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from apps.chat.models import Message
from menhir.tenancy.transaction import tenant_transaction

from stage.browser import PHONE, WIDE, chromium

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser_process() -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch, chromium() as browser:
        # Playwright runs an event loop in this thread, and Django will not read rows beside one; only tests' rows are read here.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield browser


@pytest.fixture
def page_of(browser_process: Browser, server) -> Iterator[Callable[..., Page]]:
    """A signed-in page; whatever the browser complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(person, viewport=WIDE, **options) -> Page:
        context = browser_process.new_context(viewport=viewport, base_url=server.base_url, **options)
        contexts.append(context)
        context.add_cookies([{"name": "menhir_session", "value": cookie_of(person), "url": server.base_url}])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if is_ours(message) else None)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def is_ours(message: ConsoleMessage) -> bool:
    """Whether the browser complains of our pages; axe tries inline styles of its own."""
    return "Content Security Policy" in message.text and "/static/" in message.location.get("url", "")


def address(person, conversation) -> str:
    return f"/t/{person.tenant.slug}/c/{conversation.id}"


def exchange(person, *texts: str):
    conversation = begun(person, title="What stands")
    with tenant_transaction(person.tenant):
        parent = None
        for number, text in enumerate(texts):
            author = "assistant" if number % 2 else "user"
            parent = Message.objects.create(tenant=person.tenant, conversation=conversation, parent=parent, author=author, text=text)
        conversation.head = parent.id if parent else None
        conversation.save()
    return conversation


def answered(page: Page) -> None:
    expect(page.locator("article.answer[aria-busy]")).to_have_count(0)


def ask(page: Page, text: str) -> None:
    page.locator("#question").fill(text)
    page.keyboard.press("Enter")


def test_ask_by_keyboard_and_read_the_answer(page_of, alice, assistant):
    assistant(alice, orders="gap_ms=5")
    page = page_of(alice)
    page.goto(f"/t/{alice.tenant.slug}/")
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.type("First line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/c/"))
    expect(page.locator(".bubble")).to_have_text("First line\nsecond line")
    answered(page)
    expect(page.locator(".answer .prose")).to_contain_text("one standing stone")
    expect(page.locator("#status")).to_have_text("The answer is complete")
    ask(page, "And then?")
    expect(page.locator(".bubble").last).to_have_text("And then?")
    expect(page.locator("article.answer")).to_have_count(2)
    answered(page)
    expect(page.locator("#question")).to_have_value("")
    expect(page.locator("#question")).to_be_focused()


def test_finished_blocks_stay_still_and_a_selection_in_them_survives(page_of, alice, assistant, server):
    conversation = exchange(alice)
    page = page_of(alice)
    page.goto(address(alice, conversation))
    page.wait_for_function("() => document.querySelector('#transcript')")
    kept = page.evaluate(
        """async () => {
          const { become, fragment } = await import("/static/js/chat/morph.js");
          const place = document.createElement("div");
          document.body.append(place);
          become(place, "<p>One <b>two</b></p><pre><code>a\\nb</code></pre>");
          const [p, pre] = place.children;
          const bold = p.querySelector("b");
          getSelection().selectAllChildren(bold);
          become(place, "<p>One <b>two</b></p><pre><code>a\\nbc\\nd</code></pre>");
          const grown = pre.textContent;
          become(place, "<p>One <b>two</b> three</p>");
          return [place.children[0] === p, p.querySelector("b") === bold, getSelection().toString(), grown, place.innerHTML, fragment("<i>x</i>").childNodes.length];
        }"""
    )
    assert kept == [True, True, "two", "a\nbc\nd", "<p>One <b>two</b> three</p>", 1]


def test_escape_stops_and_up_edits(page_of, alice, assistant):
    assistant(alice, orders="gap_ms=30&chunks=1000")
    page = page_of(alice)
    page.goto(address(alice, exchange(alice)))
    ask(page, "Talk for long")
    expect(page.locator(".answer .prose")).to_contain_text("stone")
    expect(page.locator("button.stop")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".ending")).to_have_text("You stopped this answer.")
    expect(page.locator("button.stop")).to_be_hidden()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#question")).to_have_value("Talk for long")
    page.keyboard.type(", please")
    page.keyboard.press("Enter")
    expect(page.locator(".bubble")).to_have_text("Talk for long, please")
    expect(page.locator(".question .versions")).to_contain_text("2 of 2")
    expect(page.locator(".answer .prose")).to_contain_text("stone")
    page.keyboard.press("Escape")
    expect(page.locator(".ending")).to_be_visible()
    page.get_by_role("button", name="Previous version").first.click()
    expect(page.locator(".bubble")).to_have_text("Talk for long")
    expect(page.locator(".answer .prose")).to_contain_text("stone")


def test_a_reload_and_a_second_tab_show_the_same_live_answer(page_of, alice, assistant):
    assistant(alice, orders="gap_ms=25&chunks=160")
    one, other = page_of(alice), page_of(alice, PHONE)
    where = address(alice, exchange(alice))
    one.goto(where)
    other.goto(where)
    ask(one, "Talk")
    expect(other.locator(".bubble")).to_have_text("Talk")
    expect(one.locator(".answer .prose")).to_contain_text("one standing stone")
    before = one.locator(".answer .prose").inner_text()
    one.reload()
    at_once = one.locator(".answer .prose").inner_text()
    assert len(at_once) >= len(before.strip()) - 1
    assert one.locator(".answer[aria-busy]").count() == 1
    answered(one)
    answered(other)
    assert one.locator(".answer .prose").inner_text() == other.locator(".answer .prose").inner_text()
    assert len(one.locator(".answer .prose").inner_text().split()) == 160


def test_a_lost_connection_says_so_comes_back_and_loses_nothing(page_of, alice, assistant):
    assistant(alice, orders="gap_ms=25&chunks=200")
    page = page_of(alice)
    page.goto(address(alice, exchange(alice)))
    ask(page, "Talk")
    expect(page.locator(".answer .prose")).to_contain_text("one standing stone")
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator("#connection")).to_be_hidden()
    answered(page)
    assert len(page.locator(".answer .prose").inner_text().split()) == 200
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_be_visible()
    ask(page, "Asked while away")
    page.context.set_offline(False)
    expect(page.locator(".bubble").last).to_have_text("Asked while away")
    expect(page.locator(".bubble")).to_have_count(2)


def test_the_view_follows_the_end_only_while_the_reader_is_there(page_of, alice, assistant):
    assistant(alice, orders="gap_ms=15&chunks=600")
    page = page_of(alice, {"width": 800, "height": 500})
    page.goto(address(alice, exchange(alice, *(f"Text {number}\n\n" + "words " * 100 for number in range(6)))))
    ask(page, "Talk")
    is_at_end = "() => { const s = document.querySelector('#scroll'); return s.scrollHeight - s.scrollTop - s.clientHeight < 5; }"
    page.wait_for_function("() => document.querySelector('.answer[data-run] .prose')?.textContent.length > 400")
    assert page.evaluate(is_at_end)
    page.locator("#scroll").hover()
    page.mouse.wheel(0, -300)
    expect(page.locator("#more-below")).to_be_visible()
    page.wait_for_function(  # until the wheel's smooth scrolling is over
        """() => new Promise((resolve) => {
          const box = document.querySelector("#scroll");
          const before = box.scrollTop;
          setTimeout(() => resolve(box.scrollTop === before), 150);
        })"""
    )
    place = page.evaluate("document.querySelector('#scroll').scrollTop")
    length = page.evaluate("document.querySelector('.answer[data-run] .prose').textContent.length")
    page.wait_for_function(f"() => document.querySelector('.answer[data-run] .prose').textContent.length > {length} + 300")
    assert page.evaluate("document.querySelector('#scroll').scrollTop") == place
    page.locator("#more-below").click()
    page.wait_for_function(is_at_end)
    expect(page.locator("#more-below")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator(".ending")).to_be_visible()


def test_earlier_messages_come_on_demand_without_moving_what_one_reads(page_of, alice):
    page = page_of(alice)
    page.goto(address(alice, exchange(alice, *(f"Message {number}" for number in range(80)))))
    expect(page.locator("[data-message]")).to_have_count(30)
    expect(page.get_by_text("Message 79", exact=True)).to_be_in_viewport()
    page.locator("#older").click()
    expect(page.locator("[data-message]")).to_have_count(60)
    page.locator("#older").click()
    expect(page.locator("[data-message]")).to_have_count(80)
    expect(page.locator("#older")).to_have_count(0)
    expect(page.locator("[data-message]").first).to_contain_text("Message 0")


def test_copy_buttons_copy(page_of, alice):
    text = "Take this:\n\n```python\nprint('x')\n```\n"
    page = page_of(alice, permissions=["clipboard-read", "clipboard-write"])
    page.goto(address(alice, exchange(alice, "Q", text)))
    page.get_by_role("button", name="Copy", exact=True).click()
    page.wait_for_function("async () => await navigator.clipboard.readText() === \"print('x')\\n\"")
    page.get_by_role("button", name="Copy the answer").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).startsWith('Take this:')")


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(page_of, alice, assistant, viewport, scheme):
    assistant(alice)
    rich = (
        "# A\n\nSome `code` and **bold**.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\n"
        + "x = 'long' * 3 " * 20
        + "\n```\n\n> quoted\n\n"
        + "W" * 300
    )
    conversation = exchange(alice, "Q" * 300, rich)
    page = page_of(alice, viewport, color_scheme=scheme, reduced_motion="reduce")
    for where in [address(alice, conversation), f"/t/{alice.tenant.slug}/", f"/t/{alice.tenant.slug}/conversations?q=code"]:
        page.goto(where)
        found = Axe().run(page, options={"preload": False})
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_shortcuts_are_shown_and_search_is_reached(page_of, alice, assistant):
    assistant(alice)
    page = page_of(alice)
    page.goto(address(alice, exchange(alice, "Q", "A")))
    page.locator("#question").evaluate("element => element.blur()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Edit the last question")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.locator("#question").focus()
    page.keyboard.type("?/")
    expect(page.locator("#question")).to_have_value("?/")
    page.reload()
    expect(page.locator("#question")).to_have_value("?/")


def test_a_question_among_earlier_messages_goes_to_the_end(page_of, alice, assistant):
    assistant(alice)
    conversation = exchange(alice, *(f"Message {number}" for number in range(80)))
    page = page_of(alice)
    page.goto(address(alice, conversation))
    page.goto(address(alice, conversation) + page.locator("#older").get_attribute("href"))
    expect(page.get_by_text("To the newest messages")).to_be_attached()
    ask(page, "From above")
    expect(page.locator(".bubble").last).to_have_text("From above")
    expect(page.get_by_text("Message 79", exact=True)).to_be_attached()


def test_an_empty_field_sends_nothing(page_of, alice, assistant):
    assistant(alice)
    page = page_of(alice)
    page.goto(address(alice, exchange(alice, "Q", "A")))
    ask(page, "   ")
    ask(page, "Real")
    expect(page.locator(".bubble")).to_have_count(2)
    expect(page.locator(".bubble").last).to_have_text("Real")
    answered(page)
    expect(page.locator(".toast")).to_have_count(0)


def test_a_deleted_chat_comes_back(page_of, alice, assistant):
    assistant(alice)
    page = page_of(alice)
    page.goto(address(alice, exchange(alice, "Q", "The answer")))
    page.get_by_label("This chat").click()
    page.get_by_role("button", name="Delete this chat").click()
    expect(page.get_by_text("“What stands” was deleted.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("The answer", exact=True)).to_be_visible()
