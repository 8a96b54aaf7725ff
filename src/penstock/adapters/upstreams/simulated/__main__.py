"""`python -m penstock.adapters.upstreams.simulated`: one simulated engine in a process of its own, until SIGTERM.

With `--port` it prints its base URL on stdout. With `--fd` it takes a bound socket over from the process that started
it, and ends when that process does.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress

import orjson
import uvloop

from penstock.adapters.upstreams.simulated.options import Options, OptionsError, parse_options
from penstock.adapters.upstreams.simulated.server import SimulatedEngine, refuse_unparsed
from penstock.wire.connection import Limits
from penstock.wire.server import serve

EXAMPLE = "--options '{\"decode_step_ms\": 5}'"
MAX_BODY = 64_000_000
PARENT_CHECK_S = 1.0
DRAIN_S = 1.0


async def run(sock: socket.socket, options: Options, parent: int | None) -> None:
    """Serves until SIGTERM or SIGINT, or until the parent process is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    simulated = SimulatedEngine(options)
    steps = asyncio.create_task(simulated.engine.run())
    steps.add_done_callback(lambda _: stop.set())
    server = await serve(simulated, sock=sock, limits=Limits(max_body=MAX_BODY), on_refusal=refuse_unparsed)
    while not stop.is_set() and (parent is None or os.getppid() == parent):
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PARENT_CHECK_S)
    await server.drain(DRAIN_S)
    steps.cancel()
    with suppress(asyncio.CancelledError):
        await steps


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m penstock.adapters.upstreams.simulated", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="listen on this port of 127.0.0.1; 0 takes a free one")
    where.add_argument("--fd", type=int, help="listen on this inherited socket, and end with the parent process")
    parser.add_argument("--options", default="{}", metavar="JSON", help="speed, size, answers and faults")
    arguments = parser.parse_args()
    try:
        table = orjson.loads(arguments.options)
        options = parse_options(table)
    except OptionsError as error:
        sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
        return 2
    except orjson.JSONDecodeError as error:
        sys.stderr.write(f"error: --options is not JSON: {error}\nhint: write it like {EXAMPLE}\n")
        return 2
    try:
        sock = _socket(arguments.fd, arguments.port)
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"error: the simulated engine cannot listen: {error}\nhint: --port 0 takes a free port\n")
        return 1
    if arguments.fd is None:
        sys.stdout.write(f"http://127.0.0.1:{sock.getsockname()[1]}/v1\n")
        sys.stdout.flush()
    uvloop.run(run(sock, options, os.getppid() if arguments.fd is not None else None))
    return 0


def _socket(fd: int | None, port: int) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    return socket.create_server(("127.0.0.1", port), backlog=1024)  # listens before its address is told


if __name__ == "__main__":
    sys.exit(main())
