"""API keys in the store's database, on a connection per call: they are read every few seconds and written by hand."""

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.adapters.stores.audit import document_of
from penstock.adapters.stores.database import Database
from penstock.adapters.stores.documents import insert_document
from penstock.ports.audit_log import AuditEntry
from penstock.ports.key_store import ApiKey

_COLUMNS = ApiKey.__struct_fields__
_LISTS = ("tags", "models", "tiers")
"""kept as JSON"""


class SqlKeys:
    """`ports.key_store.KeyStore`. Writing creates the schema when it is missing; reading then finds no keys."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mark = database.dialect.mark

    def add(self, key: ApiKey, noted: AuditEntry | None = None) -> None:
        """Raises `StoreError`, also when the id or the hash is already there."""
        with self._database.writing() as db:
            self._insert(db, key)
            self._note(db, noted)

    def all(self) -> list[ApiKey]:
        """Every key, oldest first. Raises `StoreError`."""
        with self._database.reading() as reading:
            if reading is None:
                return []
            return [_key(row) for row in reading.rows(f"SELECT {', '.join(_COLUMNS)} FROM api_keys ORDER BY created_ns, id")]

    def revoke(self, key_id: str, revoked_ns: int, noted: AuditEntry | None = None) -> bool:
        mark = self._mark
        with self._database.writing() as db:
            sql = f"UPDATE api_keys SET revoked_ns = {mark} WHERE id = {mark} AND revoked_ns IS NULL"
            if not db.execute(sql, (revoked_ns, key_id)).rowcount:
                return False
            self._note(db, noted)
        return True

    def rotate(self, key_id: str, successor: ApiKey, until_ns: int, noted: AuditEntry | None = None) -> bool:
        mark = self._mark
        sql = (
            f"UPDATE api_keys SET replaced_by = {mark}, rotated_ns = {mark}, "
            f"expires_ns = CASE WHEN expires_ns < {mark} THEN expires_ns ELSE {mark} END "
            f"WHERE id = {mark} AND revoked_ns IS NULL AND replaced_by IS NULL"
        )
        with self._database.writing() as db:
            if not db.execute(sql, (successor.id, successor.created_ns, until_ns, until_ns, key_id)).rowcount:
                return False
            self._insert(db, successor)
            self._note(db, noted)
        return True

    def _insert(self, db: Any, key: ApiKey) -> None:
        marks = ", ".join([self._mark] * len(_COLUMNS))
        db.execute(f"INSERT INTO api_keys ({', '.join(_COLUMNS)}) VALUES ({marks})", _row(key))

    def _note(self, db: Any, noted: AuditEntry | None) -> None:
        if noted is not None:
            insert_document(db, self._mark, document_of(noted))


def _row(key: ApiKey) -> tuple[Any, ...]:
    fields = msgspec.structs.asdict(key)
    for name in _LISTS:
        fields[name] = msgspec.json.encode(fields[name]).decode()
    return tuple(fields.values())


def _key(row: Sequence[Any]) -> ApiKey:
    """A key of an older penstock has neither tiers nor an account."""
    fields = {name: value for name, value in zip(_COLUMNS, row, strict=True) if value is not None}
    for name in _LISTS:
        fields[name] = msgspec.json.decode(fields.get(name, "[]"))
    return msgspec.convert(fields, ApiKey)
