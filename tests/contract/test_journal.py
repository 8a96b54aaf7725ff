"""What the journal promises: what a returned call wrote is read exactly once and in order, whatever else the file suffered."""

import asyncio
import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.journal.files import FileJournal
from penstock.adapters.journal.lines import parse_segment, record_line, reservation_line
from penstock.adapters.journal.reader import JournalDirectory
from penstock.domain.ledger.record import Reservation
from penstock.ports.journal import Chunk, Entry, JournalError
from tests.ledger_entries import RECORD, RESERVATION, record, reservation

COMMON = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
SEGMENT = "w.000000.jsonl"


def write(journal: FileJournal, *entries: Entry) -> None:
    for entry in entries:
        if isinstance(entry, Reservation):
            journal.reserve(entry)
        else:
            journal.append(entry)


def lines(*entries: Entry) -> list[bytes]:
    encode = msgspec.json.encode
    return [reservation_line(encode(each)) if isinstance(each, Reservation) else record_line(encode(each)) for each in entries]


def read(directory: Path, offsets: dict[str, int] | None = None, **options: int) -> list[Chunk]:
    return list(JournalDirectory(directory, **options).read(offsets or {}))


def entries(chunks: list[Chunk]) -> list[Entry]:
    return [entry for chunk in chunks for entry in chunk.entries]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FileJournal]:
    journal = FileJournal(tmp_path, "w", "never")
    yield journal
    journal.close()


@COMMON
@given(st.lists(RECORD | RESERVATION, max_size=6), st.integers(1, 4), st.integers(1, 4000), st.sampled_from(["never", "batch", "always"]))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, given: list[Entry], limit: int, size: int, fsync: Literal["never", "batch", "always"]
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = FileJournal(directory, "w", fsync, segment_bytes=size)
    write(journal, *given)
    alive = read(directory, block_bytes=64)
    assert entries(alive) == given
    assert not any(chunk.gone for chunk in alive)
    journal.close()
    chunks = list(JournalDirectory(directory, block_bytes=64).read({}, limit))
    assert entries(chunks) == given
    assert max(len(chunk.entries) for chunk in chunks) <= limit
    assert [chunk.gone for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert sum(chunk.damaged for chunk in chunks) == 0
    again = read(directory, {chunk.segment: chunk.end for chunk in chunks})
    assert entries(again) == []
    assert all(chunk.closed and chunk.start == chunk.end for chunk in again), "a closed segment is told of even when it holds nothing new"


FIVE: tuple[Entry, ...] = (reservation("1"), record("1", tags={"team": "ü\n"}), reservation("2"), record("3"), record("4"))


@COMMON
@given(st.data())
def test_a_segment_cut_anywhere_keeps_every_whole_line(tmp_path: Path, data: st.DataObject) -> None:
    whole = lines(*FIVE)
    text = b"".join(whole)
    cut = data.draw(st.integers(0, len(text)))
    (tmp_path / SEGMENT).write_bytes(text[:cut])
    [chunk] = read(tmp_path)
    ends = [sum(map(len, whole[: n + 1])) for n in range(5)]
    assert list(chunk.entries) == [entry for entry, end in zip(FIVE, ends, strict=True) if end <= cut]
    assert (chunk.end, chunk.closed, chunk.gone) == (cut, True, True)
    assert chunk.damaged == (0 if cut in (0, *ends) else 1)


@COMMON
@given(st.data())
def test_a_damaged_byte_costs_no_other_line(tmp_path: Path, data: st.DataObject) -> None:
    whole = lines(*FIVE)
    text = bytearray(b"".join(whole))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] = data.draw(st.integers(0, 255).filter(lambda value: value != text[at]))
    (tmp_path / SEGMENT).write_bytes(text)
    chunks = read(tmp_path)
    hit = next(n for n in range(5) if at < sum(map(len, whole[: n + 1])))
    lost_newline = at == sum(map(len, whole[: hit + 1])) - 1
    survivors = [entry for n, entry in enumerate(FIVE) if n != hit and not (lost_newline and n == hit + 1)]
    same_digits = at - sum(map(len, whole[:hit])) < 8 and entries(chunks) == list(FIVE)  # a hex digit in upper case says the same
    assert entries(chunks) == survivors or same_digits
    assert same_digits or sum(chunk.damaged for chunk in chunks) >= 1


def test_a_line_in_the_making_is_left_for_later(tmp_path: Path, journal: FileJournal) -> None:
    write(journal, FIVE[0])
    half = lines(FIVE[1])[0]
    with journal.path.open("ab") as segment:
        segment.write(half[:30])
    [chunk] = read(tmp_path)
    assert (chunk.entries, chunk.closed, chunk.damaged) == (FIVE[:1], False, 0)
    assert read(tmp_path, {SEGMENT: chunk.end}) == []
    with journal.path.open("ab") as segment:
        segment.write(half[30:])
    assert entries(read(tmp_path, {SEGMENT: chunk.end})) == [FIVE[1]]


def test_damage_in_a_live_segment_is_passed_only_by_what_follows(tmp_path: Path, journal: FileJournal) -> None:
    with journal.path.open("ab") as segment:
        segment.write(b"garbage\n")
    assert read(tmp_path) == []
    write(journal, FIVE[1])
    [chunk] = read(tmp_path)
    assert (chunk.entries, chunk.damaged) == (FIVE[1:2], 1)


def test_a_rotation_between_listing_and_lock_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(tmp_path, "w", "never", segment_bytes=1)
    reader = JournalDirectory(tmp_path)
    stale = reader._segments()
    write(journal, *FIVE[:2])
    with monkeypatch.context() as late:
        late.setattr(reader, "_segments", lambda: stale)
        [chunk] = reader.read({})
    assert (chunk.entries, chunk.closed) == (FIVE[:1], True)
    assert not chunk.gone, "the writer lives in its next segment"
    assert entries(list(reader.read({chunk.segment: chunk.end}))) == [FIVE[1]]
    journal.close()
    assert [chunk.gone for chunk in reader.read({})][-1]


def test_segments_come_in_order_and_end_once(tmp_path: Path) -> None:
    first, second = FileJournal(tmp_path, "a.b", "never", segment_bytes=300), FileJournal(tmp_path, "z", "never")
    many = [record(str(n)) for n in range(20)]
    write(first, *many)
    write(second, record("z"))
    first.close()
    chunks = read(tmp_path)
    assert [entry.id for entry in entries(chunks)] == [*map(str, range(20)), "z"]
    assert [chunk.writer for chunk in chunks if chunk.gone] == ["a.b"]
    assert [chunk.segment for chunk in chunks if not chunk.closed] == ["z.000000.jsonl"]
    second.close()


def test_foreign_files_and_vanishing_ones_are_no_trouble(tmp_path: Path) -> None:
    for name in ("notes.txt", ".w.000001.jsonl", "w.jsonl", "w.x.jsonl", "controller.sock"):
        (tmp_path / name).write_text("hello")
        assert parse_segment(name) is None
    reader = JournalDirectory(tmp_path)
    assert list(reader.read({})) == []
    assert list(JournalDirectory(tmp_path / "absent").read({})) == []
    for name in ("a", "b"):
        journal = FileJournal(tmp_path, name, "never")
        write(journal, record(name))
        journal.close()
    chunks = reader.read({})
    assert next(chunks).writer == "a"
    reader.discard("b.000000.jsonl")
    reader.discard("b.000000.jsonl")
    assert list(chunks) == []


def test_a_full_disk_refuses_and_recovers(tmp_path: Path, journal: FileJournal) -> None:
    write(journal, FIVE[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 20, hard))
    try:
        for _ in range(3):
            with pytest.raises(JournalError, match=r"cannot write the journal .*w\.000000\.jsonl") as refusal:
                write(journal, FIVE[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "free space" in refusal.value.hint
    write(journal, *FIVE[2:])
    [chunk] = read(tmp_path)
    assert (chunk.entries, chunk.damaged) == ((FIVE[0], *FIVE[2:]), 0)


def test_a_torn_line_that_cannot_be_cut_off_is_left_behind(tmp_path: Path, journal: FileJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    write(journal, FIVE[0])
    real = os.write
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", lambda fd, line: real(fd, line[:40]))
        with pytest.raises(JournalError, match="no space left"):
            write(journal, FIVE[1])
    with monkeypatch.context() as broken:
        broken.setattr(os, "ftruncate", failing(errno.EIO))
        write(journal, *FIVE[2:])
    chunks = read(tmp_path)
    assert entries(chunks) == [FIVE[0], *FIVE[2:]]
    assert [chunk.damaged for chunk in chunks] == [1, 0]


def test_a_next_segment_that_cannot_be_opened_keeps_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(tmp_path, "w", "never", segment_bytes=10)
    monkeypatch.setattr(os, "open", failing(errno.ENOSPC))
    write(journal, *FIVE[:2])
    monkeypatch.undo()
    write(journal, *FIVE[2:])
    journal.close()
    assert entries(read(tmp_path)) == list(FIVE)


@pytest.mark.parametrize("call", ["open", "pread"])
def test_a_segment_that_cannot_be_read_keeps_only_its_writer_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    for name in ("a", "b", "c"):
        journal = FileJournal(tmp_path, name, "never", segment_bytes=10)
        write(journal, record(f"{name}1"), record(f"{name}2"))
        journal.close()
    broken = (tmp_path / "b.000000.jsonl").stat().st_ino
    real = getattr(os, call)

    def refusing(file: Path | int, *rest: int) -> object:
        if (os.fstat(file) if isinstance(file, int) else file.stat()).st_ino == broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(file, *rest)

    monkeypatch.setattr(os, call, refusing)
    chunks: list[Chunk] = []
    with pytest.raises(JournalError, match=r"cannot read the journal .*input/output error, and 2 later of its writer") as refusal:
        chunks.extend(JournalDirectory(tmp_path).read({}))
    assert "[server] journal" in refusal.value.hint
    monkeypatch.undo()
    assert len(entries(read(tmp_path))) == 6


def failing(number: int) -> "type[None]":
    def fail(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail  # type: ignore[return-value]


def test_a_writer_is_unique(tmp_path: Path, journal: FileJournal) -> None:
    with pytest.raises(JournalError, match="already there"):
        FileJournal(tmp_path, "w", "never")
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="already there"):
        FileJournal(tmp_path, "w", "never")


def test_a_journal_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"cannot create the journal .*/file/journal: not a directory") as refusal:
        FileJournal(tmp_path / "file" / "journal", "w")
    assert "[server] journal" in refusal.value.hint


def test_text_that_is_no_unicode_is_refused_whole(tmp_path: Path, journal: FileJournal) -> None:
    with pytest.raises(JournalError, match="not valid unicode"):
        write(journal, reservation("1", tags={"team": "\ud800"}))
    write(journal, FIVE[1])
    assert entries(read(tmp_path)) == [FIVE[1]]


def test_a_field_of_a_wrong_type_is_lost_alone(tmp_path: Path, journal: FileJournal) -> None:
    odd = record("odd", response_model=7, finish_reason=["stop"], cost=5)
    write(journal, odd, record("ok"), record("broken", status="x"))
    journal.close()
    [chunk] = read(tmp_path)
    assert list(chunk.entries) == [record("odd", cost=5), record("ok")]
    assert chunk.damaged == 1, "without its status a record is none"


def test_always_syncs_before_it_returns_and_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(tmp_path, "w", "always")
    synced: list[int] = []
    real = os.fdatasync

    def counting(fd: int) -> None:
        size = os.fstat(fd).st_size
        real(fd)
        synced.append(size)

    monkeypatch.setattr(os, "fdatasync", counting)

    async def request(number: int) -> None:
        write(journal, record(str(number)))
        size = journal.path.stat().st_size
        await journal.durable()
        assert max(synced) >= size

    async def all_requests() -> None:
        await asyncio.gather(*(request(number) for number in range(200)))

    asyncio.run(all_requests())
    assert 1 <= len(synced) < 50
    journal.close()


def test_always_tells_of_a_sync_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(tmp_path, "w", "always")

    async def scenario() -> None:
        write(journal, FIVE[1])
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", failing(errno.EIO))
            with pytest.raises(JournalError, match="cannot sync the journal"):
                await journal.durable()
        with pytest.raises(JournalError, match="cannot sync"):
            await journal.durable()
        write(journal, FIVE[0])
        await journal.durable()

    asyncio.run(scenario())
    journal.close()


def test_batch_tells_the_next_reservation_of_a_sync_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(tmp_path, "w", "batch")
    assert journal._syncer is not None
    monkeypatch.setattr(os, "fdatasync", failing(errno.EIO))
    journal._syncer._sync()
    monkeypatch.undo()
    write(journal, FIVE[1])
    with pytest.raises(JournalError, match="cannot sync"):
        write(journal, FIVE[0])
    write(journal, FIVE[0])
    journal.close()


def test_batch_syncs_in_the_background_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal(tmp_path, "w", "batch", segment_bytes=1)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    write(journal, *FIVE)
    asyncio.run(journal.durable())
    journal.close()
    assert len(synced) >= 6, "every segment that was rotated away, and the last"
