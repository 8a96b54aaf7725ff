"""What every process of a plane does alike: says what goes wrong, settles its memory, ends when it is asked to."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import gettempdir

from penstock.config.settings import Settings

MAX_UNIX_PATH = 100
GC_THRESHOLD = (20_000, 20, 50)
"""requests make hardly any reference cycles; the default of 700 spends 5 % of a worker's time looking for them"""


def controller_socket(settings: Settings) -> str:
    """Where the controller of this journal listens: beside it, or in the temporary directory when that path is too long."""
    path = Path(settings.server.journal).absolute() / "controller.sock"
    if len(str(path)) <= MAX_UNIX_PATH:
        return str(path)
    return str(Path(gettempdir()) / f"penstock-{blake2b(str(path).encode(), digest_size=12).hexdigest()}.sock")


def log(message: str) -> None:
    """Tells the operator, on stderr; where that cannot be written (the full disk itself, a closed pipe) the work goes on."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def one_thread_for_numbers() -> None:
    """To be called before numpy is loaded. Vectors are short: threads of a numerical library that wait for each other while the core is
    busy with requests make a product of 1 ms one of 30 ms. Who has set them otherwise keeps that."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def settle_memory() -> None:
    """What is loaded now lives for ever: later collections need not walk it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def stop_on_signal() -> asyncio.Event:
    """Set by SIGTERM, by SIGINT, and when the supervisor's end of the life-line (stdin) closes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(sys.stdin.fileno(), _life_line, loop, stop.set)
    return stop


def _life_line(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop()
