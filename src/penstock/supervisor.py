"""The supervisor: binds the address once, starts workers, controller and simulated engines, and starts again what dies.

The listening socket is inherited by every worker, so connections that wait in its queue survive a worker's death. Each
child holds the reading end of a life-line; when the supervisor is gone, however it went, the children finish and end too.
"""

import fcntl
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import msgspec

from penstock.config.checks_server import endpoint
from penstock.config.settings import Settings

Process = subprocess.Popen[bytes]

TICK_S = 0.05
LOCK_WAIT_S = 30.0
STOP_S = 40.0
SHORT_LIFE_S = 5.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0


class StartError(Exception):
    """Penstock cannot start here. `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Start(NamedTuple):
    """What a child is told on its life-line: everything it needs, so that all children run the same settings."""

    role: Literal["worker", "controller"]
    name: str
    settings: Settings
    fd: int | None


class Child:
    """One process that is kept alive: `start` makes a new one, `pause` grows while it dies young."""

    def __init__(self, label: str, start: Callable[[], Process]) -> None:
        self.label = label
        self._start = start
        self._pause = FIRST_PAUSE_S
        self._started_at = 0.0
        self._not_before = 0.0
        self.process: Process | None = None

    def tend(self, log: Callable[[str], None]) -> None:
        """Starts the process when there is none and its pause is over."""
        now = time.monotonic()
        if self.process is not None and (code := self.process.poll()) is not None:
            young = now - self._started_at < SHORT_LIFE_S
            self._not_before = now + (self._pause if young else 0.0)
            self._pause = min(self._pause * 2, LONGEST_PAUSE_S) if young else FIRST_PAUSE_S
            log(f"warning: {self.label} ended with status {code}, starting it again")
            self.process = None
        if self.process is None and now >= self._not_before:
            self.process = self._start()
            self._started_at = now


class Supervisor:
    """Runs one Penstock on this host until it is told to stop."""

    def __init__(self, settings: Settings, log: Callable[[str], None], begin: Callable[[], None] = lambda: None) -> None:
        """`begin` is called once nobody else runs on this journal, before any child; it may raise."""
        self._settings = settings
        self._log = log
        self._begin = begin
        self._stopping = False

    def run(self, ready: Callable[[str], None]) -> None:
        """Blocks until SIGTERM or SIGINT. `ready` is told the address once it is bound. Raises `StartError`."""
        lock = _lock(Path(self._settings.server.journal), self._log)
        self._begin()
        sock = _bind(self._settings.server.listen)
        engines = self._simulated_engines()
        children = [Child("the controller", self._starter("controller", None, lock))]
        children += [Child(f"data worker {n}", self._starter("worker", sock, lock)) for n in range(self._settings.server.workers)]
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, self._stop)
        host, port = sock.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        while not self._stopping:
            for child in (*engines, *children):
                child.tend(self._log)
            time.sleep(TICK_S)
        self._log("finishing what is in flight ...")
        sock.close()
        controller, *workers = children
        for group in (workers, [controller], engines):
            _end(group)
        os.close(lock)
        self._log("stopped")

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _starter(self, role: Literal["worker", "controller"], sock: socket.socket | None, lock: int) -> Callable[[], Process]:
        return lambda: _spawn(role, self._settings, sock, lock)

    def _simulated_engines(self) -> list[Child]:
        """Starts listening for the simulated engines of the config and puts their addresses into the settings."""
        upstreams = dict(self._settings.upstreams)
        engines = []
        for name, upstream in self._settings.upstreams.items():
            if upstream.kind == "simulated":
                sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
                url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
                upstreams[name] = msgspec.structs.replace(upstream, base_urls=(url,))
                engines.append(Child(f"the simulated engine `{name}`", _engine_starter(sock, upstream.simulated)))
                self._log(f"upstream `{name}` is simulated, at {url}")
        self._settings = msgspec.structs.replace(self._settings, upstreams=upstreams)
        return engines


def _engine_starter(sock: socket.socket, options: dict[str, Any]) -> Callable[[], Process]:
    command = [sys.executable, "-m", "penstock.adapters.upstreams.simulated", "--fd", str(sock.fileno())]
    command += ["--options", msgspec.json.encode(options).decode()]
    return lambda: subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(sock.fileno(),), start_new_session=True)


def _spawn(role: Literal["worker", "controller"], settings: Settings, sock: socket.socket | None, lock: int) -> Process:
    """Starts a child in a session of its own, so that Ctrl-C reaches the supervisor alone and children end in order.

    The child inherits the journal's lock too: a next Penstock waits until the last child of this one has ended.
    """
    fd = sock.fileno() if sock is not None else None
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock.supervisor", role],  # the role is there for `ps`
        stdin=subprocess.PIPE,
        pass_fds=(lock,) if fd is None else (lock, fd),
        start_new_session=True,
    )
    name = f"{socket.gethostname()}-{process.pid}-{uuid4().hex[:12]}"
    assert process.stdin is not None
    try:
        pickle.dump(Start(role, name, settings, fd), process.stdin)
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it died at once: `tend` sees it and says so
    return process


def _lock(journal: Path, log: Callable[[str], None]) -> int:
    """The exclusive lock of a journal directory; waits for a Penstock that is just ending. Raises `StartError`."""
    try:
        journal.mkdir(parents=True, exist_ok=True)
        fd = os.open(journal / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StartError(
            f"the journal directory {journal} cannot be used: {error.strerror}", "make it writable, or set server.journal"
        ) from None
    until = time.monotonic() + LOCK_WAIT_S
    told = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > until:
                hint = "stop the Penstock that is running on it, or give this one a journal of its own"
                raise StartError(f"the journal {journal} is in use", hint) from None
            if not told:
                log(f"waiting up to {LOCK_WAIT_S:.0f} s for the Penstock that still holds {journal} ...")
                told = True
            time.sleep(TICK_S)


def _bind(listen: str) -> socket.socket:
    """The listening socket. Raises `StartError`."""
    host, port = endpoint(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=4096)
    except OSError as error:
        hint = f"see what holds it with `ss -ltnp 'sport = :{port}'`, or listen elsewhere with PENSTOCK_SERVER__LISTEN=127.0.0.1:{port + 1}"
        raise StartError(f"cannot listen on {listen}: {error.strerror}", hint) from None
    return sock


def _end(children: list[Child]) -> None:
    """Asks processes to finish, waits, and kills what does not end in time."""
    processes = [child.process for child in children if child.process is not None]
    for process in processes:
        process.send_signal(signal.SIGTERM)
    until = time.monotonic() + STOP_S
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """A child: reads what it is to be from its life-line, and is it."""
    from penstock import bootstrap

    start: Start = pickle.load(sys.stdin.buffer)  # noqa: S301  written by our own parent
    if start.role == "controller":
        bootstrap.run_controller(start.settings, os.environ)
    else:
        assert start.fd is not None
        bootstrap.run_worker(start.settings, os.environ, socket.socket(fileno=start.fd), start.name)


if __name__ == "__main__":
    # the module is `__main__` here, but the parent pickled `penstock.supervisor.Start`
    from penstock.supervisor import main as child

    child()
