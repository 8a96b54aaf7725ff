"""Observations of what routing loses, in the store's database: `ports.evidence.EvidenceStore`, and what a delivery brings of them."""

from collections.abc import Iterable, Sequence
from operator import itemgetter

import msgspec

from penstock.adapters.stores.columns import MOST_INT, Row
from penstock.adapters.stores.database import Database
from penstock.adapters.stores.sql import Dialect
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Observation

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Observation).decode
_NUL, _STANDS_FOR_NUL = "\\u0000", "\\ufffd"


def evidence_tables(dialect: Dialect) -> list[str]:
    """Statements that create what is missing."""
    integer, text = dialect.kinds["int"], dialect.kinds["text"]
    return [
        f"CREATE TABLE IF NOT EXISTS observations (request {text} NOT NULL, judge {text} NOT NULL, at_ns {integer} NOT NULL, "
        f"route {text} NOT NULL, payload {text} NOT NULL, PRIMARY KEY (request, judge)){dialect.clustered}",
        "CREATE INDEX IF NOT EXISTS observations_at ON observations (at_ns)",
        "CREATE INDEX IF NOT EXISTS observations_route ON observations (route, at_ns)",
    ]


def insert_observation(dialect: Dialect) -> str:
    """The statement that adds one which is not there yet: what is delivered twice changes nothing."""
    marks = ", ".join([dialect.mark] * 5)
    return f"INSERT INTO observations (request, judge, at_ns, route, payload) VALUES ({marks}) ON CONFLICT (request, judge) DO NOTHING"


def rows_of(observations: Iterable[Observation]) -> list[Row]:
    """The values of `insert_observation`, in the order in which every writer takes hold of them."""
    return sorted(map(_row, observations))


def observed_in(records: Iterable[UsageRecord]) -> list[Row]:
    """The rows of what stands on records."""
    return rows_of(record.observed for record in records if record.observed is not None)


def _row(observation: Observation) -> Row:
    # No database takes NUL in text; a tag may hold one.
    payload = _encode(observation).decode().replace(_NUL, _STANDS_FOR_NUL)
    request, route = (text.replace("\0", "\ufffd") for text in (observation.id, observation.route))
    return request, observation.judge, min(max(observation.at_ns, -MOST_INT), MOST_INT), route, payload


class SqlEvidence:
    """`ports.evidence.EvidenceStore` on a connection per call. Writing creates a schema that is missing; reading finds nothing there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, observations: Sequence[Observation]) -> int:
        if not observations:
            return 0
        m, new = self._database.dialect.mark, 0
        insert = insert_observation(self._database.dialect)
        update = f"UPDATE observations SET at_ns = {m}, route = {m}, payload = {m} WHERE request = {m} AND judge = {m}"
        with self._database.writing() as db:
            for row in rows_of(observations):
                if db.execute(insert, row).rowcount > 0:
                    new += 1
                else:
                    request, judge, *values = row
                    db.execute(update, (*values, request, judge))
        return new

    def since(self, at_ns: int, route: str | None = None, limit: int | None = None) -> Sequence[Observation]:
        m = self._database.dialect.mark
        of_route, parameters = ("", [max(at_ns, -MOST_INT)]) if route is None else (f" AND route = {m}", [max(at_ns, -MOST_INT), route])
        wanted = f"SELECT payload, at_ns, request, judge FROM observations WHERE at_ns >= {m}{of_route}"
        order = "ORDER BY at_ns DESC, request DESC, judge DESC"
        apart = [""] if limit is None else [f" AND judge {which} 'feedback'" for which in ("<>", "=")]
        tail = "" if limit is None else f" LIMIT {int(limit)}"
        with self._database.reading() as reading:
            found = [row for which in apart for row in (reading.rows(f"{wanted}{which} {order}{tail}", parameters) if reading else ())]
        return [_decode(payload) for payload, *_ in sorted(found, key=itemgetter(1, 2, 3))]
