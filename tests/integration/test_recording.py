"""Runs recorded on real stores: by the recorder, over HTTP as programs do it, and from Python with or without somebody who listens."""

import asyncio
import http.client
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from penstock.adapters.journal.reader import JournalDirectory
from penstock.adapters.stores import open_costs, open_store
from penstock.config.settings import Settings
from penstock.console.access import Access
from penstock.console.app import Console
from penstock.console.context import Papers
from penstock.console.recording import record_posts
from penstock.domain.ledger.entries import Close, Entry
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.books import Books
from penstock.finops.fleet_costs import fleet_costs
from penstock.finops.ledger import Ledger
from penstock.finops.live import Tail
from penstock.finops.recording import Recorder, RecordingError, told_of
from penstock.finops.run_costs import run_cost_json, run_costs
from penstock.finops.statement import statement
from penstock.ports.usage_store import Intake, UsageStore
from penstock.recording import training_run
from penstock.wire.server import serve
from tests.unit.finops.bill_books import DECEMBER, NOVEMBER, OCTOBER, RENT, settings_of

HOUR = 3_600 * 10**9
RUN = {"kind": "training-run", "name": "fine-tune", "since": "2026-11-20T08:00:00Z", "until": "2026-11-20T20:00:00Z"}
AUTH = {"authorization": "Bearer s3cret"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(url: str) -> Iterator[UsageStore]:
    with closing(open_store(url)) as store:
        store.prepare()
        yield store


@pytest.fixture
def recorder(store: UsageStore, url: str, tmp_path: Path) -> Recorder:
    return recorder_of(store, url, tmp_path)


def recorder_of(store: UsageStore, url: str, folder: Path, now_ns: int | None = DECEMBER) -> Recorder:
    @contextmanager
    def reading() -> Iterator[Any]:
        with store.snapshot() as snapshot:
            yield snapshot, JournalDirectory(folder / "journal")

    clock = {} if now_ns is None else {"clock_ns": lambda: now_ns}
    return Recorder(settings_of(), reading, lambda: open_costs(url), **clock)


def entries(store: UsageStore) -> list[Entry]:
    with store.snapshot() as snapshot:
        return snapshot.costs.entries(0, 2**63 - 1)


def books(store: UsageStore, now_ns: int = DECEMBER) -> Any:
    @contextmanager
    def opened() -> Iterator[Books]:
        with store.snapshot() as snapshot:
            yield Books(settings_of(), Ledger(snapshot), now_ns, lambda fleet: None)

    return opened()


def request(id: str, admitted_ns: int) -> UsageRecord:
    return UsageRecord(id=id, admitted_ns=admitted_ns, endpoint="chat.completions", status=200, outcome="ok", cost=1)


def test_an_entry_is_stored_once_and_read_back(recorder: Recorder, store: UsageStore) -> None:
    told = told_of(RUN | {"gpus": 8, "gpu_price": "2.34", "tags": {"team": "search"}})
    first, again = recorder(told), recorder(told)
    assert (first.new, again.new) == (True, False)
    assert entries(store) == [first.entry]
    with pytest.raises(RecordingError, match="another cost") as problem:
        recorder(msgspec.structs.replace(told, id=first.entry.id, name="other"))
    assert problem.value.conflict


def test_a_request_and_a_cost_never_share_an_id(recorder: Recorder, store: UsageStore) -> None:
    store.take_in(Intake([request("req_1", NOVEMBER)], (), (), {}))
    with pytest.raises(RecordingError, match="is a request") as problem:
        recorder(told_of({"kind": "cost", "name": "x", "usd": 1, "id": "req_1"}))
    assert problem.value.conflict


def test_nothing_joins_a_closed_month(recorder: Recorder, store: UsageStore, url: str) -> None:
    close = Close(
        number=1,
        month="2026-10",
        timezone="UTC",
        since_ns=OCTOBER,
        until_ns=NOVEMBER,
        closed_ns=NOVEMBER,
        inputs_sha256="",
        total=0,
        bill="",
    )
    open_costs(url).put_close(close)
    with pytest.raises(RecordingError, match="2026-10 is closed"):
        recorder(told_of({"kind": "cost", "name": "x", "usd": 1, "since": "2026-10-31"}))
    assert entries(store) == []


def test_a_run_on_an_own_fleet_costs_its_share_of_the_rent(recorder: Recorder, store: UsageStore) -> None:
    store.take_in(Intake([request("r", NOVEMBER)], (), (), {}))
    done = recorder(told_of(RUN | {"fleet": "l40s", "gpus": 1, "lost_gpu_hours": 3, "storage": "1.5"}))
    with books(store) as opened:
        [cost] = run_costs(opened, NOVEMBER, DECEMBER)
        whole = statement(opened, CostQuery(since_ns=NOVEMBER, until_ns=DECEMBER, by=("workload_type",)))
    assert cost.entry == done.entry
    assert cost.compute == 12 * RENT
    assert cost.lost is not None and abs(cost.lost - 3 * RENT) <= 12  # a quarter of each hour's rent, in whole nano-USD
    assert cost.total == 12 * RENT + 1_500_000_000
    assert run_cost_json(cost)["gpu_hours"] == "12"
    [training] = [row for row in whole.rows if row.keys == ("training",)]
    assert training.usage == cost.total


def test_a_run_begins_the_ledger_where_no_request_has(recorder: Recorder, store: UsageStore) -> None:
    recorder(told_of(RUN | {"fleet": "l40s", "gpus": 1}))
    with books(store) as opened:
        [cost] = run_costs(opened, NOVEMBER, DECEMBER)
    assert cost.compute == cost.total == 12 * 700_000_001


def test_rented_runs_and_other_costs_are_what_was_told(recorder: Recorder, store: UsageStore) -> None:
    recorder(told_of(RUN | {"gpus": 2, "gpu_price": 2, "lost_gpu_hours": 6, "transfer": 1}))
    recorder(told_of(RUN | {"gpus": 2}))
    recorder(told_of({"kind": "cost", "name": "labels", "usd": 5, "since": "2026-11"}))
    with books(store) as opened:
        other, *runs = run_costs(opened, NOVEMBER, DECEMBER)
    rented = next(run for run in runs if run.compute is not None)
    unknown = next(run for run in runs if run.compute is None)
    assert (rented.compute, rented.lost, rented.total) == (48 * 10**9, 12 * 10**9, 49 * 10**9)
    assert unknown.total is None
    assert unknown.gpu_hours == 24
    assert other.total == 5 * 10**9


class Web:
    """A console that takes records, on a real socket."""

    def __init__(self, port: int) -> None:
        self.address, self._port = f"http://127.0.0.1:{port}", port

    def post(self, body: object, headers: dict[str, str] | None = None, path: str = "/records") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, sent, {"content-type": "application/json"} | (headers or {}))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


PAPERS = cast(Papers, None)
"""nothing here looks into them"""


@contextmanager
def web(recorder: Recorder | None, key: str | None = None, listen: str = "127.0.0.1:4100") -> Iterator[Web]:
    started = threading.Event()
    ready: dict[str, Any] = {}

    async def main() -> None:
        stop = asyncio.Event()
        console = Console(
            Settings(version=1), dict, dict, runs=lambda fleet: None,  # type: ignore[arg-type]
            price_source="", gauges=dict, tail=Tail(), access=Access(key, listen), log=lambda line: None, papers=PAPERS,
            posts=record_posts(recorder) if recorder is not None else {},
        )  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = await serve(console.answer, sock=sock)
            ready.update(port=sock.getsockname()[1], stop=stop, loop=asyncio.get_running_loop())
            started.set()
            await stop.wait()
            await server.drain(0.2)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert started.wait(20)
    try:
        yield Web(ready["port"])
    finally:
        ready["loop"].call_soon_threadsafe(ready["stop"].set)
        thread.join()


def test_a_post_records_a_run_and_says_what_it_recorded(recorder: Recorder, store: UsageStore) -> None:
    with web(recorder) as served:
        status, told = served.post(RUN | {"gpus": 8, "gpu_price": "2.34"})
        again, same = served.post(RUN | {"gpus": 8, "gpu_price": "2.34"})
    assert (status, told["recorded"], told["entry"]["cost_usd"]) == (201, True, "224.640000000")
    assert (again, same["recorded"], same["entry"]) == (200, False, told["entry"])
    assert [each.id for each in entries(store)] == [told["entry"]["id"]]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/plain"}, RUN, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, b"kind=cost", 415),
        ({"origin": "https://evil.example"}, RUN, 403),
        ({"origin": "null"}, RUN, 403),
        ({"origin": "http://["}, RUN, 403),
        ({"sec-fetch-site": "cross-site"}, RUN, 403),
        ({"sec-fetch-site": "same-site"}, RUN, 403),
        ({"host": "rebound.example"}, RUN, 403),
        ({}, RUN | {"gpus": -1}, 400),
        ({}, RUN | {"gpus": 1, "cost": 1}, 400),
        ({}, b"{", 400),
        ({}, b'{"a": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
def test_what_is_refused_records_nothing(recorder: Recorder, store: UsageStore, headers: dict[str, str], body: Any, status: int) -> None:
    with web(recorder) as served:
        answered, told = served.post(body, headers)
    assert answered == status
    assert told["error"]["message"]
    assert told["error"]["hint"]
    assert entries(store) == []


def test_beyond_loopback_only_the_admin_key_records(recorder: Recorder, store: UsageStore) -> None:
    with web(recorder, listen="0.0.0.0:4100") as served:
        assert served.post(RUN | {"gpus": 0})[0] == 403
    with web(recorder, key="s3cret", listen="0.0.0.0:4100") as served:
        assert served.post(RUN | {"gpus": 0})[0] == 401
        assert served.post(RUN | {"gpus": 0}, {"authorization": "Bearer wrong"})[0] == 401
        assert served.post(RUN | {"gpus": 0}, AUTH | {"origin": "https://evil.example"})[0] == 403
        assert entries(store) == []
        assert served.post(RUN | {"gpus": 0}, AUTH)[0] == 201


def test_conflicts_and_other_addresses(recorder: Recorder) -> None:
    with web(recorder) as served:
        served.post(RUN | {"gpus": 0, "id": "r"})
        assert served.post(RUN | {"gpus": 0, "id": "r", "storage": 1})[0] == 409
        assert served.post(RUN, path="/costs")[0] == 405
    with web(None) as served:
        assert served.post(RUN)[0] == 405


def test_a_block_of_python_is_a_run(store: UsageStore, url: str, tmp_path: Path) -> None:
    with (
        web(recorder_of(store, url, tmp_path, None), key="s3cret") as served,
        training_run("fine-tune", url=served.address, key="s3cret", tags={"team": "search"}, gpus=8, gpu_price="2", folder=tmp_path) as run,
    ):
        run.storage(usd="3.10")
        run.storage(usd="0.05")
        run.engineering(2, "95")
    [entry] = entries(store)
    assert (entry.id, entry.tags, entry.gpus) == (run.id, {"team": "search"}, "8")
    assert (entry.storage_cost, entry.engineering_cost) == (3_150_000_000, 190 * 10**9)
    assert entry.until_ns > entry.since_ns
    assert not list(tmp_path.glob("penstock-run-*"))


def test_a_block_that_raises_is_a_failed_run(store: UsageStore, url: str, tmp_path: Path) -> None:
    with (
        web(recorder_of(store, url, tmp_path, None)) as served,
        pytest.raises(KeyError),
        training_run("fine-tune", url=served.address, gpus=0, folder=tmp_path),
    ):
        raise KeyError("the training's own")
    assert [entry.tags for entry in entries(store)] == [{"outcome": "failed"}]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "file:///etc/passwd", "nowhere"])
def test_where_nobody_listens_the_run_is_kept_for_import(
    store: UsageStore, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    with caplog.at_level(logging.WARNING), training_run("fine-tune", url=address, gpus=0, folder=tmp_path) as run:
        run.transfer("1.25")
    [file] = tmp_path.glob("penstock-run-*.json")
    assert f"penstock record import {file}" in caplog.text
    record = recorder_of(store, url, tmp_path, None)
    first, again = (record(told_of(file.read_bytes())) for _ in range(2))
    assert (first.new, again.new, first.entry.id, first.entry.transfer_cost) == (True, False, run.id, 1_250_000_000)


def test_trouble_never_breaks_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture, recorder: Recorder) -> None:
    with (
        web(recorder) as served,
        caplog.at_level(logging.WARNING),
        training_run("fine-tune", url=served.address, gpus=0, folder=tmp_path / "away") as run,
    ):
        run.storage("three dollars")
    assert "not a number" in caplog.text
    assert "answered 400" in caplog.text
    assert '"storage": "three dollars"' in caplog.text  # the record itself, for even the file could not be written


def test_a_run_whose_hours_are_to_be_allocated_again_is_not_half_counted(recorder: Recorder, store: UsageStore, url: str) -> None:
    store.take_in(Intake([request("r", NOVEMBER)], (), (), {}))
    begin = told_of(RUN)
    first = recorder(msgspec.structs.replace(begin, fleet="l40s", gpu_hours=Decimal(6))).entry.since_ns // HOUR
    with books(store) as opened:
        hours = [hour for hour in fleet_costs(opened, CostQuery(since_ns=NOVEMBER, until_ns=DECEMBER)).hours if hour.hour == first]
    open_costs(url).put_fleet_hours(hours, [])
    with books(store) as opened:
        [cost] = run_costs(opened, NOVEMBER, DECEMBER)
    assert cost.total is None
    assert "in 11 of 12 hours" in cost.note
