"""The stage of the demo: a temporary directory with a config, and `penstock serve` on it, both gone at the end however it ends."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
READY_S = 30.0
STOP_S = 10.0
POLL_S = 0.05

CONFIG = """\
version = 1

[server]
listen   = "{listen}"
store    = "sqlite:///penstock.db"
journal  = "./journal"
baseline = "large"

[upstreams.own-gpu]                       # both engines are simulated: invented answers, real traffic
kind = "simulated"
simulated = {{ decode_step_ms = 6, answer_tokens = [24, 120], seed = {seed} }}

[upstreams.api]
kind = "simulated"
simulated = {{ decode_step_ms = 10, answer_tokens = [60, 300], seed = {seed} }}

[models.demo-small]                       # prices are invented, of the usual size
upstream   = "own-gpu"
max_output = 1024
price      = {{ input = 0.15, cached_input = 0.075, output = 0.60 }}

[models.demo-large]
upstream   = "api"
max_output = 4096
price      = {{ input = 2.50, cached_input = 1.25, output = 10.00 }}

[tiers]
small = {{ model = "demo-small" }}
large = {{ model = "demo-large", complexity = "> 0.7" }}

[routes.auto]
strategy = "by_complexity"
tiers    = ["small", "large"]
fallback = ["large"]
"""


class StageError(Exception):
    """The gateway did not come up or went away; the message holds its last words."""

    hint = "run `penstock check` in your own directory, or report this with the lines above"


class Stage(NamedTuple):
    """Where everything stands while the demo runs."""

    directory: Path
    config: Path
    host: str
    port: int
    gateway: "subprocess.Popen[bytes]"
    log: Path

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"

    def check(self) -> None:
        """Raises `StageError` when the gateway has ended."""
        if (code := self.gateway.poll()) is not None:
            words = self.log.read_text(errors="replace").strip()[-2000:]
            raise StageError(f"the gateway ended with status {code}: {words or 'it said nothing'}")

    async def wait_until_ready(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Raises `StageError` when the gateway is not ready in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + READY_S
        while not await ready():
            self.check()
            if loop.time() > until:
                raise StageError(f"the gateway was not ready within {READY_S:g} s: {self.log.read_text(errors='replace').strip()[-2000:]}")
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def stage(seed: int) -> AsyncIterator[Stage]:
    """Sets the stage on a free port and clears it: the gateway and its children have ended, the directory is removed."""
    with tempfile.TemporaryDirectory(prefix="penstock-demo-", ignore_cleanup_errors=True) as temporary:
        directory = Path(temporary)
        port = _free_port()
        config, log = directory / "penstock.toml", directory / "serve.log"
        config.write_text(CONFIG.format(listen=f"{HOST}:{port}", seed=seed))
        with log.open("wb") as words:
            gateway = subprocess.Popen(  # noqa: ASYNC220  a fork takes a millisecond, and nothing else runs yet
                [sys.executable, "-m", "penstock", "serve", "--config", str(config)],
                cwd=directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops the gateway in order
            )
        try:
            yield Stage(directory, config, HOST, port, gateway, log)
        finally:
            _stop(gateway)


def _environment() -> dict[str, str]:
    """Ours without Penstock's overrides; relative entries of PYTHONPATH would mean something else in another directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    if paths := kept.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in paths.split(os.pathsep))
    return kept


def _stop(gateway: "subprocess.Popen[bytes]") -> None:
    gateway.terminate()
    try:
        gateway.wait(STOP_S)
    except subprocess.TimeoutExpired:
        gateway.kill()
        gateway.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
