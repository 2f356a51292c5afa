"""The console in a real browser: it fits a phone and a desk, axe finds nothing, and its small scripts do their work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from console.conftest import Calls, Console
from playwright.sync_api import ConsoleMessage, Page, expect

from stage.browser import PHONE, WIDE, chromium, picture, sign_in
from stage.servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
# The browser waits for assertions anyway; this bounds what would otherwise be 30 s each.
PATIENCE_MS = 10_000
ACCOUNT_PAGES = ["/accounts/password/change/", "/accounts/2fa/", "/accounts/logout/"]
SIDEWAYS = """() => [...document.querySelectorAll('body *')]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.table-wrap, pre, .tabs, .visually-hidden'))
    .slice(0, 3).map(one => one.outerHTML.slice(0, 160))"""


@pytest.fixture
def site(web: Callable[..., Server]) -> str:
    """Where Menhir answers."""
    base_url: str = web().base_url  # type: ignore[attr-defined]
    return base_url


@pytest.fixture
def open_page(site: str, console: Console) -> Iterator[Callable[..., Page]]:
    """Opens a signed-in page in a window of some size; complaints of the browser fail the test."""
    complaints: list[str] = []
    with chromium() as browser:

        def opened(viewport: dict[str, int], **options: Any) -> Page:
            page = browser.new_context(viewport=viewport, base_url=site, **options).new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("console", lambda message: complaints.append(f"{message.text} {message.location}") if is_ours(message) else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            sign_in(page, site, console.owner.email, console.owner.password)
            return page

        yield opened
    assert complaints == []


def is_ours(message: ConsoleMessage) -> bool:
    """Whether a complaint is about our pages; axe itself tries inline styles."""
    return message.type in {"error", "warning"} and "Applying inline style" not in message.text


def violations(page: Page) -> list[Any]:
    """What axe finds, each with the first place."""
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in Axe().run(page, options={"preload": False}).response["violations"]]


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["desk", "phone"])
def test_every_page_fits_and_is_accessible(open_page: Callable[..., Page], console: Console, viewport: dict[str, int], scheme: str) -> None:
    page = open_page(viewport, color_scheme=scheme)
    wrong: dict[str, Any] = {}
    for path in [*console.pages, *ACCOUNT_PAGES]:
        page.goto(path)
        sideways = page.evaluate("document.documentElement.scrollWidth > innerWidth") and page.evaluate(SIDEWAYS)
        if (found := violations(page)) or sideways:
            wrong[path] = (sideways, found)
    assert wrong == {}


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "dark"), (PHONE, "light")], ids=["desk", "phone"])
def test_calls_fit_and_are_found_by_filter(calls: Calls, open_page: Callable[..., Page], viewport: dict[str, int], scheme: str) -> None:
    # In this order: Playwright's loop runs from `open_page` on, and the calls want one of their own.
    page = open_page(viewport, color_scheme=scheme)
    wrong: dict[str, Any] = {}
    for number, path in enumerate(calls.pages):
        page.goto(path)
        page.evaluate("for (const one of document.querySelectorAll('main details')) one.open = true")
        sideways = page.evaluate("document.documentElement.scrollWidth > innerWidth") and page.evaluate(SIDEWAYS)
        if (found := violations(page)) or sideways:
            wrong[path] = (sideways, found)
        picture(page, f"calls-{number}-{viewport['width']}-{scheme}")
    assert wrong == {}
    page.goto(calls.console.at("calls/"))
    page.get_by_label("Outcome").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".table.calls tbody tr")).to_have_count(1)
    page.locator(".table.calls tbody a").click()
    expect(page.locator("main")).to_contain_text("It ended with 502, upstream_unavailable.")


def test_the_sign_in_page_is_accessible(site: str) -> None:
    with chromium() as browser:
        page = browser.new_context(viewport=PHONE, base_url=site).new_page()
        page.goto("/accounts/login/")
        assert violations(page) == []
        expect(page.locator("input[name=login]")).to_be_focused()


def test_the_menu_is_a_sheet_on_a_phone(open_page: Callable[..., Page], console: Console) -> None:
    page = open_page(PHONE)
    page.goto(console.at())
    menu = page.locator("#sidebar")
    expect(menu).to_be_hidden()
    page.get_by_role("button", name="Open the menu").click()
    expect(menu).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    page.get_by_role("button", name="Open the menu").click()
    menu.get_by_role("link", name="API keys").click()
    expect(page.get_by_role("heading", name="API keys")).to_be_visible()


def test_a_chosen_theme_stays(open_page: Callable[..., Page], console: Console) -> None:
    page = open_page(WIDE, color_scheme="light")
    page.goto(console.at())
    page.locator(".sidebar-foot summary").click()
    switch = page.locator("[data-theme-switch]")
    switch.click()
    switch.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto(console.at("keys/"))
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(21, 23, 22)"


def test_a_reload_does_not_make_a_second_key(open_page: Callable[..., Page], console: Console) -> None:
    page = open_page(WIDE)
    page.goto(console.at("keys/new"))
    page.fill("[name=name]", "By hand")
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#key")).to_have_value("mh_live_" + page.input_value("#key")[8:])
    assert page.url.endswith("/console/keys/")
    page.reload()
    expect(page.get_by_role("row", name="By hand")).to_have_count(1)


def test_the_preview_comes_without_leaving_the_page(open_page: Callable[..., Page], console: Console) -> None:
    page = open_page(WIDE)
    page.goto(console.at("prompts/greeting/"))
    page.fill("textarea[name=text]", "Hello {{ who }}.")
    preview = page.get_by_role("button", name="Preview")
    preview.click()
    expect(page.locator("#preview mark.variable, #preview pre")).not_to_have_count(0)
    page.fill("[name='var.who']", "world")
    preview.click()
    expect(page.locator("#preview pre")).to_have_text("Hello world.")
    expect(page.locator("textarea[name=text]")).to_have_value("Hello {{ who }}.")


def test_dropped_files_are_sent(open_page: Callable[..., Page], console: Console) -> None:
    page = open_page(WIDE)
    page.goto(console.at("collections/handbook/"))
    page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(["Two weeks of notice."], "notice.txt", { type: "text/plain" }));
            document.querySelector("#upload").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }"""
    )
    expect(page.get_by_role("row", name="notice.txt")).to_be_visible()
    expect(page.locator(".toast")).to_contain_text("1 file is kept")
