"""The simulated engine for tests: a subprocess on a free port that ends with the test process.

    with simulated_engine({"speed": 10}) as base_url: ...

A call picks its fault with the header `x-simulate-fault`, the body's field `simulate_fault`, or the model's name, `tiny!hang`.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

FAST: dict[str, Any] = {"speed": 20}


@contextmanager
def simulated_engine(options: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Yields `http://127.0.0.1:PORT/v1`. The socket listens at once, so the first call waits until the engine is up."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        base_url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
        command = [sys.executable, "-m", "penstock.adapters.upstreams.simulated", "--fd", str(sock.fileno())]
        command += ["--options", orjson.dumps(FAST | dict(options or {})).decode()]
        process = subprocess.Popen(command, pass_fds=(sock.fileno(),))
    try:
        yield base_url
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
