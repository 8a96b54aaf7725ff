"""The history into the ledger: one process makes it up and prices it, this one takes it in, so that two processors share the work.

The maker is told what to make on its stdin and writes frames to its stdout: four bytes of length, then records in order of time.
"""

import gc
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, NamedTuple

import msgspec

from penstock.config.settings import Settings
from penstock.demo.history import History, Plan
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.book import PriceBook
from penstock.ports.usage_store import Intake, UsageStore

FRAME_RECORDS = 12_000
_LENGTH = 4


class Task(NamedTuple):
    """What the maker is told."""

    plan: Plan
    settings: Settings
    book: PriceBook


class SeedError(Exception):
    """The maker ended before the history did; the message holds its last words."""

    hint = "run `penstock demo --requests 20000` for a smaller history, or report this with the lines above"


def seed(task: Task, store: UsageStore, wanted: Callable[[int], bool]) -> int:
    """Takes the whole history in and returns how many records it has.

    `wanted` is told how many there are so far, and says whether to go on. Raises `SeedError` and what the store raises.
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
    with maker, _no_collector():
        try:
            with suppress(BrokenPipeError):  # its last words say why
                pickle.dump(task, maker.stdin)
                maker.stdin.close()
            for records in _frames(maker.stdout):
                store.take_in(Intake(records=records, opened=(), settled=(), offsets={}))
                taken += len(records)
                if not wanted(taken):
                    return taken
            if maker.wait():
                raise SeedError(f"the history could not be made: {maker.stderr.read().decode(errors='replace').strip()[-2000:]}")
        finally:
            maker.kill()
    return taken


@contextmanager
def _no_collector() -> Iterator[None]:
    """Without the search for reference cycles, of which records make none: looking took 8 % of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _frames(stream: IO[bytes]) -> Iterator[list[UsageRecord]]:
    """Frames until the end. The next one is read and decoded while the last one is used, so that neither side waits for long."""
    decode = msgspec.msgpack.Decoder(list[UsageRecord]).decode

    def read() -> list[UsageRecord]:
        length = int.from_bytes(stream.read(_LENGTH), "big")
        frame = stream.read(length)
        return decode(frame) if length and len(frame) == length else []

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read)
        while records := coming.result():
            coming = reader.submit(read)
            yield records


def make(task: Task, stream: IO[bytes]) -> None:
    """The maker's part. A reader that has gone is no error: the demo was stopped."""
    encode = msgspec.msgpack.Encoder().encode
    waiting: list[UsageRecord] = []
    with suppress(BrokenPipeError):
        for records in History(task.plan, task.settings, task.book).hours():
            waiting += records
            if len(waiting) >= FRAME_RECORDS:
                _write(stream, encode(waiting))
                waiting = []
        if waiting:
            _write(stream, encode(waiting))


def _write(stream: IO[bytes], frame: bytes) -> None:
    stream.write(len(frame).to_bytes(_LENGTH, "big"))
    stream.write(frame)
    stream.flush()


def main() -> None:
    """The maker's process: its task comes from the demo that started it."""
    with _no_collector():
        make(pickle.load(sys.stdin.buffer), sys.stdout.buffer)  # noqa: S301  written by our own parent


if __name__ == "__main__":
    # the module is `__main__` here, but the parent pickled `penstock.demo.seeding.Task`
    from penstock.demo.seeding import main as maker

    maker()
