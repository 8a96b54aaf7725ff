"""A store that cannot be used says which, why, and what to do about it; a password is never part of it."""

import os
import resource
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.adapters.stores import open_keys, open_store
from penstock.adapters.stores.sqlite import SqliteDatabase, SqliteStore
from penstock.ports.usage_store import Intake, StoreError
from tests.ledger_entries import record


@pytest.mark.parametrize("open_it", [open_store, open_keys])
@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite:///", "penstock.db", "sqlite://penstock.db"])
def test_an_unknown_kind_of_store(open_it: Callable[[str], object], url: str) -> None:
    with pytest.raises(StoreError) as refusal:
        open_it(url)
    assert "`sqlite:///penstock.db`" in refusal.value.hint


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "penstock.adapters.stores.postgres", raising=False)
    monkeypatch.delattr("penstock.adapters.stores.postgres", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match="needs psycopg") as refusal:
        open_store("postgresql://host/database")
    assert "penstock[postgres]" in refusal.value.hint


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"absent/ledger\.db cannot be opened") as refusal:
        open_store(f"sqlite:///{tmp_path}/absent/ledger.db").prepare()
    assert "create its directory" in refusal.value.hint
    assert not (tmp_path / "absent").exists()


def test_a_directory_in_which_no_file_can_be_made() -> None:
    with pytest.raises(StoreError, match=r"the store /proc/ledger\.db cannot be opened"):
        open_store("sqlite:////proc/ledger.db").prepare()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a ledger, " * 100)
    store = open_store(f"sqlite:///{tmp_path}/notes.db")
    with pytest.raises(StoreError, match="is not an SQLite database"):
        store.prepare()
    with pytest.raises(StoreError, match="is not an SQLite database"), store.snapshot():
        pass


def test_a_read_only_file_is_named_as_such(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "ledger.db")
    database.connect().close()
    frozen = sqlite3.connect(f"file:{database.path}?mode=ro", uri=True)
    with pytest.raises(StoreError, match="is read-only") as refusal, database.told():
        frozen.execute("CREATE TABLE records (id TEXT)")
    frozen.close()
    assert "writable" in refusal.value.hint


def test_a_store_that_another_process_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.adapters.stores.sqlite.BUSY_TIMEOUT_S", 0.05)
    store = SqliteStore(tmp_path / "ledger.db")
    store.prepare()
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="held by another process"):
        store.take_in(Intake([record("a")], (), (), {}))
    with store.snapshot() as snapshot:
        assert snapshot.find("a") is None, "readers are not held up"
    other.close()
    assert store.take_in(Intake([record("a")], (), (), {})) == 1
    store.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda url: open_keys(url).all(),
        lambda url: open_store(url).snapshot().__enter__(),
        lambda url: open_store(url).prepare(),
    ],
    ids=["keys", "snapshot", "prepare"],
)
def test_no_descriptor_left(tmp_path: Path, use: Callable[[str], object]) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = open_store(url)
    store.prepare()
    store.close()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(StoreError, match="cannot be opened"):
            use(url)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(os.listdir("/proc/self/fd")) == held
    assert open_keys(url).all() == []


def test_a_path_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refused)
    with pytest.raises(StoreError, match="cannot be opened"), SqliteStore(tmp_path / "ledger.db").snapshot():
        pass


def test_a_path_with_odd_characters(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "50 % of? #1.db")
    store.prepare()
    with store.snapshot() as snapshot:
        assert snapshot.offsets() == {}
    store.close()


@pytest.mark.postgres
def test_a_server_that_is_not_there() -> None:
    pytest.importorskip("psycopg")
    url = "postgresql://penstock:s3cret@127.0.0.1:1/ledger"
    for attempt in (lambda: open_store(url).prepare(), lambda: open_keys(url).all()):
        with pytest.raises(StoreError, match=r"postgresql://127\.0\.0\.1:1/ledger cannot be reached") as refusal:
            attempt()
        assert "s3cret" not in f"{refusal.value} {refusal.value.hint}"
        assert "[server] store" in refusal.value.hint


@pytest.mark.postgres
def test_a_server_that_only_reads(postgres_url: str) -> None:
    store = open_store(f"{postgres_url}?options=-cdefault_transaction_read_only%3Don")
    with pytest.raises(StoreError, match="is read-only") as refusal:
        store.prepare()
    assert "primary" in refusal.value.hint
    store.close()


@pytest.mark.postgres
def test_a_lost_connection_raises_once_and_comes_back(postgres_url: str) -> None:
    import psycopg

    store = open_store(postgres_url)
    store.prepare()
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(StoreError):
        store.take_in(Intake([record("a")], (), (), {}))
    assert store.take_in(Intake([record("a")], (), (), {})) == 1
    store.close()
