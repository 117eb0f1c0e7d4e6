"""Connecting a partner in a real browser: its own rules on cookies, redirects and policies hold here."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.functions.oauth import COOKIE, Server, connection, new_link, oauth_partner, orders, put_settings
from tests.functions.stack import Connect, Connected, Headers
from tests.services import eventually


@pytest.fixture
def server(partner_url: str) -> Server:
    return Server(partner_url)


@pytest.fixture
def shop(api: httpx.Client, admin: Headers, connect: Connect, server: Server) -> Connected:
    partner = oauth_partner(connect, server.url)
    put_settings(api, admin, partner, server.settings())
    server.behaves(ask=True, expires_in=2)
    return partner


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    """It fails the test by itself when the browser had to keep our policy against our own page."""
    opened = browser.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    yield opened
    assert [text for text in complaints if "Content Security Policy" in text] == []


def assert_readable(page: Page, heading: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    assert page.title() == f"{heading} · PinkSync"
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.evaluate("document.scripts.length") == 0
    assert page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "544px"  # the style is taken


def test_a_person_connects_a_partner_and_its_api_is_reached_for_good(
    api: httpx.Client, admin: Headers, shop: Connected, server: Server, page: Page
):
    page.goto(new_link(api, admin, shop))
    assert page.url.startswith(server.url)
    page.get_by_role("button", name="Approve").click()
    assert_readable(page, "Authorization successful")
    (cookie,) = [each for each in page.context.cookies() if each.get("name") == COOKIE]
    assert (cookie.get("httpOnly"), cookie.get("secure"), cookie.get("sameSite")) == (True, True, "Lax")
    assert orders(api, admin, shop).status_code == 200
    ends = datetime.fromisoformat(connection(api, admin, shop)["expires_at"])
    eventually(lambda: datetime.now(UTC) > ends)
    assert orders(api, admin, shop).status_code == 200
    assert server.counts()["refreshes"] >= 1
    page.reload()
    assert_readable(page, "Authorization failed")
    expect(page.locator("code")).to_have_text("state_used")


def test_a_person_who_says_no_is_told_so_in_our_words(api: httpx.Client, admin: Headers, shop: Connected, page: Page):
    page.goto(new_link(api, admin, shop))
    page.get_by_role("button", name="Deny").click()
    assert_readable(page, "Authorization failed")
    expect(page.locator("code")).to_have_text("access_denied")
    expect(page.locator("body")).not_to_contain_text("The person said no")
    assert connection(api, admin, shop)["status"] == "disconnected"
