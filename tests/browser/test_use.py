"""The console in use: drilling down, hostile text, ten thousand values, an empty ledger, a store that goes away."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.serving import Serving, wait_until
from tests.browser.conftest import served
from tests.browser.ledger import HOSTILE, USERS
from tests.browser.test_pages import looking

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def test_a_click_goes_one_level_deeper_and_the_address_tells(browser: "Browser", console: Serving) -> None:
    with looking(browser, console) as (page, complaints):
        page.goto("/costs")
        loads = page.evaluate("performance.now()")
        page.get_by_role("link", name="7 days").click()
        page.wait_for_url("**since=7d*")
        page.get_by_role("row", name="research").get_by_role("link").click()
        page.wait_for_url("**where=team%3Dresearch**")
        assert "by=feature" in page.url
        assert page.locator("tbody th").all_inner_texts() == ["agent"]
        assert page.evaluate("performance.now()") > loads, "the page was loaded anew, not swapped"
        page.locator(".filter").click()
        page.wait_for_url(lambda url: "where" not in url)
        page.go_back()
        page.wait_for_url("**where=team%3Dresearch**")
        page.get_by_role("row", name="support").wait_for(state="detached")
        page.reload()
        assert page.locator("tbody th").all_inner_texts() == ["agent"]
        assert not complaints


def test_who_bears_idle_is_a_choice_that_stays(browser: "Browser", console: Serving) -> None:
    with looking(browser, console) as (page, complaints):
        page.goto("/costs?since=7d")
        lines = page.locator("tfoot th").all_inner_texts()
        assert lines[1:] == ["idle, fleet l40s", "idle, fleet spare"]
        assert "Unknown, and in no figure here: 1 request has no price." in page.locator(".after").inner_text()
        page.get_by_role("link", name="shared by use").click()
        page.wait_for_url("**idle=proportional*")
        assert page.locator("tfoot th").all_inner_texts()[1:] == ["idle, fleet spare"], "nobody used the spare one"
        page.get_by_role("row", name="research").get_by_role("link").click()
        page.wait_for_url("**where=team%3Dresearch**")
        assert "idle=proportional" in page.url
        assert page.get_by_role("link", name="shared by use").get_attribute("aria-current") == "true"
        assert not complaints


def test_a_fleet_shows_its_use_over_time(browser: "Browser", console: Serving) -> None:
    with looking(browser, console) as (page, complaints):
        page.goto("/fleet?since=7d")
        assert page.locator("article.fleet .levels").count() == 2
        told = [fleet["over_time"] for fleet in console.get("/fleet.json?since=7d").json()["fleets"]]
        drawn = page.locator("article.fleet").first.locator(".levels rect.water").count()
        assert drawn == len([each for each in told[0] if each["utilization"] is not None])
        assert not complaints


def test_the_filter_works_without_script(browser: "Browser", console: Serving) -> None:
    with looking(browser, console, java_script_enabled=False) as (page, _):
        page.goto("/costs?since=7d")
        page.locator("[data-filter]").fill("team=support")
        page.get_by_role("button", name="Filter").click()
        assert "since=7d" in page.url and "where=team%3Dsupport" in page.url
        assert page.locator("tbody tr").count() == 1
        page.goto("/costs?by=feature")
        page.locator("#by").fill("team,model")
        page.get_by_role("button", name="Group").click()
        assert page.locator("thead th").first.inner_text() == "team · model"


def test_hostile_text_is_text(browser: "Browser", console: Serving) -> None:
    with looking(browser, console) as (page, complaints):
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        page.goto("/costs?by=team,feature")
        shown = page.locator("tbody").inner_text()
        for text in HOSTILE:
            assert text in shown
        assert page.locator("tbody img, tbody script").count() == 0
        page.get_by_role("link", name=HOSTILE[1]).click()
        page.wait_for_url("**where**")
        assert HOSTILE[1] in page.locator(".filter").first.inner_text()
        assert not complaints
    rows = csv.reader(io.StringIO(console.get("/costs.csv?by=team").body.decode()))
    names = {row[0] for row in rows}
    assert f"'{HOSTILE[2]}" in names
    assert not [name for name in names if name.startswith(("=", "+", "-", "@"))]


def test_ten_thousand_values(browser: "Browser", console: Serving) -> None:
    with looking(browser, console) as (page, complaints):
        page.goto("/costs?by=user&since=7d")
        assert page.locator("tbody tr").count() == 100
        assert f"{USERS + 1 - 100:,} more" in page.locator(".after").inner_text()
        assert not complaints
    answer = console.request("GET", "/costs?by=user&since=7d", headers={"accept": "text/html", "accept-encoding": "gzip"})
    assert len(answer.body) < 60_000
    assert len(console.get("/costs.csv?by=user&since=7d").body.splitlines()) == USERS + 2
    assert len(console.get("/costs.json?by=user&since=7d").json()["rows"]) == USERS + 1


def test_an_empty_ledger_says_how_to_begin(browser: "Browser", tmp_path: Path) -> None:
    with served(tmp_path, filled=False) as empty_console, looking(browser, empty_console) as (page, complaints):
        for path in ("/", "/costs"):
            page.goto(path)
            assert page.locator("main .answer").inner_text()
        page.goto("/")
        assert "curl http://" in page.locator("pre").inner_text()
        assert empty_console.get("/costs.json").json()["total"]["cp1kt_usd"] is None
        assert empty_console.chat("auto", headers={"penstock-tag-team": "me"}).status == 200
        # the open page shows it by itself; each renewal brings the page's own, slower, rhythm back
        wait_until(
            lambda: _hurried(page, page.get_by_role("heading", name="Who answers").is_visible), "the page to renew itself", within_s=60
        )
        assert not complaints
        stale = page.get_by_text("does not answer at the moment")
        page.context.set_offline(True)
        wait_until(lambda: _hurried(page, stale.is_visible), "the page to say that it is old", within_s=60)
        assert page.get_by_role("heading", name="Who answers").is_visible()
        page.context.set_offline(False)
        wait_until(lambda: _hurried(page, stale.is_hidden), "the page to be new again", within_s=60)


def _hurried(page: "Page", seen: Callable[[], bool]) -> bool:
    """Whether something is seen on a page that is made to renew itself every second."""
    page.evaluate("document.getElementById('page').dataset.refresh = 1")
    page.wait_for_timeout(250)
    return seen()


def test_a_bad_query_is_told_on_the_page(browser: "Browser", console: Serving) -> None:
    with looking(browser, console) as (page, _):
        answer = page.goto("/costs?since=tomorrow")
        assert answer is not None and answer.status == 400
        assert "tomorrow" in page.locator(".answer").inner_text()
        assert "30d" in page.locator(".hint").inner_text()
        page.get_by_role("link", name="without its query").click()
        assert page.locator("h1").inner_text() == "Who spends what?"
        answer = page.goto("/nowhere")
        assert answer is not None and answer.status == 404


def test_a_store_that_goes_away_and_comes_back(browser: "Browser", tmp_path: Path) -> None:
    store, aside = tmp_path / "penstock.db", tmp_path / "aside.db"
    with served(tmp_path, filled=False) as console, looking(browser, console) as (page, _):
        page.goto("/costs")
        store.rename(aside)
        store.mkdir()
        wait_until(lambda: console.request("GET", "/costs", headers={"accept": "text/html"}).status == 503, "the page to say it")
        page.get_by_role("link", name="7 days").click()
        page.get_by_role("heading", name="The ledger cannot be read").wait_for()
        assert "Model calls go on" in page.locator(".answer").inner_text()
        assert console.get("/costs.json").status == 503
        store.rmdir()
        aside.rename(store)
        wait_until(lambda: console.get("/costs.json").status == 200, "the store to be read again")
        page.get_by_role("link", name="Try again").click()
        page.get_by_role("heading", name="Who spends what?").wait_for()


@pytest.mark.parametrize("script", [True, False])
def test_what_an_anomaly_was_is_said_on_the_page(browser: "Browser", console: Serving, script: bool) -> None:
    with looking(browser, console, java_script_enabled=script) as (page, complaints):
        page.goto("/budgets")
        page.locator("form.feedback").first.get_by_role("button", name="no" if script else "it was planned").click()
        said = page.locator("form.feedback b").first
        assert said.inner_text() == ("no" if script else "planned activity")
        assert not complaints
    entries = console.get("/audit.json").json()["entries"]
    assert next(each["action"] for each in entries if each["subject"] == "odd0") == "anomaly.feedback"
