"""The reading side of the journal: segments in order, entry by entry, whatever a killed writer left behind."""

import fcntl
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from penstock.adapters.journal.lines import parse_line, parse_segment, segment_name
from penstock.ports.journal import Chunk, Entry, JournalError

BLOCK_BYTES = 2**20
_READ_HINT = "let this user read [server] journal; a segment that is beyond rescue can be moved out of it"


class JournalDirectory:
    """Every segment of a directory, by writer and number. A directory that is not there is an empty journal.

    A read takes the segments that stood there when it began, each up to the size it had when the read came to it, so it ends
    however fast writers write. Memory: one block of `block_bytes` (or the longest line) and `limit` entries.
    A segment that cannot be read keeps the later ones of its writer back, for they belong together; the other writers are read,
    and then `JournalError` names what is missing.
    """

    def __init__(self, directory: str | Path, block_bytes: int = BLOCK_BYTES) -> None:
        self._directory, self._block_bytes = Path(directory), block_bytes

    def read(self, offsets: dict[str, int], limit: int = 5000) -> Iterator[Chunk]:
        """Chunks beyond `offsets` (segment -> bytes); see the port."""
        try:
            segments = self._segments()
        except OSError as problem:
            raise JournalError(_unread(self._directory, problem), _READ_HINT) from problem
        missing: list[str] = []
        for writer, numbers in segments:
            pending = deque(numbers)
            try:
                yield from self._read_writer(writer, pending, offsets, limit)
            except OSError as problem:
                after = f", and {len(pending)} later of its writer" if pending else ""
                missing.append(_unread(problem.filename or f"{self._directory} (writer {writer})", problem) + after)
        if missing:
            raise JournalError("; ".join(missing), _READ_HINT)

    def alive(self) -> set[str]:
        """Writers whose newest segment is locked. Raises `JournalError` when the directory cannot be listed."""
        try:
            return {writer for writer, numbers in self._segments() if self._locked(segment_name(writer, numbers[-1]))}
        except OSError as problem:
            raise JournalError(_unread(self._directory, problem), _READ_HINT) from problem

    def discard(self, segment: str) -> None:
        """Remove a closed segment. One that is already gone is fine; raises `JournalError` when it cannot be removed."""
        try:
            (self._directory / segment).unlink(missing_ok=True)
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise JournalError(
                f"cannot remove the journal segment {self._directory / segment}: {reason}", "make [server] journal writable for this user"
            ) from problem

    def _locked(self, name: str) -> bool:
        try:
            fd = os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _unlocked(fd)
        finally:
            os.close(fd)

    def _segments(self) -> list[tuple[str, list[int]]]:
        found: dict[str, list[int]] = {}
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        for name in names:
            if parsed := parse_segment(name):
                found.setdefault(parsed[0], []).append(parsed[1])
        return [(writer, sorted(numbers)) for writer, numbers in sorted(found.items())]

    def _read_writer(self, writer: str, pending: deque[int], offsets: dict[str, int], limit: int) -> Iterator[Chunk]:
        while pending:
            number = pending.popleft()
            name = segment_name(writer, number)
            try:
                fd = os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                # Order matters: the lock first, then the successor, then the bytes. A writer opens its next segment before
                # it lets go of the last, so a free lock without a successor means that it is gone.
                closed = bool(pending) or _unlocked(fd)
                gone = closed and not pending and not (self._directory / segment_name(writer, number + 1)).exists()
                yield from self._chunks(fd, Chunk(name, writer, offsets.get(name, 0), 0, (), closed, 0, gone), limit)
            finally:
                os.close(fd)

    def _chunks(self, fd: int, frame: Chunk, limit: int) -> Iterator[Chunk]:
        """`frame` says segment, writer, start, closed and gone; only the last chunk of a segment is closed or gone."""
        size = os.fstat(fd).st_size
        start = end = frame.start
        entries: list[Entry] = []
        damaged = suspect = 0
        for line, after in self._lines(fd, start, size):
            entry = parse_line(line)
            if entry is None:
                suspect += 1
                continue
            entries.append(entry)
            end, damaged, suspect = after, damaged + suspect, 0
            if len(entries) >= limit:
                yield Chunk(frame.segment, frame.writer, start, end, tuple(entries), False, damaged)
                start, damaged = end, 0
                entries.clear()
        if frame.closed:
            torn = self._last_byte_torn(fd, start, size)
            end, damaged = max(end, size), damaged + suspect + torn
        if entries or frame.closed:
            yield Chunk(frame.segment, frame.writer, start, end, tuple(entries), frame.closed, damaged, frame.gone)

    def _lines(self, fd: int, start: int, size: int) -> Iterator[tuple[bytes, int]]:
        """Whole lines from `start`, each with the offset after its newline."""
        position, want = start, self._block_bytes
        while position < size:
            block = os.pread(fd, min(want, size - position), position)
            cut = block.rfind(b"\n")
            if cut < 0:
                if len(block) < want:
                    return
                want *= 2
                continue
            want = self._block_bytes
            for line in block[:cut].split(b"\n"):
                position += len(line) + 1
                yield line, position

    def _last_byte_torn(self, fd: int, start: int, size: int) -> bool:
        return size > start and os.pread(fd, 1, size - 1) != b"\n"


def _unread(where: str | Path, problem: OSError) -> str:
    return f"cannot read the journal {where}: {(problem.strerror or str(problem)).lower()}"


def _unlocked(fd: int) -> bool:
    """True when no writer holds the segment (a reader's own lock is shared, so readers don't mistake each other)."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
