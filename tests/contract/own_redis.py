"""A Redis server of a test's own, to be killed, frozen and started again."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import service_missing

START_S = 10.0
CLUSTER_BUS = 10_000
"""the nodes of a cluster talk on a second port, so far above the first"""


class OwnRedis:
    """One server after another on one port, `folder` their disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder, self._options = folder, options
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--dir", str(self._folder), "--save", "", *self._options]
        try:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except FileNotFoundError as error:
            service_missing("Redis", error)
        deadline = time.monotonic() + START_S
        while True:
            try:
                assert self("PING") == "+PONG"
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.01)

    def __call__(self, *words: str) -> str:
        """The first line of the answer to a command."""
        with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.makefile().readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


def _free_port() -> int:
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        if port + CLUSTER_BUS < 2**16:
            return port


@contextmanager
def own_redis(*options: str) -> Iterator[OwnRedis]:
    """A server for the time of the block."""
    with TemporaryDirectory() as folder:
        server = OwnRedis(Path(folder), *options)
        try:
            yield server
        finally:
            server.kill()
