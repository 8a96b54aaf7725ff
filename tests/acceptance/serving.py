"""Runs `penstock serve` as a user would, on a free port in a directory of its own, and looks at it from outside only."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.rig import tree
from tests.acceptance.command_line import SOURCE, penstock

STARTS_WITHIN_S = 20.0
_LISTENS = "Penstock listens on http://127.0.0.1:"


class Answer(NamedTuple):
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Serving:
    """One running Penstock."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes], environ: Mapping[str, str]) -> None:
        self.directory = directory
        self.process = process
        self.environ = dict(environ)
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"

    def log(self) -> str:
        """All that it has told its operator."""
        return (self.directory / "serve.log").read_text(errors="replace")

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, timeout_s: float = 15
    ) -> Answer:
        """One call on a connection of its own; `body` is sent as JSON, bytes as they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"content-type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def chat(self, model: str, reply: Mapping[str, Any] | None = None, *, question: str = "?", **more: Any) -> Answer:
        """A chat completion; `reply` is what a recording engine shall answer, `headers` go beside the body."""
        headers = more.pop("headers", None)
        body = {"model": model, "messages": [{"role": "user", "content": question}], "reply": dict(reply or {}), **more}
        return self.request("POST", "/v1/chat/completions", body, headers)

    def begin(self, model: str, reply: Mapping[str, Any], **more: Any) -> http.client.HTTPConnection:
        """Sends a chat completion and does not wait: `getresponse()` of what is returned does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = {"model": model, "messages": [{"role": "user", "content": "slow?"}], "reply": dict(reply), **more}
        connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
        return connection

    def metric(self, name: str) -> float | None:
        """The sum of a metric over its labels; None while it is not there."""
        lines = [line for line in self.get("/metrics").body.decode().splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines) if lines else None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`penstock ...` beside the running one."""
        return penstock(*arguments, cwd=self.directory, environ=self.environ)

    def cost(self, *arguments: str) -> dict[str, Any]:
        """`penstock cost --json ...`."""
        return self._json("cost", *arguments)

    def explain(self, request_id: str) -> dict[str, Any]:
        return self._json("explain", request_id)

    def _json(self, *arguments: str) -> dict[str, Any]:
        done = self.command(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        shown: dict[str, Any] = json.loads(done.stdout)
        return shown

    def children(self, role: str) -> list[int]:
        """Process ids of the living `worker`s, or of the `controller`."""
        return [pid for pid in tree(self.process.pid) if role.encode() in _command_line(pid)]

    def wait_ready(self) -> None:
        """Returns when /readyz says 200."""
        wait_until(lambda: self._listens() and self._is_ready(), "it to be ready", self._alive)

    def stop(self, signal_number: int = signal.SIGTERM, within_s: float = 30) -> int:
        """Asks it to end, and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """Ends whatever is left of it."""
        for pid in tree(self.process.pid) if self.process.poll() is None else []:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(10)

    def _alive(self) -> None:
        assert self.process.poll() is None, f"penstock serve ended with {self.process.returncode}: {self.log()}"

    def _listens(self) -> bool:
        if not self.port and _LISTENS in (log := self.log()):
            self.port = int(log.partition(_LISTENS)[2].split()[0])
        return bool(self.port)

    def _is_ready(self) -> bool:
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False


def wait_until(
    condition: Callable[[], bool], what: str, check: Callable[[], None] = lambda: None, within_s: float = STARTS_WITHIN_S
) -> None:
    """Asks again and again, up to a bound that only a failure reaches."""
    until = time.monotonic() + within_s
    while not condition():
        check()
        assert time.monotonic() < until, f"waited {within_s:g} s for {what}"
        time.sleep(0.02)


def write_config(directory: Path, tables: str, **server: object) -> Path:
    """`penstock.toml` with the given tables; `server` are keys of `[server]`, a port that is free is taken."""
    keys = {"listen": "127.0.0.1:0", **server}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    file = directory / "penstock.toml"
    file.write_text(f"version = 1\n[server]\n{lines}\n{tables}")
    return file


def start(directory: Path, environ: Mapping[str, str] | None = None) -> Serving:
    """`penstock serve` on the config of a directory, started and not waited for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "OPENAI_"))}
    with (directory / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock", "serve"],
            cwd=directory,
            env=kept | {"PYTHONPATH": str(SOURCE), "COLUMNS": "120"} | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return Serving(directory, process, environ or {})


@contextmanager
def serving(directory: Path, tables: str, environ: Mapping[str, str] | None = None, **server: object) -> Iterator[Serving]:
    """A Penstock that is ready; it is stopped in order, and it must have ended well by itself unless the test killed it."""
    write_config(directory, tables, **server)
    running = start(directory, environ)
    try:
        running.wait_ready()
        yield running
        status = running.stop()
        assert status in (0, -signal.SIGKILL), running.log()
        assert "Traceback" not in running.log(), running.log()
    finally:
        running.kill()


def _command_line(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
