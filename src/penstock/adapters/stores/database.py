"""What the tables beside the ledger are read and written through: a database of either kind."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

from penstock.adapters.stores.snapshot import Reading
from penstock.adapters.stores.sql import Dialect


class Database(Protocol):
    """What `SqliteDatabase` and `PostgresDatabase` have in common."""

    dialect: Dialect

    def reading(self) -> AbstractContextManager[Reading | None]: ...

    def writing(self) -> AbstractContextManager[Any]: ...
