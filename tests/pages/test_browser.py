"""A real browser goes through every page as every role: in both languages, narrow and wide, light and dark.

By keyboard too. axe (through axe-playwright-python) looks for what keeps people out; nothing may scroll sideways; and
since no page has a script, all of it works without JavaScript.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright

from devstack.postgres import Postgres
from hub.accounts import Role
from hub.web.pages.language import LANGUAGES
from tests.connectors.serving import served
from tests.pages.hall import PASSWORD, SECRET, Hall, number_of, open_hall
from tests.pages.test_pages import MATRIX

pytestmark = [pytest.mark.anyio, pytest.mark.needs("chromium")]
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
CHROMIUM = "/usr/bin/chromium"
# A phone, and the monitor in the hall; the one in the light and the other in the dark.
NARROW, WIDE = (360, 780, "light"), (1920, 1080, "dark")
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# What sticks out of its box though it may not be scrolled there.
CLIPPED = """() => [...document.querySelectorAll('main *, header *, footer *')]
    .filter(one => one.scrollWidth > one.clientWidth + 2 && getComputedStyle(one).overflowX === 'hidden'
        && one.clientWidth > 1).map(one => one.outerHTML.slice(0, 80))"""
FOCUSED = "() => { const one = document.activeElement; return one.id || one.textContent.trim() || one.tagName; }"
PRIVATE: dict[Role, list[str]] = {
    role: [path for path, roles in MATRIX.items() if roles != MATRIX["/"] and role in roles and "." not in path]
    for role in Role
}

PUBLIC = [path for path, roles in MATRIX.items() if roles == MATRIX["/"] and "." not in path]


@dataclass
class Visit:
    """The pages as they are served, and the browser."""

    hall: Hall
    address: str
    browser: Browser

    async def enter(self, role: Role | None, width: int, height: int, scheme: str, *, scripts: bool = False) -> Page:
        """Open a window and sign in as somebody does: by the form."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=scripts,
            locale="en",
        )
        page = await context.new_page()
        page.set_default_timeout(30_000)
        if role is Role.APPLICANT:
            await page.goto(f"{self.address}/status")
            await page.fill("#application", number_of("payment_due"))
            await page.fill("#secret", SECRET)
        elif role is not None:
            await page.goto(f"{self.address}/sign-in")
            await page.fill("#name", role.value)
            await page.fill("#password", PASSWORD)
        if role is not None:
            await page.click("main button")
        return page


@pytest.fixture(scope="module")
async def visit(postgres_server: Postgres) -> AsyncIterator[Visit]:
    """Serve the hall, with something refused and something that differs, and start the browser."""
    dsn = postgres_server.create_database()
    async with (
        open_hall(dsn, dsn, "http://127.0.0.1") as hall,
        served(hall.app) as address,
        async_playwright() as player,
    ):
        bri = hall.exchange.bri
        await hall.exchange.take(bri.sign(bri.paid("820269900000001", amount="-1.00")))
        browser = await player.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield Visit(hall, address, browser)
        await browser.close()
    postgres_server.drop_database(dsn)


async def look(page: Page, address: str, path: str, language: str) -> None:
    """Look at one page as it stands there."""
    answer = await page.goto(f"{address}{path}?lang={language}")
    assert answer is not None
    assert answer.status in (200, 404), path
    place = f"{path} {language} {page.viewport_size}"
    assert await page.get_attribute("html", "lang") == language, place
    assert await page.evaluate(SIDEWAYS) <= 0, f"{place} scrolls sideways"
    assert await page.evaluate(CLIPPED) == [], place
    found = await Axe().run(page)
    assert [(one["id"], one["nodes"][0]["html"]) for one in found.response["violations"]] == [], place


@pytest.mark.parametrize("role", [None, *(role for role in Role if PRIVATE[role])])
async def test_every_page_is_there_for_everybody(visit: Visit, role: Role | None) -> None:
    paths = PUBLIC if role is None else PRIVATE[role]
    for width, height, scheme in (NARROW, WIDE):
        page = await visit.enter(role, width, height, scheme, scripts=True)
        for path in [*paths, "/nowhere"] if role is None else paths:
            for language in LANGUAGES:
                await look(page, visit.address, path, language)
        await page.context.close()


async def test_a_recommendation_is_looked_up_by_keyboard_alone(visit: Visit) -> None:
    page = await visit.enter(Role.IMMIGRATION, *NARROW)
    await page.goto(f"{visit.address}/recommendation")
    await page.focus("#application")
    await page.keyboard.type(number_of("at_immigration"))
    await page.keyboard.press("Tab")
    await page.keyboard.type("Visa application 4711")
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Valid now").wait_for()
    await page.get_by_text("Approved by the ministry").wait_for()
    await page.context.close()


async def test_the_first_key_skips_the_navigation_and_focus_is_seen(visit: Visit) -> None:
    page = await visit.enter(None, *NARROW, scripts=True)
    await page.goto(visit.address)
    await page.keyboard.press("Tab")
    assert await page.evaluate(FOCUSED) == "Skip to the content"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    seen = []
    for _ in range(9):
        await page.keyboard.press("Tab")
        assert await page.evaluate(outline) == "solid"
        seen.append(await page.evaluate(FOCUSED))
    assert len(set(seen)) == len(seen)
    await page.context.close()


async def test_an_applicant_finds_the_own_file_without_scripts_and_signs_out(visit: Visit) -> None:
    page = await visit.enter(Role.APPLICANT, *NARROW)
    await page.get_by_role("heading", name="Payment due").wait_for()
    assert number_of("payment_due") not in page.url
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url(f"{visit.address}/")
    await page.goto(f"{visit.address}/status/file")
    assert page.url == f"{visit.address}/status"
    await page.context.close()


async def test_what_is_filed_prints_without_navigation(visit: Visit) -> None:
    page = await visit.enter(Role.APPLICANT, *WIDE)
    await page.emulate_media(media="print")
    shown = await asyncio.gather(*(page.locator(one).first.is_visible() for one in (".nav", ".above", "h1", ".thread")))
    assert shown == [False, False, True, True]
    await page.context.close()
