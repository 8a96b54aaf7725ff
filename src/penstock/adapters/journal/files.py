"""The writing side of the journal: a line per entry, one `write` each, in the caller's thread.

What a returned call wrote survives `kill -9` (it is in the page cache); `fsync` decides what survives a power loss.
"""

import fcntl
import os
from pathlib import Path
from typing import Literal

import msgspec

from penstock.adapters.journal.lines import record_line, reservation_line, segment_name
from penstock.adapters.journal.syncer import Syncer
from penstock.domain.ledger.record import Reservation, UsageRecord
from penstock.ports.journal import JournalError

SEGMENT_BYTES = 64 * 2**20
BATCH_DELAY_S = 0.2
_HINT = "free space or mend permissions there, or point [server] journal elsewhere"
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class FileJournal:
    """Segments `<directory>/<writer>.<number>.jsonl`; the writer's lock on the newest one says that it lives.

    `writer` is unique per process instance and host: two live journals of one name in one directory, or one name used
    again, raise `JournalError`. `fsync`: never = the OS decides; batch = in the background, nobody waits, a failure is raised
    by the next `reserve`; always = `durable` waits for it.
    """

    def __init__(
        self,
        directory: str | Path,
        writer: str,
        fsync: Literal["never", "batch", "always"] = "batch",
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._directory, self._writer, self._segment_bytes = Path(directory), writer, segment_bytes
        self._encode = msgspec.json.Encoder().encode
        self._number = self._size = self._written = 0
        self._torn = False
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise self._error("create the journal", self._directory, problem) from problem
        self._fd = self._open(0)
        self._waits = fsync == "always"
        self._reported: OSError | None = None
        self._syncer: Syncer | None = None
        if fsync != "never":
            self._syncer = Syncer(self._fd, self._directory, lambda: self._written, 0.0 if self._waits else BATCH_DELAY_S)

    @property
    def path(self) -> Path:
        """The segment that is being written."""
        return self._directory / segment_name(self._writer, self._number)

    def reserve(self, reservation: Reservation) -> None:
        """Write a reservation. Raises `JournalError`, also for a background sync that failed since the last call."""
        syncer = self._syncer
        if syncer is not None and syncer.problem is not self._reported:
            self._reported = syncer.problem
            raise self._error("sync the journal", self.path, self._reported)
        try:
            payload = self._encode(reservation)
        except UnicodeEncodeError as problem:
            raise _unwritable(problem) from problem
        self._write(reservation_line(payload))

    def append(self, record: UsageRecord) -> None:
        """Write a finished record. Raises `JournalError`."""
        try:
            payload = self._encode(record)
        except UnicodeEncodeError as problem:
            raise _unwritable(problem) from problem
        self._write(record_line(payload))

    async def durable(self) -> None:
        """Free unless `fsync = "always"`; then returns after a sync that covers all written so far, or raises `JournalError`."""
        if self._waits and self._syncer is not None:
            try:
                await self._syncer.wait()
            except OSError as problem:
                self._reported = self._syncer.problem
                raise self._error("sync the journal", self.path, problem) from problem

    def close(self) -> None:
        """Sync (unless `fsync = "never"`) and release; a second call does nothing."""
        if self._fd < 0:
            return
        if self._syncer is not None:
            self._syncer.stop()
        else:
            os.close(self._fd)
        self._fd = -1

    def _write(self, line: bytes) -> None:
        if self._torn:
            self._mend()
        try:
            written = os.write(self._fd, line)
        except OSError as problem:
            self._torn = True
            raise self._error("write the journal", self.path, problem) from problem
        if written != len(line):
            self._torn = True
            raise self._error("write the journal", self.path, None)
        self._size += written
        self._written += written
        syncer = self._syncer
        if syncer is not None and not syncer.dirty:
            syncer.touch()
        if self._size >= self._segment_bytes:
            self._rotate_if_possible()

    def _mend(self) -> None:
        """Cut a torn line off before anything follows it; where that fails, leave it behind in a closed segment."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._rotate()
        self._torn = False

    def _rotate_if_possible(self) -> None:
        """The entry at hand is already written, so a full disk is no error of it: the next entries meet it in `_write`."""
        try:
            self._rotate()
        except JournalError:
            self._segment_bytes += SEGMENT_BYTES

    def _rotate(self) -> None:
        fd = self._open(self._number + 1)
        old, self._fd = self._fd, fd
        self._number += 1
        self._size = 0
        if self._syncer is not None:
            self._syncer.swap(fd)
        else:
            os.close(old)

    def _open(self, number: int) -> int:
        """A new segment, locked before its name appears: a reader never sees a live segment without its lock."""
        path = self._directory / segment_name(self._writer, number)
        hidden = path.with_name(f".{path.name}")
        try:
            if path.exists():
                raise FileExistsError(17, "a journal of this writer is already there")
            fd = os.open(hidden, _FLAGS, 0o640)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                hidden.rename(path)
            except OSError:
                os.close(fd)
                raise
        except OSError as problem:
            raise self._error("open the journal", path, problem) from problem
        return fd

    def _error(self, verb: str, path: Path, problem: OSError | None) -> JournalError:
        reason = "no space left on device" if problem is None else (problem.strerror or str(problem)).lower()
        return JournalError(f"cannot {verb} {path}: {reason}", _HINT)


def _unwritable(problem: UnicodeEncodeError) -> JournalError:
    return JournalError(f"cannot write an entry to the journal: it holds text that is not valid unicode ({problem.reason})")
