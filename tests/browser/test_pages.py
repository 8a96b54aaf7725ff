"""Every page, looked at by a real browser: sound at three widths, light and dark, for eyes, screen readers and slow lines."""

import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from penstock.console.pages import PAGES
from tests.acceptance.serving import Serving
from tests.conftest import service_missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATHS = [page.path for page in PAGES]
MOST_SCRIPT = 60_000
MOST_PAGE = 150_000
WATCH = """
window.seen = { shift: 0, violations: [] };
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) if (!each.hadRecentInput) window.seen.shift += each.value;
}).observe({ type: "layout-shift", buffered: true });
document.addEventListener("securitypolicyviolation", (event) => {
  window.seen.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


@contextmanager
def looking(browser: "Browser", console: Serving, **how: Any) -> "Iterator[tuple[Page, list[str]]]":
    """A page of a fresh browser profile, and what its console has complained of."""
    context = browser.new_context(
        base_url=console.address, **{"viewport": {"width": 1440, "height": 900}, "timezone_id": "Asia/Tokyo", **how}
    )
    complaints: list[str] = []
    try:
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script(WATCH)
        yield page, complaints
    finally:
        context.close()


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_pages_fit_and_stay_still(browser: "Browser", console: Serving, width: int) -> None:
    with looking(browser, console, viewport={"width": width, "height": 900}) as (page, complaints):
        for path in PATHS:
            page.goto(path)
            page.wait_for_timeout(150)
            seen = page.evaluate(
                "({...window.seen, wide: document.documentElement.scrollWidth, shown: document.documentElement.clientWidth})"
            )
            assert seen["wide"] <= seen["shown"], f"{path} scrolls sideways at {width}"
            assert seen["shift"] < 0.02, f"{path} moves while it loads"
            assert not seen["violations"], path
            assert not complaints, path
            assert page.locator("h1").count() == 1
            assert page.locator("main .answer").inner_text().strip()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_for_everybody(browser: "Browser", console: Serving, scheme: str) -> None:
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError as error:
        service_missing("axe-playwright-python", error)
    with looking(browser, console, color_scheme=scheme) as (page, _):
        for path in PATHS:
            page.goto(path)
            page.wait_for_timeout(100)
            found = Axe().run(page).response["violations"]
            assert not [(each["id"], each["nodes"][0]["html"][:200], each["nodes"][0]["failureSummary"][:300]) for each in found], path


@pytest.mark.parametrize("path", PATHS)
def test_pages_are_small(console: Serving, path: str) -> None:
    html = console.request("GET", path, headers={"accept": "text/html"})
    assert html.status == 200
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', html.body.decode())
    sent = {file: console.request("GET", file, headers={"accept-encoding": "gzip"}) for file in files}
    assert len(sent) >= 5
    for file, answer in sent.items():
        assert answer.headers.get("content-encoding") == "gzip" or len(answer.body) < 500, file
        assert "immutable" in answer.headers["cache-control"]
    script = sum(len(answer.body) for file, answer in sent.items() if file.endswith(".js"))
    assert script <= MOST_SCRIPT
    assert (
        script + sum(len(each.body) for file, each in sent.items() if not file.endswith(".js")) + len(gzip.compress(html.body)) <= MOST_PAGE
    )


def test_pages_are_read_without_script(browser: "Browser", console: Serving) -> None:
    with looking(browser, console, java_script_enabled=False) as (page, _):
        for path in PATHS:
            page.goto(path)
            assert page.locator("main .answer").inner_text().strip()
            links = page.locator("header nav a")
            assert links.count() == len(PATHS)
            links.nth(1).click()
            assert page.url == f"{console.address}{PATHS[1]}"


def test_keys_reach_everything(browser: "Browser", console: Serving) -> None:
    with looking(browser, console) as (page, _):
        for path in PATHS:
            page.goto(path)
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.className") == "skip"
            page.keyboard.press("Enter")
            assert page.evaluate("document.activeElement.id") == "page"
            if page.locator("[data-filter]").count():
                page.keyboard.press("/")
                assert page.evaluate("'filter' in document.activeElement.dataset")


def test_clock_is_the_servers_not_the_readers(browser: "Browser", console: Serving) -> None:
    with looking(browser, console, timezone_id="Pacific/Auckland") as (page, _):
        page.goto("/")
        there = page.evaluate(
            "new Date().toLocaleString('en-GB', {timeZone: 'America/New_York', weekday: 'long', day: 'numeric', month: 'long'})"
        )
        line = page.locator(".dateline").inner_text()
        assert line.startswith(there.replace(",", ""))
        assert line.endswith("America/New_York")
