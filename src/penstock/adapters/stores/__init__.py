"""The ledger's store by its URL: `sqlite:///file.db` (`sqlite:////absolute/file.db`) or `postgresql://user@host/database`.

Opening touches nothing yet. A store opened `read_only` never creates a file or a table: where there is none it is empty,
so a report then shows what stands on the journal alone.
"""

from typing import TYPE_CHECKING

from penstock.ports.cost_store import CostStore
from penstock.ports.documents import Documents
from penstock.ports.evidence import EvidenceStore
from penstock.ports.key_store import KeyStore
from penstock.ports.usage_store import StoreError, UsageStore

if TYPE_CHECKING:
    from types import ModuleType

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def open_store(url: str, *, read_only: bool = False) -> UsageStore:
    """The store behind a URL. Raises `StoreError` for a URL of no known kind, or a missing driver."""
    if path := _sqlite_path(url):
        from penstock.adapters.stores.sqlite import SqliteStore

        return SqliteStore(path, read_only=read_only)
    store: UsageStore = _postgres().PostgresStore(url, read_only=read_only)
    return store


def open_keys(url: str) -> KeyStore:
    """The keys in the same database. Raises `StoreError` as `open_store` does."""
    from penstock.adapters.stores.keys import SqlKeys

    if path := _sqlite_path(url):
        from penstock.adapters.stores.sqlite import SqliteDatabase

        return SqlKeys(SqliteDatabase(path))
    return SqlKeys(_postgres().PostgresDatabase(url))


def open_documents(url: str) -> Documents:
    """The documents in the same database. Raises `StoreError` as `open_store` does."""
    from penstock.adapters.stores.documents import SqlDocuments

    if path := _sqlite_path(url):
        from penstock.adapters.stores.sqlite import SqliteDatabase

        return SqlDocuments(SqliteDatabase(path))
    return SqlDocuments(_postgres().PostgresDatabase(url))


def open_evidence(url: str) -> EvidenceStore:
    """The evidence of routing in the same database. Raises `StoreError` as `open_store` does."""
    from penstock.adapters.stores.evidence import SqlEvidence

    if path := _sqlite_path(url):
        from penstock.adapters.stores.sqlite import SqliteDatabase

        return SqlEvidence(SqliteDatabase(path))
    return SqlEvidence(_postgres().PostgresDatabase(url))


def open_costs(url: str) -> CostStore:
    """What writes the other rows of the ledger in the same database. Raises `StoreError` as `open_store` does."""
    from penstock.adapters.stores.costs import SqlCosts

    if path := _sqlite_path(url):
        from penstock.adapters.stores.sqlite import SqliteDatabase

        return SqlCosts(SqliteDatabase(path))
    return SqlCosts(_postgres().PostgresDatabase(url))


def _sqlite_path(url: str) -> str | None:
    """The file of an SQLite URL; None for a PostgreSQL one."""
    if url.startswith(_POSTGRES):
        return None
    path = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not path:
        kind = url.partition("://")[0]
        raise StoreError(
            f"there is no store of the kind `{kind}://`", "write [server] store as `sqlite:///penstock.db` or `postgresql://host/database`"
        )
    return path


def _postgres() -> "ModuleType":
    try:
        from penstock.adapters.stores import postgres
    except ImportError as problem:
        raise StoreError("a postgresql:// store needs psycopg", "install the extra: `pip install 'penstock[postgres]'`") from problem
    return postgres
