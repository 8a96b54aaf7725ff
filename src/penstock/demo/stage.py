"""The stage of the demo: a temporary directory with a config, and `penstock serve` on it, both gone at the end however it ends."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from penstock.demo import scenery
from penstock.demo.keeper import LOG

HOST = "127.0.0.1"
READY_S = 30.0
STOP_S = 15.0
POLL_S = 0.03


class StageError(Exception):
    """The stage could not be set, or the gateway on it went away: the message then holds its last words."""

    def __init__(self, message: str, hint: str = "run `penstock check` in your own directory, or report this with the lines above") -> None:
        super().__init__(message)
        self.hint = hint


class Kept:
    """A directory and one command in it, both kept by a keeper: they are gone at the end, however it ends."""

    def __init__(self) -> None:
        """Raises `StageError`."""
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "penstock.demo.keeper"],
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C and a closing terminal are for the demo
        )
        assert self._keeper.stdout is not None
        if not (directory := self._keeper.stdout.readline().rstrip(b"\n")):
            raise StageError("there is no directory for temporary files", "make one writable and name it in TMPDIR")
        self.directory = Path(os.fsdecode(directory))

    def run(self, leaves: str, *command: str) -> None:
        """Starts the command, once. `leaves`: the file outside the directory that goes at the end."""
        order = json.dumps([leaves, sys.executable, "-m", *command])
        assert self._keeper.stdin is not None
        with suppress(BrokenPipeError):  # `check` says that the keeper has gone
            self._keeper.stdin.write(order.encode() + b"\n")
            self._keeper.stdin.flush()

    def check(self) -> None:
        """Raises `StageError` when the gateway has ended."""
        if (code := self._keeper.poll()) is not None:
            raise StageError(f"the gateway ended with status {code}: {self._last_words() or 'it said nothing'}")

    async def wait_until_ready(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Raises `StageError` when the gateway is not ready in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + READY_S
        while not await ready():
            self.check()
            if loop.time() > until:
                raise StageError(f"the gateway was not ready within {READY_S:g} s: {self._last_words()}")
            await asyncio.sleep(POLL_S)

    def clear(self) -> None:
        """Ends the gateway and its keeper; the directory is removed. Not even a kill of the keeper leaves the gateway behind."""
        with self._keeper, suppress(BrokenPipeError):
            assert self._keeper.stdin is not None
            self._keeper.stdin.close()
            try:
                self._keeper.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
            if self._keeper.returncode < 0:
                self._end_orphan()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end_orphan(self) -> None:
        assert self._keeper.stdout is not None
        if not (told := self._keeper.stdout.read()):
            return
        until = time.monotonic() + STOP_S
        with suppress(ProcessLookupError):
            os.kill(int(told), signal.SIGTERM)
            while time.monotonic() < until:
                os.kill(int(told), 0)
                time.sleep(POLL_S)

    def _last_words(self) -> str:
        log = self.directory / LOG
        return log.read_text(errors="replace").strip()[-2000:] if log.exists() else ""


class Stage(Kept):
    """Where everything stands while the demo runs. The address is ours from the start; `open` starts the gateway on it."""

    def __init__(self, seed: int, until_ns: int, requests: int, by_meaning: bool) -> None:
        super().__init__()
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((HOST, 0))
        self.host = HOST
        self.port: int = self._reserved.getsockname()[1]
        self.config = scenery.write(self.directory, f"{HOST}:{self.port}", seed, until_ns, requests, by_meaning=by_meaning)

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"

    def open(self, leaves: str) -> None:
        """Starts the gateway, once. `leaves`: the file outside the directory that goes at the end."""
        if self._reserved.fileno() == -1:
            return
        self._reserved.close()
        self.run(leaves, "penstock", "serve", "--config", str(self.config))

    def clear(self) -> None:
        """Ends the gateway and its keeper; the directory is removed."""
        self._reserved.close()
        super().clear()


@contextmanager
def stage(seed: int, until_ns: int, requests: int, by_meaning: bool = False) -> Iterator[Stage]:
    """Sets the stage and clears it: the gateway and its children have ended, the directory is removed. `by_meaning`: with that cache."""
    scene = Stage(seed, until_ns, requests, by_meaning)
    try:
        yield scene
    finally:
        scene.clear()


def _environment() -> dict[str, str]:
    """Ours without Penstock's overrides; relative entries of PYTHONPATH would mean something else in another directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    if paths := kept.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in paths.split(os.pathsep))
    return kept
