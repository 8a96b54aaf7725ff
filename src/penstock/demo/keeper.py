"""Keeps the demo tidy however it ends: a process of its own that makes the stage's directory, runs the gateway in it, and clears it.

It tells the directory on its stdout, later the gateway's process id. It reads one order from its stdin: the command of the gateway as
a JSON list, with the path of a file outside the directory before it, which goes at the end. The end of its stdin, even by a kill of
the demo, ends the gateway and removes the directory. It imports nothing heavy, so that it stands within milliseconds.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import FrameType

LOG = "serve.log"
STOP_S = 10.0
TICK_S = 0.2


def keep(directory: Path, orders: int) -> int:
    """Until the orders end or the gateway does; returns the gateway's status, 0 when it was this that ended it.

    `orders` is the file descriptor to read. The directory stays when the gateway ended by itself: its last words are in it.
    """
    gateway: subprocess.Popen[bytes] | None = None
    leftover = ""
    with open(orders, "rb", buffering=0) as reader:
        try:
            if line := reader.readline():
                leftover, *command = json.loads(line)
                with (directory / LOG).open("wb") as words:
                    gateway = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=words, stderr=words)
                _tell(str(gateway.pid).encode())
                while not select.select([reader], [], [], TICK_S)[0]:
                    if (status := gateway.poll()) is not None:
                        return status or 1
            return 0
        finally:
            if gateway is None or gateway.returncode is None:
                _clear(gateway, directory, leftover)


def _tell(words: bytes) -> None:
    with suppress(BrokenPipeError):  # the end of stdin says that the demo has gone
        os.write(sys.stdout.fileno(), words + b"\n")


def _clear(gateway: "subprocess.Popen[bytes] | None", directory: Path, leftover: str) -> None:
    if gateway is not None:
        gateway.terminate()
        try:
            gateway.wait(STOP_S)
        except subprocess.TimeoutExpired:
            gateway.kill()
            gateway.wait()
    shutil.rmtree(directory, ignore_errors=True)
    if leftover:
        with suppress(OSError):
            Path(leftover).unlink(missing_ok=True)


def _unmoved(number: int, frame: FrameType | None) -> None:
    """The demo is told; it closes our stdin. Not `SIG_IGN`: the gateway would inherit it, deaf to `terminate` until it has begun."""


def main() -> None:
    """The keeper's process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _unmoved)
    try:
        directory = Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    except OSError:
        sys.exit(1)  # the demo reads no directory, and says so
    _tell(os.fsencode(directory))
    sys.exit(keep(directory, sys.stdin.fileno()))


if __name__ == "__main__":
    main()
