"""API keys in the store's database, on a connection per call: they are read every few seconds and written by hand."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from penstock.adapters.stores.snapshot import Reading
from penstock.adapters.stores.sql import Dialect
from penstock.ports.key_store import ApiKey

_COLUMNS = ApiKey.__struct_fields__


class Database(Protocol):
    """What `SqliteDatabase` and `PostgresDatabase` have in common."""

    dialect: Dialect

    def reading(self) -> AbstractContextManager[Reading | None]: ...

    def writing(self) -> AbstractContextManager[Any]: ...


class SqlKeys:
    """`ports.key_store.KeyStore`. Writing creates the schema when it is missing; reading then finds no keys."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mark = database.dialect.mark

    def add(self, key: ApiKey) -> None:
        """Raises `StoreError`, also when the id or the hash is already there."""
        marks = ", ".join([self._mark] * len(_COLUMNS))
        with self._database.writing() as db:
            db.execute(f"INSERT INTO api_keys ({', '.join(_COLUMNS)}) VALUES ({marks})", _row(key))

    def all(self) -> list[ApiKey]:
        """Every key, oldest first. Raises `StoreError`."""
        with self._database.reading() as reading:
            if reading is None:
                return []
            return [_key(row) for row in reading.rows(f"SELECT {', '.join(_COLUMNS)} FROM api_keys ORDER BY created_ns, id")]

    def revoke(self, key_id: str, revoked_ns: int) -> bool:
        mark = self._mark
        with self._database.writing() as db:
            sql = f"UPDATE api_keys SET revoked_ns = {mark} WHERE id = {mark} AND revoked_ns IS NULL"
            return bool(db.execute(sql, (revoked_ns, key_id)).rowcount)


def _row(key: ApiKey) -> tuple[Any, ...]:
    fields = msgspec.structs.asdict(key)
    fields["tags"] = msgspec.json.encode(key.tags).decode()
    fields["models"] = msgspec.json.encode(key.models).decode()
    return tuple(fields.values())


def _key(row: Sequence[Any]) -> ApiKey:
    fields = dict(zip(_COLUMNS, row, strict=True))
    fields["tags"] = msgspec.json.decode(fields["tags"])
    fields["models"] = msgspec.json.decode(fields["models"])
    return msgspec.convert(fields, ApiKey)
