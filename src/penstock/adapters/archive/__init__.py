"""The archive of the ledger: old days as Parquet in a directory or bucket, written once, read by DuckDB."""

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from penstock.ports.archive import Archive, ArchiveError, Part

if TYPE_CHECKING:
    from penstock.adapters.archive.places import Place
    from penstock.adapters.stores.database import Database
    from penstock.ports.usage_store import UsageStore


def open_archive(url: str, store_url: str, environ: Mapping[str, str] = os.environ) -> Archive:
    """Moves records of the store at `store_url` into the archive at `url`. Raises `ArchiveError`, `StoreError`."""
    from penstock.adapters.archive.sealed import SealedArchive

    return SealedArchive(_database(store_url), _place(url, environ))


def archived(
    store: "UsageStore",
    url: str,
    store_url: str,
    environ: Mapping[str, str] = os.environ,
    *,
    clock: Callable[[], int] = time.time_ns,
) -> "UsageStore":
    """A store of `store_url` that answers from its archive too. Raises `ArchiveError`, `StoreError`."""
    from penstock.adapters.archive.store import ArchivedStore

    return ArchivedStore(store, _database(store_url), _place(url, environ), clock=clock)


def sealed_files(url: str, store_url: str, environ: Mapping[str, str] = os.environ) -> "tuple[Place, list[Part]]":
    """Where the archive lies and what the store has sealed there: what `analytics.duckdb_source` reads."""
    from penstock.adapters.archive.parts import Parts

    return _place(url, environ), Parts(_database(store_url)).all()


def _place(url: str, environ: Mapping[str, str]) -> "Place":
    try:
        import duckdb  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as problem:
        raise ArchiveError("an archive needs DuckDB and pyarrow", "install the extra: `pip install 'penstock[archive]'`") from problem
    from penstock.adapters.archive.places import place_of

    return place_of(url, environ)


def _database(store_url: str) -> "Database":
    if store_url.startswith(("postgresql://", "postgres://")):
        from penstock.adapters.stores.postgres import PostgresDatabase

        return PostgresDatabase(store_url)
    from penstock.adapters.stores.sqlite import SqliteDatabase

    return SqliteDatabase(store_url.removeprefix("sqlite:///"))
