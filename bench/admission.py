"""What admission costs: CPU per request under budgets, as a ratio to none, with the book on one host and in Redis.

`python -m bench.admission [--json]`. Four forms beside none: 10 budgets that the request all falls under, and 1,000 of which it falls under
10, each with `local://` and with `redis://`. All run on one core against one mock engine, one after the other, round after round; no cache.
CPU is that of all processes of a Penstock until the last record is in the store (`all`), and that of its data worker (`worker`).
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.gateway import ANSWER, MOCK, RATE, Gateway, median, nginx, settled, wrk
from bench.rig import GATEWAY_CORE, LOAD_CORE, cpu_s, free_port, machine, need, process, tree, wait_for

BAR, MOONSHOT = 1.25, 1.1
FILTERS = (
    "{}", '{ team = "search" }', '{ feature = "answers" }', '{ team = "search", feature = "answers" }', '{ model = "m" }',
)  # fmt: skip
PERIODS = ("hour", "day", "week", "month", "rolling 24h")
CONFIG = """version = 1
[server]
listen = "127.0.0.1:{port}"
shared = "{shared}"
[cache]
exact = {{ enabled = false }}
[upstreams.engine]
base_urls = ["http://127.0.0.1:{engine}/v1"]
[models.m]
upstream = "engine"
name = "tiny"
max_output = 2048
price = {{ input = 0.05, cached_input = 0.01, output = 0.10 }}
"""
BUDGET = """[[budgets]]
name = "{name}"
where = {where}
limit = "1000000 USD / {period}"
at_limit = "refuse"
"""


class Form(NamedTuple):
    name: str
    budgets: int
    redis: bool


FORMS = (
    Form("none", 0, False),
    Form("10, local", 10, False),
    Form("1,000 of which 10 match, local", 1000, False),
    Form("10, Redis", 10, True),
    Form("1,000 of which 10 match, Redis", 1000, True),
)


def budgets(count: int) -> str:
    """Tables of so many hard caps; the first ten hold for what the load asks, over different filters and periods."""
    matching = [(FILTERS[n % 5], PERIODS[(n + n // 5) % 5]) for n in range(min(count, 10))]
    others = [(f'{{ team = "team {n}" }}', PERIODS[n % 5]) for n in range(10, count)]
    return "".join(BUDGET.format(name=f"budget {n}", where=where, period=period) for n, (where, period) in enumerate(matching + others))


def measure(scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    rows: dict[str, list[dict[str, float]]] = {form.name: [] for form in FORMS}
    with contextlib.ExitStack() as stack:
        engine, redis = free_port(), free_port()
        stack.enter_context(nginx(scratch, "mock", MOCK.format(port=engine, answer=json.dumps(ANSWER)), LOAD_CORE))
        stack.enter_context(process(["redis-server", "--port", str(redis), "--save", "", "--dir", str(scratch)], LOAD_CORE))
        running = [stack.enter_context(penstock(scratch / str(n), form, engine, redis, n)) for n, form in enumerate(FORMS)]
        for gateway in running:
            wait_for(f"{gateway.url}/readyz", 120)
        for run in range(options.runs):
            for form, gateway in zip(FORMS, running, strict=True):
                rows[form.name].append(one_run(scratch, gateway, options.seconds, run))
    found = {name: {key: median([row[key] for row in runs]) for key in runs[0]} for name, runs in rows.items()}
    none = found["none"]
    ratios = {name: {key: row[key] / none[key] for key in row} for name, row in found.items() if name != "none"}
    return {"machine": machine(), "seconds": options.seconds, "runs": options.runs, "us": found, "ratios": ratios}


@contextlib.contextmanager
def penstock(directory: Path, form: Form, engine: int, redis: int, number: int) -> Iterator[Gateway]:
    """One Penstock, started and not waited for. Each has a Redis database of its own."""
    directory.mkdir()
    port = free_port()
    shared = f"redis://127.0.0.1:{redis}/{number}" if form.redis else "local://"
    config = directory / "penstock.toml"
    config.write_text(CONFIG.format(port=port, shared=shared, engine=engine) + budgets(form.budgets))
    with process([sys.executable, "-m", "penstock", "serve", "--config", str(config)], GATEWAY_CORE, log=directory / "serve.log") as child:
        yield Gateway("penstock", f"http://127.0.0.1:{port}", "", child.pid)


def one_run(scratch: Path, gateway: Gateway, seconds: float, run: int) -> dict[str, float]:
    """CPU microseconds per request at 32 connections, and at a steady rate."""
    mark = f"r{run}-{time.time_ns()}-"
    wrk(scratch, gateway.url, 32, 1.0, f"warm{mark}")
    before = cpu(gateway)
    requests = wrk(scratch, gateway.url, 32, seconds, mark).requests
    row = per_request("saturated", before, cpu(gateway), requests)
    before = cpu(gateway)
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.paced_load", gateway.url, "32", str(RATE), str(seconds), mark]
    requests = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])
    return row | per_request("paced", before, cpu(gateway), requests)


def cpu(gateway: Gateway) -> tuple[float, float]:
    """CPU seconds so far of all processes and of the data worker, once all records are in the store."""
    settled(gateway)
    worker = next(pid for pid in tree(gateway.pid) if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
    return cpu_s(gateway.pid), cpu_s(worker)


def per_request(load: str, before: Sequence[float], after: Sequence[float], requests: int) -> dict[str, float]:
    names = (f"{load}_all", f"{load}_worker")
    return {name: (late - early) / requests * 1e6 for name, early, late in zip(names, before, after, strict=True)}


def report(result: dict[str, Any]) -> str:
    lines = [f"machine: {result['machine']}", f"median of {result['runs']} runs of {result['seconds']:g} s; microseconds (x none)", ""]
    for name, row in result["us"].items():
        ratios = result["ratios"].get(name, {})
        lines.append(f"{name:32}" + "".join(f"  {key} {value:6.1f} ({ratios.get(key, 1):.2f})" for key, value in row.items()))
    return "\n".join([*lines, "", f"bar: 10 budgets at most {BAR} x, moonshot {MOONSHOT} x"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each load (default 4)")
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median counts (default 5)")
    options = parser.parse_args()
    need("nginx", "wrk", "taskset", "redis-server")
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as scratch:
        result = measure(Path(scratch), options)
    print(json.dumps(result, indent=2) if options.json else report(result))


if __name__ == "__main__":
    main()
