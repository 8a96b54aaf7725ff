"""What the console costs: CPU of each page on a million records, and what a live tail with a large export does to the data plane.

Pages are asked of a running Penstock, each time for a window of its own, so that no answer is shared; the CPU is the
controller's, what it does beside the pages included. The data plane is asked at a steady rate, in turns with and without
watchers and an endless export on its own core; what counts is the ratio. `python -m bench.console [--json]`.
"""

import argparse
import asyncio
import contextlib
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.rig import GATEWAY_CORE, LOAD_CORE, cpu_s, free_port, get, machine, need, process, tree, wait_for

ANSWER = json.dumps(
    {
        "id": "chatcmpl-abc123",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris. " * 20}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 57, "completion_tokens": 33, "total_tokens": 90},
    }
).encode()
CONFIG = """
[upstreams.engine]
base_urls = ["http://127.0.0.1:{engine}/v1"]
[models.m]
upstream = "engine"
price = {{ input = 0.05, output = 0.10 }}
"""
PAGES = (
    "/",
    "/budgets",
    "/costs",
    "/costs?by=feature,model",
    "/requests",
    "/requests?where=feature=code",
    "/requests/{id}",
    "/savings",
    "/fleet",
)
ASKED = 10
WATCHERS = 20
CONNECTIONS = 8
BAR_MS, BAR_KB, BAR_RATIO = 150.0, 150.0, 1.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--records", type=int, default=1_000_000, help="records in the ledger (default 1,000,000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each load (default 8)")
    parser.add_argument("--runs", type=int, default=5, help="turns with and without, of which the median counts (default 5)")
    parser.add_argument("--rate", type=float, default=400, help="requests a second of the load (default 400)")
    parser.add_argument("--engine", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        asyncio.run(engine(options.engine))
        return
    need("curl", "taskset")
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as scratch:
        result = measure(Path(scratch), options)
    print(json.dumps(result, indent=2) if options.json else report(result))


def measure(scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    port, mock = free_port(), free_port()
    began = time.monotonic()
    records = seeded(scratch, port, mock, options.records)
    result: dict[str, Any] = {"machine": machine(), "records": records, "seeding_s": time.monotonic() - began}
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "penstock", "serve", "--config", str(scratch / "penstock.toml")]
    with (
        process([sys.executable, "-m", "bench.console", "--engine", str(mock)], LOAD_CORE),
        process(command, GATEWAY_CORE, log=scratch / "penstock.log") as child,
    ):
        wait_for(f"{url}/readyz")
        controller = next(pid for pid in tree(child.pid) if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"controller\0"))
        result["pages"] = {page: asked(url, page, controller) for page in PAGES}
        turns = [turn(url, options, run) for run in range(options.runs)]
    result["data_plane"] = {
        "p99_alone_us": median([alone for alone, _ in turns]),
        "p99_beside_us": median([beside for _, beside in turns]),
        "ratios": sorted(beside / alone for alone, beside in turns),
        "ratio": median([beside / alone for alone, beside in turns]),
    }
    return result


def seeded(scratch: Path, port: int, mock: int, wanted: int) -> int:
    """The demo's history of so many requests, in a store that the served Penstock reads."""
    from penstock import bootstrap
    from penstock.config.load import load
    from penstock.demo import scenery
    from penstock.demo.history import Plan
    from penstock.demo.seeding import Task, seed

    until = time.time_ns()
    config = scenery.write(scratch, f"127.0.0.1:{port}", 7, until, wanted)
    config.write_text(config.read_text() + CONFIG.format(engine=mock))
    settings = load(config, os.environ)
    store = bootstrap.open_store(settings)
    try:
        taken = seed(Task(Plan(7, until, wanted), settings, bootstrap.price_book(settings)), store, lambda taken: True)
    finally:
        store.close()
    with bootstrap.open_allocator(settings) as allocator:  # as the controller of a running Penstock has done long ago
        while allocator.step(time.time_ns()):
            pass
    return taken


def asked(url: str, page: str, controller: int) -> dict[str, float]:
    """CPU milliseconds of a page, the mean of `ASKED` windows, and its size as a browser gets it."""
    newest = json.loads(get(f"{url}/requests.json?since=30d", 60))["rows"]
    targets = [_over(page.format(id=newest[turn]["id"]), 720 - turn) for turn in range(ASKED)]
    sizes = [len(_fetched(url + targets[0]))]
    time.sleep(0.7)
    before = cpu_s(controller)
    sizes += [len(_fetched(url + target)) for target in targets[1:]]
    return {"cpu_ms": (cpu_s(controller) - before) / (ASKED - 1) * 1000, "gzipped_kb": max(sizes) / 1000}


def _over(page: str, hours: int) -> str:
    return f"{page}{'&' if '?' in page else '?'}since={hours}h"


def _fetched(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"accept": "text/html", "accept-encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        body: bytes = answer.read()
    return body if body.startswith(b"\x1f\x8b") else gzip.compress(body)


def turn(url: str, options: argparse.Namespace, run: int) -> tuple[float, float]:
    """p99 in microseconds without and with watchers and an export, one right after the other."""
    alone = paced(url, options, f"a{run}-")
    with beside(url):
        return alone, paced(url, options, f"b{run}-")


@contextlib.contextmanager
def beside(url: str) -> Iterator[None]:
    """`WATCHERS` live tails, and an export of the whole ledger that begins again when it is through."""
    with contextlib.ExitStack() as stack:
        for _ in range(WATCHERS):
            stack.enter_context(process(["nice", "-n", "19", "curl", "-sN", f"{url}/requests/live"], LOAD_CORE))
        export = f"while true; do nice -n 19 curl -s '{url}/requests.csv?since=60d'; done"
        stack.enter_context(process(["sh", "-c", export], LOAD_CORE))
        time.sleep(2.0)
        yield


def paced(url: str, options: argparse.Namespace, mark: str) -> float:
    """p99 in microseconds of requests at a steady rate, no two the same."""
    mark = f"{mark}{time.time_ns()}-"
    command = [
        "taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.paced_load",
        url, str(CONNECTIONS), str(options.rate), str(options.seconds), mark,
    ]  # fmt: skip
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(out.split()[2])


async def engine(port: int) -> None:
    """A mock engine: one answer to everything, at once."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        await server.serve_forever()


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def report(result: dict[str, Any]) -> str:
    lines = [f"machine: {result['machine']}", f"{result['records']:,} records, made and taken in within {result['seeding_s']:.1f} s", ""]
    for page, row in result["pages"].items():
        lines.append(f"{page:32} {row['cpu_ms']:6.0f} ms CPU (bar {BAR_MS:g})   {row['gzipped_kb']:6.1f} kB gzipped (bar {BAR_KB:g})")
    plane = result["data_plane"]
    lines += [
        "",
        f"data plane's p99 alone {plane['p99_alone_us']:,.0f} us",
        f"beside {WATCHERS} live tails and an export {plane['p99_beside_us']:,.0f} us",
        f"ratio {plane['ratio']:.2f} (bar {BAR_RATIO:g}), of the turns {', '.join(f'{ratio:.2f}' for ratio in plane['ratios'])}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
