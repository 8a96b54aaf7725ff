"""Keeps the gateways of the cluster demo running, as whoever runs containers would: one that dies is started again after a while.

Its argument is JSON: the database to create and to drop, the Redis database to empty at the end, and the directory of each replica. It
ends by SIGTERM, or with a message when a replica cannot start.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

LOG, PID = "serve.log", "pid"
AGAIN_S = 15.0
"""until a replica that died is started again: longer than another needs to lead in its place"""
TICK_S = 0.1
STOP_S = 7.0
"""less than the keeper gives us"""


class Task(msgspec.Struct, frozen=True):
    """`server`: URL of a PostgreSQL database from which `database` can be created. `leaves`: files elsewhere that go at the end."""

    server: str
    database: str
    redis: str
    homes: tuple[str, ...]
    leaves: tuple[str, ...] = ()

    @property
    def store(self) -> str:
        return urlunsplit(urlsplit(self.server)._replace(path=f"/{self.database}"))


class Replica:
    """One `penstock serve` in a directory of its own."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._not_before = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def tend(self) -> str | None:
        """Starts it when there is none and its pause is over; returns its last words when it ended by itself."""
        if self.process is not None and (status := self.process.poll()) is not None:
            self.process = None
            self._not_before = time.monotonic() + AGAIN_S
            if status != -signal.SIGKILL:
                return (self._home / LOG).read_text(errors="replace").strip()[-2000:] or f"{self._home} ended with status {status}"
        if self.process is None and time.monotonic() >= self._not_before:
            command = [sys.executable, "-m", "penstock", "serve", "--config", str(self._home / "penstock.toml")]
            with (self._home / LOG).open("ab") as words:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words)
            (self._home / PID).write_text(str(self.process.pid))
        return None


def keep(task: Task) -> str | None:
    """Until SIGTERM (None), or until a replica ends by itself (its last words)."""
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, frame: stop.append(received))
    replicas = [Replica(Path(home)) for home in task.homes]
    try:
        _create(task)
        while not stop:
            for replica in replicas:
                if words := replica.tend():
                    return words
            time.sleep(TICK_S)
        return None
    finally:
        _end([replica.process for replica in replicas if replica.process is not None])
        _clear(task)


def family(pid: int) -> list[int]:
    """A process and all that it started, as `ps` lists them."""
    children: dict[int, list[int]] = {}
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    for line in listing.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def kill(pids: list[int]) -> None:
    """At once, without a chance to tidy up; the first is the supervisor, which would start the others again."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    until = time.monotonic() + STOP_S
    for process in processes:
        try:
            process.wait(max(until - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            kill(family(process.pid))
            process.wait()


def _create(task: Task) -> None:
    import psycopg

    with psycopg.connect(task.server, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{task.database}"'.encode())


def _clear(task: Task) -> None:
    import psycopg
    from redis import Redis

    with psycopg.connect(task.server, autocommit=True) as server:
        server.execute(f'DROP DATABASE IF EXISTS "{task.database}" WITH (FORCE)'.encode())
    with Redis.from_url(task.redis) as redis:
        redis.flushdb()
    for leftover in task.leaves:
        Path(leftover).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(keep(msgspec.json.decode(sys.argv[1], type=Task)))
