"""Moves days of records from the store into the archive, in steps of which each may be the last: file, entry, manifest, deletion."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import msgspec

from penstock.adapters.archive import parquet
from penstock.adapters.archive.parts import DAY_NS, Parts
from penstock.adapters.archive.places import Place
from penstock.adapters.stores.columns import NAMES
from penstock.adapters.stores.database import Database
from penstock.ports.archive import ArchiveError, Part

MANIFEST = "manifest.json"


class SealedArchive:
    """`ports.archive.Archive`, for one store and one place."""

    def __init__(self, database: Database, place: Place) -> None:
        self._database, self._place = database, place
        self._parts = Parts(database)
        self._mark = database.dialect.mark

    def days(self, until_ns: int) -> Iterator[int]:
        since_ns = -(2**62)
        while True:
            with self._database.reading() as reading:
                sql = f"SELECT min(admitted_ns) FROM records WHERE admitted_ns >= {self._mark}"
                [(first,)] = reading.rows(sql, (since_ns,)) if reading is not None else [(None,)]
            if first is None or (first // DAY_NS + 1) * DAY_NS > until_ns:
                return
            yield first // DAY_NS
            since_ns = (first // DAY_NS + 1) * DAY_NS

    def seal(self, day: int) -> Part | None:
        written = self._place.scratch() / f"penstock-{token_hex(8)}.parquet"
        try:
            tally = self._written(written, day)
            if not tally.records:
                return None
            part = Part(
                path=f"records/day={_label(day)}/part-{tally.sha256[:16]}.parquet",
                day=day,
                records=tally.records,
                first_ns=tally.first_ns,
                last_ns=tally.last_ns,
                cost=tally.cost,
                sha256=tally.sha256,
                forgotten_ns=tally.first_ns,
            )
            self._place.publish(written, part.path)
        finally:
            written.unlink(missing_ok=True)
        self.verify(part)
        if not self._parts.enter(part):
            return None
        self._put_manifest()
        return part

    def forget(self, limit: int) -> int:
        unfinished = [part for part in self._parts.all() if part.forgotten_ns <= part.last_ns]
        for part in unfinished:
            if part.forgotten_ns == part.first_ns:
                self.verify(part)
                self._put_manifest()
            with self._place.read(part.path) as file:
                places = parquet.places_of_records(file, part.forgotten_ns, limit)
            if not places:
                raise ArchiveError(f"{part.path} lacks records that were sealed into it", "restore it from a backup of the archive")
            if self._parts.forget(part, [id for _, id in places], places[-1][0] + 1):
                return len(places)
        return 0

    def verify(self, part: Part) -> None:
        """Reads a part whole. Raises `ArchiveError` unless it holds what it was sealed with."""
        with self._place.read(part.path) as file:
            found = parquet.digest(file)
        if (found.records, found.first_ns, found.last_ns, found.cost, found.sha256) != (
            part.records, part.first_ns, part.last_ns, part.cost, part.sha256
        ):  # fmt: skip
            raise ArchiveError(f"{part.path} does not hold what was written into it", f"look at the disk or bucket of {self._place.url}")

    def _written(self, path: Path, day: int) -> parquet.Tally:
        with self._database.reading() as reading:
            if reading is None:
                return parquet.Tally()
            sql = (
                f"SELECT {', '.join(NAMES)} FROM records WHERE admitted_ns >= {self._mark} AND admitted_ns < {self._mark} "
                "ORDER BY admitted_ns, id"
            )
            return parquet.write(path, reading.stream(sql, (day * DAY_NS, (day + 1) * DAY_NS)))

    def _put_manifest(self) -> None:
        """Names every entered part, for those who read the archive without the store."""
        parts = [msgspec.structs.asdict(part) for part in self._parts.all()]
        for part in parts:
            del part["forgotten_ns"]
        written = self._place.scratch() / f"penstock-{token_hex(8)}.json"
        try:
            written.write_bytes(msgspec.json.format(msgspec.json.encode({"version": 1, "parts": parts})))
            self._place.publish(written, MANIFEST)
        except OSError as problem:
            raise ArchiveError(
                f"{written} cannot be written: {problem}", "free space there, or make it writable for this user"
            ) from problem
        finally:
            written.unlink(missing_ok=True)


def _label(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
