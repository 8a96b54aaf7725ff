"""`ports.documents.Documents` in the store's database, on a connection per call: they are few, and written seldom."""

from collections.abc import Sequence
from typing import Any

from penstock.adapters.stores.database import Database
from penstock.adapters.stores.sql import Dialect
from penstock.ports.documents import Document

_COLUMNS = "kind, id, at_ns, body"


def document_tables(dialect: Dialect) -> list[str]:
    """Statements that create what is missing."""
    integer, text = dialect.kinds["int"], dialect.kinds["text"]
    return [
        f"CREATE TABLE IF NOT EXISTS documents (kind {text} NOT NULL, id {text} NOT NULL, at_ns {integer} NOT NULL, body {text} NOT NULL, "
        f"PRIMARY KEY (kind, id)){dialect.clustered}",
        "CREATE INDEX IF NOT EXISTS documents_at ON documents (kind, at_ns)",
    ]


def insert_document(db: Any, mark: str, document: Document, conflict: str = "DO NOTHING") -> bool:
    """Puts it within the transaction of `db`; whether it was put."""
    marks = ", ".join([mark] * 4)
    values = (document.kind, document.id, document.at_ns, document.body)
    return bool(db.execute(f"INSERT INTO documents ({_COLUMNS}) VALUES ({marks}) ON CONFLICT {conflict}", values).rowcount > 0)


class SqlDocuments:
    """Writing creates the schema when it is missing; reading then finds nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mark = database.dialect.mark

    def add(self, document: Document) -> bool:
        with self._database.writing() as db:
            return insert_document(db, self._mark, document)

    def put(self, document: Document) -> None:
        with self._database.writing() as db:
            insert_document(db, self._mark, document, "(kind, id) DO UPDATE SET at_ns = excluded.at_ns, body = excluded.body")

    def swap(self, document: Document, expected: str | None) -> bool:
        if expected is None:
            return self.add(document)
        m = self._mark
        sql = f"UPDATE documents SET at_ns = {m}, body = {m} WHERE kind = {m} AND id = {m} AND body = {m}"
        with self._database.writing() as db:
            return bool(db.execute(sql, (document.at_ns, document.body, document.kind, document.id, expected)).rowcount)

    def get(self, kind: str, id: str) -> Document | None:
        m = self._mark
        rows = self._rows(f"SELECT {_COLUMNS} FROM documents WHERE kind = {m} AND id = {m}", (kind, id))
        return rows[0] if rows else None

    def since(self, kind: str, at_ns: int = 0, limit: int | None = None) -> Sequence[Document]:
        m, tail = self._mark, "" if limit is None else f" LIMIT {int(limit)}"
        sql = f"SELECT {_COLUMNS} FROM documents WHERE kind = {m} AND at_ns >= {m} ORDER BY at_ns DESC, id DESC{tail}"
        return self._rows(sql, (kind, at_ns))

    def remove(self, kind: str, id: str) -> None:
        m = self._mark
        with self._database.writing() as db:
            db.execute(f"DELETE FROM documents WHERE kind = {m} AND id = {m}", (kind, id))

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[Document]:
        with self._database.reading() as reading:
            return [] if reading is None else [Document(*row) for row in reading.rows(sql, parameters)]
