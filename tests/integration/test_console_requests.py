"""The requests: listed page by page, filtered, exported whole, followed live, and each explained."""

import asyncio
import csv
import http.client
import io
import json
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from penstock import bootstrap
from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.console.pages import PAGES
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.explain import explain, explanation_json
from penstock.finops.request_rows import columns
from tests.integration.console_rig import HOSTILE, Rig, console, fill, seeded, settings_in
from tests.ledger_entries import record

COUNT = 700


@pytest.fixture(scope="module")
def firm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, list[UsageRecord]]]:
    settings, records = seeded(tmp_path_factory.mktemp("requests"), COUNT)
    with console(settings) as rig:
        yield rig, sorted(records, key=lambda each: (each.admitted_ns, each.id), reverse=True)


@pytest.fixture(scope="module")
def rig(firm: tuple[Rig, list[UsageRecord]]) -> Rig:
    return firm[0]


@pytest.fixture(scope="module")
def records(firm: tuple[Rig, list[UsageRecord]]) -> list[UsageRecord]:
    return firm[1]


def asked(rig: Rig, target: str) -> Any:
    status, _, body = rig.get(target)
    assert status == 200, body
    return json.loads(body)


def walked(rig: Rig, target: str) -> list[str]:
    """Every id, page after page, by the links that the pages give."""
    ids: list[str] = []
    following: str | None = target
    while following is not None:
        page = asked(rig, following.replace("/requests", "/requests.json", 1))
        ids += [row["id"] for row in page["rows"]]
        following = page["older"]
    return ids


def test_the_pages_hold_every_request_once_and_in_order(rig: Rig, records: list[UsageRecord]) -> None:
    assert walked(rig, "/requests?since=30d") == [each.id for each in records]


@pytest.mark.parametrize("key", ["feature=triage", "outcome=refused", "cache=exact", "model=big", "user=u7", f"team={HOSTILE}"])
def test_filters_hold_what_matches(rig: Rig, records: list[UsageRecord], key: str) -> None:
    name, _, value = key.partition("=")
    wanted = [each.id for each in records if (each.tags.get(name) or getattr(each, name, None)) == value]
    assert wanted
    assert walked(rig, f"/requests?since=30d&where={quote(key)}") == wanted


def test_a_page_says_how_many_match_and_offers_what_there_is(rig: Rig, records: list[UsageRecord]) -> None:
    page = asked(rig, "/requests.json?since=30d&where=feature=chat")
    assert page["matching"] == sum(each.tags.get("feature") == "chat" for each in records)
    offered = {choice["key"]: choice for choice in page["choices"]}
    assert offered["feature"]["chosen"] == "chat"
    assert "triage" in offered["feature"]["values"], "another can be chosen"


def test_the_form_works_without_script(rig: Rig) -> None:
    body = rig.page("/requests?since=30d&where=&where=feature%3Dchat&where=")
    assert '<option value="feature=chat" selected>' in body


@pytest.mark.parametrize("place", ["x", "1", ".", "99999999999999999999.a", "-1.a"])
def test_a_place_that_is_none_is_told(rig: Rig, place: str) -> None:
    status, _, body = rig.get(f"/requests?after={place}", accept="text/html")
    assert (status, "no place in the ledger" in body) == (400, True)
    assert rig.get(f"/requests.csv?after={place}")[0] == 400


def test_the_export_holds_every_request(rig: Rig, records: list[UsageRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.console.requests.EXPORTED_AT_ONCE", 64)
    status, headers, body = rig.get("/requests.csv?since=30d")
    assert (status, headers["transfer-encoding"]) == (200, "chunked")
    rows = list(csv.DictReader(io.StringIO(body)))
    assert tuple(rows[0]) == columns(rig.settings.tags.declared)
    assert [row["id"] for row in rows] == [each.id for each in records]
    first, source = rows[0], records[0]
    assert int(first["uncached_input"]) == source.tokens.uncached_input
    assert first["tag_team"] == source.tags["team"]
    assert round(float(first["cost_usd"] or 0) * 1e9) == (source.cost or 0)


def test_the_export_knows_the_filters(rig: Rig, records: list[UsageRecord]) -> None:
    rows = list(csv.DictReader(io.StringIO(rig.get("/requests.csv?since=30d&where=cache=exact")[2])))
    assert [row["id"] for row in rows] == [each.id for each in records if each.cache == "exact"]


def test_an_export_of_nothing_is_its_header(rig: Rig) -> None:
    body = rig.get("/requests.csv?where=team=nobody")[2]
    assert body.strip().split(",") == list(columns(rig.settings.tags.declared))


def test_a_window_that_cannot_be_read_is_told(rig: Rig) -> None:
    for page in ("/requests.csv", "/requests/live", "/requests.json"):
        status, _, body = rig.get(f"{page}?since=yesterday")
        assert (status, "not a window of time" in body) == (400, True)


def test_a_third_export_is_told_to_wait(tmp_path: Path) -> None:
    settings = seeded(tmp_path, 20_000, days=2)[0]
    with console(settings) as rig:
        slow = [http.client.HTTPConnection("127.0.0.1", rig.port, timeout=20) for _ in range(2)]
        for connection in slow:
            connection.request("GET", "/requests.csv?since=30d")
            assert connection.getresponse().status == 200, "and nobody reads it"
        status, _, body = rig.get("/requests.csv?since=30d")
        assert (status, "as many exports run" in body) == (429, True)
        assert rig.get("/requests.json")[0] == 200, "pages go on"
        for connection in slow:
            connection.close()
        until = time.monotonic() + 10
        while rig.get("/requests.csv?where=team=nobody")[0] != 200:
            assert time.monotonic() < until


def test_spreadsheets_run_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    fill(settings, [record("=cmd()", tags={"team": "+SUM(A1)", "x": "=1"}, requested_model="@x\r\ny", admitted_ns=time.time_ns() - 10**9)])
    with console(settings) as rig:
        row = next(csv.DictReader(io.StringIO(rig.get("/requests.csv")[2], newline="")))
    assert (row["id"], row["tag_team"], row["requested_model"]) == ("'=cmd()", "'+SUM(A1)", "'@x\ny")


def test_the_tail_tells_of_requests_as_they_come(rig: Rig) -> None:
    async def scenario() -> None:
        html = await _events(rig, "/requests/live")
        chat = await _events(rig, "/requests/live.json?where=team=a")
        async with asyncio.timeout(10):
            while rig.tail.watched < 2:
                await asyncio.sleep(0.01)
            rig.publish(
                [
                    record("live-1", tags={"team": HOSTILE}),
                    record("live-2", tags={"team": "a\r\nevent: x"}),
                    record("live-3", tags={"team": "a"}),
                ]
            )
            event = await html[0].readuntil(b"\n\n")
            assert event.startswith(b"event: rows\ndata: ")
            assert event.count(b"<tr") == 3
            assert event.index(b"live-3") < event.index(b"live-1"), "the newest on top"
            assert b"<script" not in event
            assert b"\nevent: x" not in event
            told = await chat[0].readuntil(b"\n\n")
            rows = json.loads(told.split(b"data: ")[1])
            assert [row["id"] for row in rows] == ["live-3"]
        for _, writer in (html, chat):
            writer.close()
        async with asyncio.timeout(5):
            while rig.tail.watched:
                await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_a_burst_shows_its_newest_and_says_what_is_left_out(rig: Rig) -> None:
    async def scenario() -> None:
        reader, writer = await _events(rig, "/requests/live.json")
        async with asyncio.timeout(10):
            while not rig.tail.watched:
                await asyncio.sleep(0.01)
            rig.publish([record(f"burst-{number}") for number in range(100)])
            assert await reader.readuntil(b"\n\n") == b"event: missed\ndata: 70\n\n"
            rows = json.loads((await reader.readuntil(b"\n\n")).split(b"data: ")[1])
        assert [row["id"] for row in rows] == [f"burst-{number}" for number in range(99, 69, -1)]
        writer.close()

    asyncio.run(scenario())


async def _events(rig: Rig, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, limit=2**20)
    writer.write(f"GET {target} HTTP/1.0\r\nhost: localhost\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"text/event-stream" in head
    assert (await reader.readuntil(b"\n\n")).startswith(b"retry:")
    return reader, writer


def test_one_request_is_what_explain_says(rig: Rig, records: list[UsageRecord]) -> None:
    prices = bootstrap.price_book(rig.settings)
    for each in records[:60]:
        page = asked(rig, f"/requests/{each.id}.json")
        assert page["request"] == json.loads(json.dumps(explanation_json(explain(each, prices))))
        assert bool(page["gpu_hours"]) == (each.fleet is not None and each.outcome != "refused" and each.cache != "exact")
        own = sum(Decimal(share["amount_usd"]) + Decimal(share["wasted_usd"]) for share in page["gpu_hours"])
        if page["borne_usd"] is not None:
            booked = Decimal(page["request"]["cost_usd"]) - Decimal(page["request"]["provisional_usd"])
            assert Decimal(page["borne_usd"]) == booked + own


def test_what_own_gpus_served_shows_its_hours(rig: Rig, records: list[UsageRecord]) -> None:
    own = next(each for each in records if each.fleet and each.cache == "miss" and each.outcome == "ok")
    body = rig.page(f"/requests/{own.id}")
    assert "Its share of GPU-hours" in body and "What it was booked at" in body
    assert "its part of what fleet l40s had at work" in body and "work done over planned_tokens_per_second" in body
    bought = next(each for each in records if each.upstream == "api" and each.cache == "miss" and each.outcome == "ok")
    body = rig.page(f"/requests/{bought.id}")
    assert "GPU-hours" not in body and "The arithmetic" in body


def test_every_kind_of_request_has_its_page(rig: Rig, records: list[UsageRecord]) -> None:
    kinds: dict[tuple[object, ...], UsageRecord] = {}
    for each in records:
        kinds.setdefault((each.outcome, each.cache, each.model, bool(each.attempts), HOSTILE in each.tags.values()), each)
    assert len(kinds) > 6
    for each in kinds.values():
        body = rig.page(f"/requests/{each.id}")
        assert each.id in body
        assert "<script>alert" not in body
        if each.cache_source:
            assert f'href="/requests/{each.cache_source}"' in body


def test_a_waterfall_stays_within_its_time(rig: Rig, records: list[UsageRecord]) -> None:
    tried = next(each for each in records if each.attempts)
    spans = asked(rig, f"/requests/{tried.id}.json")["spans"]
    assert [span["kind"] for span in spans][:2] == ["copper", "w2"]
    assert spans[-1]["end_ms"] == tried.duration_us / 1000
    assert all(0 <= span["start_ms"] <= span["end_ms"] <= spans[-1]["end_ms"] for span in spans)


def test_the_beginning_of_an_id_is_enough(rig: Rig, records: list[UsageRecord]) -> None:
    assert asked(rig, f"/requests/{records[3].id[:24]}.json")["request"]["id"] == records[3].id


@pytest.mark.parametrize("id", ["req_nothing", "%3Cscript%3E", "a%00b", "x" * 5000, "%2e%2e", "."])
def test_an_unknown_id_is_a_page_with_a_hint(rig: Rig, id: str) -> None:
    status, _, body = rig.get(f"/requests/{id}", accept="text/html")
    assert status == 404
    assert "penstock-request-id" in body or "There is no page" in body
    assert "<script>" not in body


def test_an_empty_ledger_has_every_page(tmp_path: Path) -> None:
    with console(settings_in(tmp_path)) as rig:
        for page in ("/requests", "/requests?live=on", "/savings", "/fleet"):
            assert re.search(r'<p class="answer">\s*\S', rig.page(page))
        assert rig.get("/requests.csv")[0] == 200
        assert rig.get("/requests/req_1", accept="text/html")[0] == 404


BARE = """
version = 1
[server]
listen = "127.0.0.1:4100"
store = "sqlite:///{folder}/ledger.db"
journal = "{folder}/journal"
"""
ENGINE = '[upstreams.api]\nbase_urls = ["http://127.0.0.1:9/v1"]\n'
MODEL = '[models."llama-8b"]\nupstream = "api"\n'


@pytest.mark.parametrize("more", ["", ENGINE, ENGINE + MODEL], ids=["nothing", "no model", "no route"])
def test_every_page_opens_on_the_smallest_configs(tmp_path: Path, more: str) -> None:
    with console(parse(BARE.format(folder=tmp_path) + more, {})) as rig:
        for page in PAGES:
            if "{" not in page.path:
                assert re.search(r'<p class="answer">\s*\S', rig.page(page.path))
        assert ("llama-8b" if MODEL in more else "auto") in rig.page("/")


def test_a_store_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    settings, _ = seeded(tmp_path, 30)
    ledger = tmp_path / "ledger.db"
    with console(settings) as rig:
        assert rig.get("/requests?since=30d", accept="text/html")[0] == 200
        for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
            if (tmp_path / name).exists():
                (tmp_path / name).rename(tmp_path / f"away-{name}")
        ledger.mkdir()
        status, _, body = rig.get("/savings?since=31d", accept="text/html")
        assert (status, "Model calls go on" in body) == (503, True)
        assert rig.get("/requests.csv")[0] == 503
        assert rig.get("/requests/live.json?where=x")[0] == 400
        ledger.rmdir()
        for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
            if (tmp_path / f"away-{name}").exists():
                (tmp_path / f"away-{name}").rename(tmp_path / name)
        assert rig.get("/savings?since=32d", accept="text/html")[0] == 200


def test_an_export_that_breaks_off_does_not_look_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Settings = seeded(tmp_path, 300)[0]
    monkeypatch.setattr("penstock.console.requests.EXPORTED_AT_ONCE", 50)
    real, calls = bootstrap.open_reading, []

    def failing(given: Settings) -> Any:
        calls.append(1)
        return real(given) if len(calls) < 3 else real(settings_in(tmp_path / "nowhere" / "at" / "all"))

    (tmp_path / "nowhere").write_text("a file where a directory should be")
    monkeypatch.setattr(bootstrap, "open_reading", failing)
    with console(settings) as rig:
        connection = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=20)
        connection.request("GET", "/requests.csv?since=30d")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            connection.getresponse().read()
        connection.close()


def test_calls_beside_requests_are_told_with_their_request_and_not_among_them(tmp_path: Path) -> None:
    settings, at = settings_in(tmp_path), time.time_ns() - 60 * 10**9
    beside: dict[str, Any] = {"parent": "req_a", "model": "big", "upstream": "api", "tokens": Tokens(10, 0, 0, 5, 0)}
    fill(
        settings,
        [
            record("req_a", admitted_ns=at, model="big", upstream="api", tokens=Tokens(10, 0, 0, 5, 0), cost=75_000, counterfactual=90_000),
            record("req_d", admitted_ns=at + 1, purpose="draft", cost=50_000, **beside),
            record("req_s", admitted_ns=at + 2, purpose="shadow", outcome="error", status=502, **beside),
        ],
    )
    with console(settings) as rig:
        page = asked(rig, "/requests.json")
        assert ([row["id"] for row in page["rows"]], page["matching"], page["exported"]) == (["req_a"], 1, 3)
        drafts = asked(rig, "/requests.json?where=purpose=draft")
        assert [(row["id"], row["purpose"]) for row in drafts["rows"]] == [("req_d", "draft")]
        assert drafts["answer"].startswith("1 call beside a request ")
        _, _, body = rig.get("/requests.csv")
        rows = {row["id"]: row for row in csv.DictReader(io.StringIO(body))}
        assert [(row["purpose"], row["parent"]) for row in rows.values()] == [("shadow", "req_a"), ("draft", "req_a"), ("", "")]
        told = asked(rig, "/requests/req_a.json")["beside"]
        assert ([each["id"] for each in told["asides"]], told["in_all_usd"], told["in_all_unknown"]) == (
            ["req_d", "req_s"],
            "0.000125000",
            1,
        )
        html = rig.page("/requests/req_a")
        assert "Called beside it" in html and "What 1 call of these cost is unknown" in html
        costs = asked(rig, "/costs.json?by=purpose")
        assert {row["keys"]["purpose"]: (row["requests"], row["cost_usd"], row["unpriced"]) for row in costs["rows"]} == {
            None: (1, "0.000075000", 0), "draft": (0, "0.000050000", 0), "shadow": (0, None, 1)
        }  # fmt: skip
        assert "requests" in rig.page("/costs?by=purpose")
        assert 'href="/requests/req_a"' in rig.page("/requests/req_d")
        assert "1 call beside requests has no known cost" in rig.page("/savings")
