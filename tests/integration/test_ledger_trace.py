"""The ledger as a trace: part of it in the store, part still on the journal of a writer that lives."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.journal.files import FileJournal
from penstock.adapters.journal.reader import JournalDirectory
from penstock.adapters.stores import open_store
from penstock.bootstrap.capacity import ledger_trace
from penstock.config.load import absolute, parse
from penstock.config.settings import Settings
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.simulation.trace import TraceError
from penstock.finops.costs import QueryError
from penstock.finops.intake import Intaker
from penstock.finops.window import window

CONFIG = """
version = 1
[server]
store = "sqlite:///{folder}/penstock.db"
journal = "./journal"
[upstreams.local]
base_urls = ["http://127.0.0.1:9/v1"]
[models.m]
upstream = "local"
"""
NOW = 1_795_276_800_000_000_000
HOUR = 3600 * 10**9


def record(number: int, hours_ago: float, **fields: Any) -> UsageRecord:
    given: dict[str, Any] = {
        "id": f"req_{number}",
        "admitted_ns": NOW - round(hours_ago * HOUR),
        "endpoint": "chat.completions",
        "status": 200,
        "outcome": "ok",
        "model": "m",
        "tier": "small",
        "tokens": Tokens(100 + number, 0, 0, number, 0),
        "tags": {"team": "search"},
    }
    return UsageRecord(**given | fields)


STORED = (
    record(1, 40 * 24),
    record(2, 5),
    record(3, 4, tags={"team": "support"}),
    record(4, 3, cache="exact", tokens=Tokens(), recalled=Tokens(9, 0, 0, 9, 0)),
)
ON_JOURNAL = (record(5, 2), record(6, 2, purpose="draft", parent="req_5"))


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    read = absolute(parse(CONFIG.format(folder=tmp_path), {}), tmp_path)
    with closing(FileJournal(tmp_path / "journal", "one")) as journal, closing(open_store(read.server.store)) as store:
        for each in STORED:
            journal.append(each)
        store.prepare()
        Intaker(JournalDirectory(tmp_path / "journal"), store, lambda records: None).step()
        for each in ON_JOURNAL:
            journal.append(each)
        yield read


def test_the_window_is_read_from_store_and_journal_once(settings: Settings) -> None:
    found = ledger_trace(settings, window("30d", None, now_ns=NOW), now_ns=NOW)
    assert found.trace.arrival_s.tolist() == [0, 3600, 10_800, 10_800]
    assert sorted(found.trace.output_tokens.tolist()) == [2, 3, 5, 6]
    assert found.begin_ns == NOW - 5 * HOUR
    assert (found.measured.requests, found.measured.hits, found.measured.asides) == (4, 1, 1)
    assert len(found.notes) == 2


def test_filters_choose_what_is_replayed(settings: Settings) -> None:
    found = ledger_trace(settings, window("60d", None, now_ns=NOW), ("team=search", "purpose=draft"), now_ns=NOW)
    assert found.trace.output_tokens.tolist() == [6]
    assert ledger_trace(settings, window("60d", None, now_ns=NOW), ("team=support",), now_ns=NOW).trace.output_tokens.tolist() == [3]


def test_a_filter_that_is_none_and_one_that_nothing_passes(settings: Settings) -> None:
    with pytest.raises(QueryError):
        ledger_trace(settings, window("30d", None, now_ns=NOW), ("team",), now_ns=NOW)
    with pytest.raises(TraceError, match="no requests in this window"):
        ledger_trace(settings, window("30d", None, now_ns=NOW), ("team=nobody",), now_ns=NOW)
