"""Requests in a real browser: the live tail fills the list, one request explains itself, a closed ledger opens again by itself."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.serving import Serving
from tests.browser.conftest import served
from tests.browser.ledger import HOSTILE
from tests.browser.test_pages import looking
from tests.conftest import service_missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CALL = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}).encode()


def call(console: Serving, team: str) -> str:
    """One model call; its id."""
    headers = {"content-type": "application/json", "penstock-tag-team": team, "penstock-cache": "no-store"}
    answer = console.request("POST", "/v1/chat/completions", CALL, headers)
    assert answer.status == 200, answer.body
    return str(answer.headers["penstock-request-id"])


def test_requests_come_live_and_wait_for_a_reader(browser: "Browser", tmp_path: Path) -> None:
    with served(tmp_path, filled=False) as console, looking(browser, console) as (page, complaints):
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        page.goto("/requests")
        page.get_by_role("link", name="Follow live").click()
        page.wait_for_url("**live=on*")
        page.wait_for_timeout(500)
        first = call(console, HOSTILE[0])
        row = page.locator(f'tbody a[href="/requests/{first}"]')
        row.wait_for(timeout=10_000)
        assert page.locator("tbody").inner_text().count(HOSTILE[0]) == 1
        assert page.locator("tbody script").count() == 0
        row.hover()
        second = call(console, "later")
        page.wait_for_timeout(1500)
        assert page.locator("tbody tr").count() == 1, "it waits while the pointer rests on the list"
        page.mouse.move(5, 5)
        page.locator(f'tbody a[href="/requests/{second}"]').wait_for(timeout=5000)
        assert page.locator("tbody tr").first.inner_text().count("later") == 1, "the newest on top"
        page.get_by_text("2 came since you began to follow").wait_for(timeout=5000)
        page.get_by_role("link", name="Stop following").click()
        page.wait_for_url(lambda url: "live" not in url)
        assert page.locator("tbody tr").count() == 2, "and the page without a tail knows them too"
        assert not complaints


def test_a_stop_does_not_wait_for_who_follows(browser: "Browser", tmp_path: Path) -> None:
    with served(tmp_path, filled=False) as console, looking(browser, console) as (page, _):
        page.goto("/requests?live=on")
        page.wait_for_timeout(500)
        began = time.monotonic()
        console.stop()
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_one_request_is_sound(browser: "Browser", console: Serving, width: int) -> None:
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError as error:
        service_missing("axe-playwright-python", error)
    listed = json.loads(console.request("GET", "/requests.json?since=30d").body)["rows"]
    kinds = {(row["outcome"], row["cache"], row["model"]): row["id"] for row in listed}
    for scheme in ("light", "dark"):
        with looking(browser, console, color_scheme=scheme, viewport={"width": width, "height": 900}) as (page, complaints):
            for id in kinds.values():
                page.goto(f"/requests/{id}")
                assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), id
                found = Axe().run(page).response["violations"]
                assert not [(each["id"], each["nodes"][0]["html"][:200], each["nodes"][0]["failureSummary"][:300]) for each in found], id
            assert not complaints


def test_a_list_leads_to_one_request_and_its_source(browser: "Browser", console: Serving) -> None:
    with looking(browser, console) as (page, complaints):
        page.goto("/requests?since=30d&where=cache=exact")
        page.locator("tbody a").first.click()
        page.get_by_role("heading", name="Why did this one cost that?").wait_for()
        assert "replayed from the cache" in page.locator(".answer").inner_text()
        assert not complaints
