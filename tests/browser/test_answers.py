"""What the console answers over HTTP, browser or not: the same figures in every form, guarded, and kind to wrong addresses."""

import csv
import io
from decimal import Decimal

import pytest

from penstock.console.pages import PAGES, Page
from tests.acceptance.serving import Serving

HTML = {"accept": "text/html,*/*"}
MONEY = ("cost_usd", "cp1kt_usd", "saved_usd")


def test_every_form_tells_what_the_command_tells(console: Serving) -> None:
    told = console.cost("--since", "7d", "--by", "team")["total"]
    shown = console.get("/costs.json?since=7d&by=team").json()["total"]
    assert abs(told["requests"] - shown["requests"]) <= 2  # the window rolls on between the two
    table = list(csv.DictReader(io.StringIO(console.get("/costs.csv?since=7d&by=team").body.decode())))
    assert sum(Decimal(row["borne_usd"]) for row in table if row["borne_usd"]) == Decimal(shown["borne_usd"])
    assert sum(int(row["requests"]) for row in table) == shown["requests"]
    page = console.request("GET", "/costs?since=7d&by=team", headers=HTML).body.decode()
    assert f'<td class="num">${Decimal(shown["borne_usd"]):,.2f}</td>' in page


def test_unknown_is_null_and_never_nothing(console: Serving) -> None:
    [odd] = console.get("/costs.json?where=model%3Dodd&by=model").json()["rows"]
    assert (odd["requests"], odd["unpriced"]) == (1, 1)
    assert [odd[name] for name in MONEY] == [None, None, None]
    page = console.request("GET", "/costs?where=model%3Dodd&by=model", headers=HTML).body.decode()
    assert "1 request in the last 30 days, and none has a price" in page
    assert "$0" not in page.partition("<main")[2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_guarded_and_twinned(console: Serving, page: Page) -> None:
    path, stem = page.path, page.stem
    html = console.request("GET", path, headers=HTML)
    policy = html.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert (html.headers["x-content-type-options"], html.headers["referrer-policy"]) == ("nosniff", "same-origin")
    head = console.request("HEAD", path, headers=HTML)
    assert (head.status, head.body) == (200, b"")
    twin = console.get(f"{stem}.json")
    assert twin.headers["content-type"] == "application/json"
    assert twin.json()["question"] == page.title
    assert twin.json()["answer"] and twin.json()["standing"]["requests"]


def test_addresses_that_are_nearly_right_are_led_on(console: Serving) -> None:
    for path, right in (("/today", "/"), ("/.json", "/today.json"), ("/costs/?by=team", "/costs?by=team")):
        answer = console.get(path)
        assert (answer.status, answer.headers["location"]) == (308, right)


def test_wrong_addresses_are_told_to_people_and_to_programs(console: Serving) -> None:
    assert "There is no page /nowhere" in console.request("GET", "/nowhere", headers=HTML).body.decode()
    assert console.get("/nowhere").json()["error"]["message"] == "There is no page /nowhere"
    hostile = console.request("GET", "/%3Cscript%3Ealert(1)%3C/script%3E", headers=HTML)
    assert hostile.status == 404 and b"<script>alert" not in hostile.body
    assert console.get("/static/console.000000000000.css").status == 404
    assert console.get("/static/..%2fapp.py").status == 404
    assert console.request("POST", "/costs", {}).status == 405
    bad = console.get("/costs.json?since=tomorrow")
    assert bad.status == 400 and "30d" in bad.json()["error"]["hint"]


def test_who_cannot_unpack_gets_it_plain(console: Serving) -> None:
    plain = console.request("GET", "/costs", headers=HTML | {"accept-encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in plain.headers and b"Who spends what?" in plain.body
    assert console.request("GET", "/costs", headers=HTML | {"accept-encoding": "br, gzip"}).headers["content-encoding"] == "gzip"
