"""The history into the ledger: one process makes it up and prices it, this one takes it in, so that two processors share the work.

The maker is told what to make on its stdin, and later what the questions mean, where the cache by meaning is on. It writes frames to its
stdout: four bytes of length, one that says of what, then records in order of time, or once the log of that cache.
"""

import gc
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, NamedTuple

import msgspec

from penstock.config.settings import Settings
from penstock.demo.calendar import Calendar
from penstock.demo.history import History, Plan
from penstock.domain.ledger.record import UsageRecord, is_aside
from penstock.domain.prices.book import PriceBook
from penstock.ports.usage_store import Intake, UsageStore

if TYPE_CHECKING:
    from penstock.demo.answering import Log, Meant

FRAME_RECORDS = 12_000
PLAY_DAY = 5
"""the maker then plays the cache by meaning: late enough that the questions have been embedded beside it, and long before their day"""
_LENGTH = 4
_RECORDS, _LOG = b"r", b"l"


class Task(NamedTuple):
    """What the maker is told."""

    plan: Plan
    settings: Settings
    book: PriceBook


class ByMeaning(NamedTuple):
    """The cache by meaning: what embeds its questions, in a thread of its own (None: it cannot), and what takes the log of its history."""

    meant: "Callable[[], Meant | None]"
    take: "Callable[[Log], None]"


class SeedError(Exception):
    """The maker ended before the history did; the message holds its last words."""

    hint = "run `penstock demo --requests 20000` for a smaller history, or report this with the lines above"


def seed(task: Task, store: UsageStore, wanted: Callable[[int], bool], by_meaning: ByMeaning | None = None) -> int:
    """Takes the whole history in and returns how many requests it has.

    `wanted` is told how many there are so far, and says whether to go on. Raises `SeedError`, what the store raises, and what
    `by_meaning` does.
    """
    maker = subprocess.Popen(
        [sys.executable, "-m", "penstock.demo.seeding"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the demo
    )
    assert maker.stdin is not None and maker.stdout is not None and maker.stderr is not None
    taken = 0
    with maker, _no_collector(), ThreadPoolExecutor(1) as beside:
        try:
            told = beside.submit(_tell, maker.stdin, task, by_meaning)
            for frame in _frames(maker.stdout):
                if not isinstance(frame, list):
                    assert by_meaning is not None
                    by_meaning.take(frame)
                    continue
                store.take_in(Intake(records=frame, opened=(), settled=(), offsets={}))
                taken += sum(not is_aside(record) for record in frame)
                if not wanted(taken):
                    return taken
            told.result()
            if maker.wait():
                raise SeedError(f"the history could not be made: {maker.stderr.read().decode(errors='replace').strip()[-2000:]}")
        finally:
            maker.kill()
    return taken


def _tell(stream: IO[bytes], task: Task, by_meaning: ByMeaning | None) -> None:
    """What the maker is to make, and, as soon as it is known, what the questions mean."""
    with suppress(BrokenPipeError), stream:  # where the maker has ended, its last words say why
        pickle.dump((task, by_meaning is not None), stream)
        if by_meaning is not None:
            stream.flush()
            pickle.dump(by_meaning.meant(), stream)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Without the search for reference cycles, of which records make none: looking took 8 % of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _frames(stream: IO[bytes]) -> "Iterator[list[UsageRecord] | Log]":
    """Frames until the end. The next one is read and decoded while the last one is used, so that neither side waits for long."""
    decode = msgspec.msgpack.Decoder(list[UsageRecord]).decode

    def read() -> "list[UsageRecord] | Log | None":
        length = int.from_bytes(stream.read(_LENGTH), "big")
        kind, frame = stream.read(1), stream.read(length)
        if not length or len(frame) != length:
            return None
        return decode(frame) if kind == _RECORDS else _log_of(frame)

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read)
        while (frame := coming.result()) is not None:
            coming = reader.submit(read)
            yield frame


def _log_of(frame: bytes) -> "Log":
    from penstock.demo.answering import Log

    return msgspec.msgpack.decode(frame, type=Log)


def make(task: Task, stream: IO[bytes], meant: "Callable[[], Meant | None] | None" = None) -> None:
    """The maker's part; `meant` waits for what the questions mean. A reader that has gone is no error: the demo was stopped."""
    encode = msgspec.msgpack.Encoder().encode
    waiting: list[UsageRecord] = []
    history, calendar = History(task.plan, task.settings, task.book), Calendar(task.plan.until_ns)
    play_ns = calendar.start_ns(PLAY_DAY)
    with suppress(BrokenPipeError):
        for hour, records in zip(calendar.hours(), history.hours(), strict=True):
            waiting += records
            if meant is not None and hour >= play_ns:
                found, meant = meant(), None
                if found is not None:
                    _write(stream, _LOG, encode(history.play(found)))
            if len(waiting) >= FRAME_RECORDS:
                _write(stream, _RECORDS, encode(waiting))
                waiting = []
        if waiting:
            _write(stream, _RECORDS, encode(waiting))


def _write(stream: IO[bytes], kind: bytes, frame: bytes) -> None:
    stream.write(len(frame).to_bytes(_LENGTH, "big") + kind)
    stream.write(frame)
    stream.flush()


def main() -> None:
    """The maker's process: its task comes from the demo that started it."""
    asked = sys.stdin.buffer
    with _no_collector():
        task, by_meaning = pickle.load(asked)  # noqa: S301  written by our own parent
        make(task, sys.stdout.buffer, (lambda: pickle.load(asked)) if by_meaning else None)  # noqa: S301  by the same


if __name__ == "__main__":
    # the module is `__main__` here, but the parent pickled `penstock.demo.seeding.Task`
    from penstock.demo.seeding import main as maker

    maker()
